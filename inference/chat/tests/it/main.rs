//! Chat templates and tool-call formats against references and random input. One binary: modules below.

mod formats;
mod grammars;
mod random_calls;
mod reference;
mod templates;
