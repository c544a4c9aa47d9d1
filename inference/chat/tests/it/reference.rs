//! Runs the Python programs in `tests/reference`, which say what other implementations compute.

#[expect(dead_code, reason = "the engine's tests read numbers too")]
#[path = "../../../tests/it/reference.rs"]
mod shared;

pub use shared::{fresh_seed, run};
