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
    let library = duckdb::library()?;
    let mut command = process::cargo();
    command.args(["build", "--release", "-p", "codriver"]);
    library.tell(&mut command);
    process::run(&mut command)?;
    library.put_beside(&paths::release())
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
