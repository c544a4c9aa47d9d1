//! The kernels, on whatever GPU there is (in CI Mesa's software device) against plain code.

mod decoders;
mod device;
mod products;
mod reference;
mod scores;
