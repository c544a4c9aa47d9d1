//! What decoders and encoders compute with on a processor: products on packed weights, attention, and
//! what lies between.
//!
//! Decoding reads every weight once a token, so its speed is the memory's: weights stay in the
//! few bits that their file gives them ([`PackedMatrix`]), and products are taken on integers,
//! with the input rounded to 8 bits a block of 32 ([`Activations`]), as llama.cpp does. The
//! instructions are chosen at run time ([`Level`]). Encoders read whole texts, so their speed is the
//! arithmetic's: they compute with 32-bit floats ([`Panels`], [`SelfAttention`]).

mod activations;
mod aligned;
mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod elementwise;
mod exponential;
mod level;
mod packed;
mod panels;
mod portable;
mod product;
mod self_attention;
mod vectors;

pub use activations::Activations;
pub use attention::{Attention, HeadPage, PAGE, PageShape};
pub use elementwise::{ActivationFunction, layer_norm};
pub use level::Level;
pub use packed::{Format, PackError, PackedMatrix, UnknownFormat};
pub use panels::{Panels, Then};
pub use product::{multiply, multiply_at};
pub use self_attention::SelfAttention;
pub use vectors::{Gate, add_bias, add_scaled, gate, rms_norm, rms_norm_in_place, rotate, soft_cap, softmax};
