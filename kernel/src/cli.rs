//! The command line.

mod ask;
mod doctor;
mod install;
mod knowledge;
mod memory;
mod model;
mod run;
mod signals;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::agent::knowledge::{READ_PDF, read_pdf};
use crate::channels;
use crate::session::SessionOptions;

/// Notebooks with Rust, SQL, shell and agents: the Jupyter kernel and its tools.
#[derive(Debug, Parser)]
#[command(name = "codriver", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a Jupyter front end (started by Jupyter, not by people)
    Kernel(KernelArguments),
    /// Make the kernel known to Jupyter
    Install(install::InstallArguments),
    /// Remove the kernel from Jupyter
    Uninstall(install::UninstallArguments),
    /// Say what is there, what is missing and how to get it
    Doctor,
    /// Run a notebook from the terminal, without Jupyter
    Run(run::RunArguments),
    /// Ask the agent from the terminal
    Ask(ask::AskArguments),
    /// List, get, inspect, measure and convert models
    Model(model::ModelArguments),
    /// Take in files and pages, so that agents find what they say
    Knowledge(knowledge::KnowledgeArguments),
    /// Read a PDF file from standard input (started by Codriver, under limits)
    #[command(name = READ_PDF, hide = true)]
    ReadPdf,
    /// Keep collections of documents and search them
    Memory(memory::MemoryArguments),
}

#[derive(Debug, Args)]
struct KernelArguments {
    /// The connection file that Jupyter wrote
    #[arg(short = 'f', long, value_name = "FILE")]
    connection_file: PathBuf,
}

/// Reads the arguments and does what they say.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("CODRIVER_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(std::io::stderr).init();
    match dispatch(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("codriver: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Kernel(arguments) => {
            channels::serve(&arguments.connection_file, SessionOptions::of_this_process()?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Install(arguments) => install::install(&arguments),
        Command::Uninstall(arguments) => install::uninstall(&arguments),
        Command::Doctor => doctor::doctor(),
        Command::Run(arguments) => run::run(&arguments),
        Command::Ask(arguments) => ask::ask(&arguments),
        Command::Model(arguments) => model::model(&arguments),
        Command::Knowledge(arguments) => knowledge::knowledge(&arguments),
        Command::ReadPdf => read_pdf(),
        Command::Memory(arguments) => memory::memory(&arguments),
    }
}

/// Prints to the end, or until the reader has gone away (`| head`).
fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}
