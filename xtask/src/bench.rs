//! `cargo xtask bench`: figures, beside those of others on the same machine.

mod cuda;
mod inference;
mod kernel;

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
    /// Reading and writing tokens, loading and memory, beside llama.cpp on the same files
    Inference {
        /// Where: on the processor, or on an NVIDIA GPU beside transformers
        #[arg(long, value_enum, default_value_t = Device::Cpu)]
        device: Device,
        #[command(flatten)]
        options: inference::Options,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Device {
    Cpu,
    Cuda,
}

pub fn run(options: &Options) -> Result<()> {
    match &options.bench {
        Bench::Kernel(options) => kernel::run(options),
        Bench::Inference { device: Device::Cpu, options } => inference::run(options),
        Bench::Inference { device: Device::Cuda, .. } => cuda::run(),
    }
}
