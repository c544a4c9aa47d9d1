//! `cargo xtask soak`: the engine under full load for long.

use anyhow::Result;

use crate::process::{self, say};
use crate::{build, paths};

#[derive(clap::Args)]
pub struct Options {
    /// Requests to ask
    #[arg(long, default_value_t = 10_000)]
    requests: usize,
    /// Go on for so many minutes instead
    #[arg(long)]
    minutes: Option<u64>,
    /// A model's folder or GGUF file; without it, a small one with random weights
    #[arg(long, value_name = "PATH")]
    model: Option<std::path::PathBuf>,
    /// What decides which requests are asked; it is printed
    #[arg(long)]
    seed: Option<u64>,
}

/// Asks, checks answers against each other, prints the memory as it goes.
pub fn run(options: &Options) -> Result<()> {
    let arguments = ["run", "--release", "-p", "codriver-inference", "--example", "soak"];
    let mut command = build::cargo_with_duckdb(&arguments)?;
    command.args(["--", "--requests", &options.requests.to_string()]);
    if let Some(minutes) = options.minutes {
        command.args(["--minutes", &minutes.to_string()]);
    }
    if let Some(seed) = options.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    if let Some(model) = &options.model {
        command.arg("--model").arg(model);
    }
    process::run(command.current_dir(paths::root()))?;
    say("the engine went on, and every block of its cache is free");
    Ok(())
}
