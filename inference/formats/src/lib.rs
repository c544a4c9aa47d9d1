//! The files that models come in, without the network they describe: GGUF containers, their
//! block-quantized numbers and their tokenizers.
//!
//! Files come from strangers. Whatever is in them, reading ends in a value or in a [`FormatError`]
//! that names the file and says what to do, never in a panic, and never in an allocation that the
//! file's own size does not justify.

pub mod convert;
mod error;
mod file_bytes;
pub mod gguf;
pub mod quant;
pub mod safetensors;
pub mod tokenizer;

pub use error::FormatError;
pub use file_bytes::FileBytes;
