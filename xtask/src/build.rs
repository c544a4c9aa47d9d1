//! The release binary.

use std::process::Command;

use anyhow::Result;

use crate::setup::duckdb;
use crate::{paths, process};

pub fn run() -> Result<()> {
    binary()?;
    println!("{}", paths::codriver().display());
    Ok(())
}

/// Builds `codriver`, and puts DuckDB's library where it looks for it.
pub fn binary() -> Result<()> {
    process::say("cargo build --release -p codriver (the first build takes its time)");
    process::run(&mut cargo_with_duckdb(&["build", "--release", "-p", "codriver"])?)?;
    duckdb::library()?.put_beside(&paths::release())
}

/// Builds everything the tests run. One command for all of it: cargo unifies features within
/// a command, so that building the binary apart would compile many dependencies twice.
pub fn tests() -> Result<()> {
    process::say("cargo build --release --workspace --bins --tests (the first build takes its time)");
    process::run(&mut cargo_with_duckdb(&["build", "--release", "--workspace", "--bins", "--tests"])?)?;
    duckdb::library()?.put_beside(&paths::release())
}

/// A cargo command that finds DuckDB, its library in place for the binaries it runs.
pub fn cargo_with_duckdb(arguments: &[&str]) -> Result<Command> {
    let library = duckdb::library()?;
    let mut command = process::cargo();
    command.args(arguments);
    library.tell(&mut command);
    library.put_beside(&paths::release())?;
    Ok(command)
}
