//! A cell's source, and what to do with it.
//!
//! One parser ([`parse`]) splits a cell into steps, one registry holds the magics, and
//! everything that asks about a cell (run, complete, inspect, is it complete) goes through both.

mod builtin;
mod completion;
mod execution;
mod flags;
mod help;
mod interpolation;
pub mod magic;
mod parameters;
mod parser;
mod registry;

pub use completion::{complete, is_complete};
pub use execution::execute;
pub use help::inspect;
pub use magic::{Invocation, Magic, MagicKind, MagicRegistry};
pub use registry::registry;
