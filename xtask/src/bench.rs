//! `cargo xtask bench`: figures, beside those of others on the same machine.

mod inference;
mod kernel;
mod memory;

use anyhow::Result;

#[derive(clap::Args)]
pub struct Options {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(clap::Subcommand)]
enum Bench {
    /// Start to first kernel_info and round trips of trivial cells, beside ipykernel and evcxr_jupyter
    Kernel(kernel::Options),
    /// Reading and writing tokens, requests at once, texts as vectors, loading and memory, beside llama.cpp, candle and others
    Inference(inference::Options),
    /// Finding among a million vectors, beside hnswlib and usearch; chunks, turns and messages
    Memory(memory::Options),
}

pub fn run(options: &Options) -> Result<()> {
    match &options.bench {
        Bench::Kernel(options) => kernel::run(options),
        Bench::Inference(options) => inference::run(options),
        Bench::Memory(options) => memory::run(options),
    }
}
