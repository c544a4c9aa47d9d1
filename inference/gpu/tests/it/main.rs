//! The kernels, on whatever GPU there is (in CI Mesa's software device) against plain code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::get_unwrap)]

mod decoders;
mod device;
mod formulas;
mod products;
mod reference;
mod scores;
