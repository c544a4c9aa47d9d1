//! `cargo xtask bench`: figures, beside those of others on the same machine.

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
}

pub fn run(options: &Options) -> Result<()> {
    match &options.bench {
        Bench::Kernel(options) => kernel::run(options),
    }
}
