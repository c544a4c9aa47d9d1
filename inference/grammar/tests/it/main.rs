//! Grammars against tokenizers: one binary, modules below.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::get_unwrap)]

mod answers;
mod fixture;
mod formats;
mod refusals;
mod schemas;
mod speed;
mod texts;
mod vocabularies;
