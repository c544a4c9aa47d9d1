//! `cargo xtask bench`: figures, beside those of others on the same machine.

mod cuda;
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
    Inference {
        /// Where: on the processor, or on an NVIDIA GPU beside transformers
        #[arg(long, value_enum, default_value_t = Device::Cpu)]
        device: Device,
        #[command(flatten)]
        options: inference::Options,
    },
    /// Finding among a million vectors, beside hnswlib and usearch; chunks, turns and messages
    Memory(memory::Options),
}

pub fn run(options: &Options) -> Result<()> {
    match &options.bench {
        Bench::Kernel(options) => kernel::run(options),
        Bench::Inference { device: Device::Cpu, options } => inference::run(options),
        Bench::Inference { device: Device::Cuda, .. } => cuda::run(),
        Bench::Memory(options) => memory::run(options),
    }
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Device {
    Cpu,
    Cuda,
}
