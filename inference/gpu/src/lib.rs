//! Decoders on a GPU, on kernels of their own (CubeCL: CUDA, Vulkan, Metal, DirectX).
//!
//! Weights stay in the bits of their file ([`Matrix`]), keys and values of all sequences lie in pages
//! of one [`Pool`], and a [step](Decoder::step) computes runs of tokens of several sequences
//! ([`Segment`]). What a step is about (tokens, positions, pages) is data on the device; what comes
//! of it ([`Scores`]) stays there until it is asked for.
//!
//! Kernels exchange values between units by plane (subgroup) operations where the device has some,
//! and through shared memory where it has none. They compute in 32-bit floats.

mod decoder;
mod device;
mod error;
mod kernels;
mod matrix;
mod pool;
mod scores;
mod step;

pub use codriver_kernels::{Format, PageFormat};
pub use cubecl::Device;
pub use decoder::weights::{Experts, FeedForward, Gated, Layer, Linear, OutputNorms, Weights};
pub use decoder::{Architecture, Decoder};
pub use device::Gpu;
pub use error::GpuError;
pub use kernels::activation::Activation;
pub use kernels::highest::Highest;
pub use matrix::Matrix;
pub use pool::{PageShape, Pool};
pub use scores::Scores;
pub use step::{Rotation, Segment};
