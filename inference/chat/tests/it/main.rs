//! Chat templates and tool-call formats against references and random input. One binary: modules below.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::get_unwrap)]

mod formats;
mod grammars;
mod random_calls;
mod reference;
mod templates;
