//! Reading and writing model files, compared with the implementations that others trust.

mod gguf;
#[path = "../../../tests/it/reference.rs"]
mod reference;
