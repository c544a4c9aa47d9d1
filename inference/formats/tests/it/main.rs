//! Reading and writing model files, compared with the implementations that others trust.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::get_unwrap)]

mod allocation;
mod conversion;
mod gguf;
mod hostile;
mod mixtures;
mod quantization;
#[allow(dead_code, reason = "shared with another crate's tests")]
#[path = "../../../tests/it/reference.rs"]
mod reference;
mod tokenizer;
mod tokenizer_faults;
mod writing;
