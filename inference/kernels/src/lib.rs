//! What decoders and encoders compute with on a processor: products on packed weights, attention, and
//! what lies between.
//!
//! Decoding reads every weight once a token, so its speed is the memory's: weights stay in the
//! few bits that their file gives them ([`PackedMatrix`]), and products are taken on integers,
//! with the input rounded to 8 bits a block of 32 ([`Activations`]), as llama.cpp does. The
//! instructions are chosen at run time ([`Level`]). Encoders read whole texts, so their speed is the
//! arithmetic's: they compute with 32-bit floats ([`Panels`], [`SelfAttention`]).
//!
//! A product unpacks some columns of sixteen rows into bytes and scales, the same for every format
//! (`unpack`), and multiplies these with all tokens there are: so a format is one function, and an
//! instruction set another.

mod activations;
mod aligned;
#[cfg(target_arch = "x86_64")]
mod amx;
mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod elementwise;
mod exponential;
mod format;
mod level;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pack;
mod packed;
mod page;
mod panels;
pub mod pool;
mod portable;
mod product;
mod rows;
mod self_attention;
#[cfg(target_arch = "x86_64")]
mod split;
mod unpack;
mod vectors;

pub use activations::Activations;
pub use attention::{Attention, attend_all};
pub use elementwise::{ActivationFunction, layer_norm};
pub use format::{Format, UnknownFormat};
pub use level::Level;
pub use packed::{PackError, PackedMatrix};
pub use page::{HeadPage, PAGE, PageFormat, PageShape, UnknownPageFormat};
pub use panels::{Panels, Then};
pub use product::{multiply, multiply_all, multiply_at};
pub use self_attention::SelfAttention;
pub use vectors::{Gate, add_bias, add_scaled, gate, rms_norm, rms_norm_in_place, rotate, soft_cap, softmax};
