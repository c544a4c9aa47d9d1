//! The engine against references and against broken input. One binary: modules below.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::get_unwrap)]

mod adapters;
mod bench;
mod constrained;
mod conversation;
mod corrupt_files;
mod cross_encoders;
mod decoders;
mod devices;
mod embeddings;
mod failing_devices;
#[allow(dead_code, reason = "the kernel's tests use the rest")]
mod fixture;
mod gateway;
mod generation;
mod gguf_models;
mod memory;
mod mutated_files;
mod reference;
mod scheduling;
mod store;
mod training;
