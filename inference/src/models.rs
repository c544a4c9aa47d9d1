//! The networks, as Burn modules.

pub mod decoder;
pub mod rotary;
