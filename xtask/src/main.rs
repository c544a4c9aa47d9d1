//! `cargo xtask`: what a developer of Codriver does twice.

mod bench;
mod build;
mod demo;
mod paths;
mod process;
mod setup;
mod soak;
mod starter;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Codriver's development commands.
#[derive(Parser)]
#[command(name = "cargo xtask", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build Codriver, run the quickstart notebook without a front end, show what comes out
    Demo(demo::Options),
    /// Build and run every test: Rust, Python (jupyter, nbclient, papermill), JupyterLab in a browser
    Test(test::Options),
    /// Get what building and testing need besides Rust, once: DuckDB's library, a Python environment, the embedding model, a browser
    Setup(setup::Options),
    /// Build the release binary, with DuckDB's library beside it
    Build,
    /// Measure, beside others
    Bench(bench::Options),
    /// Put the engine under full load for long, and see that nothing is lost or grows
    Soak(soak::Options),
    /// Train the starter model on what its generator writes
    TrainStarter(starter::Training),
    /// Measure the starter's first calls on its development set
    EvalStarter(starter::Evaluation),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Setup(options) => setup::run(&options),
        Command::Build => build::run(),
        Command::Bench(options) => bench::run(&options),
        Command::Soak(options) => soak::run(&options),
        Command::TrainStarter(options) => starter::train(&options),
        Command::EvalStarter(options) => starter::evaluate(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
