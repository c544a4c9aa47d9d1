//! Kernels, in CubeCL: compiled for the device at hand when they are first launched.
//!
//! Numbers are 32-bit floats wherever they are computed with; weights are unpacked to them in
//! registers.

pub(crate) mod activation;
pub(crate) mod attention;
mod bandwidth;
pub(crate) mod copy;
pub(crate) mod embedding;
pub(crate) mod experts;
pub(crate) mod highest;
pub(crate) mod norm;
mod pages;
pub(crate) mod positions;
pub(crate) mod product;
pub(crate) mod projection;
mod reading;
mod reduce;
#[cfg(test)]
mod tests;
pub(crate) mod tiled;
mod weights;
