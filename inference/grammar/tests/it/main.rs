//! Grammars against tokenizers: one binary, modules below.

mod answers;
mod fixture;
mod formats;
mod refusals;
mod schemas;
mod speed;
mod texts;
mod vocabularies;
