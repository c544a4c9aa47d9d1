//! What Codriver needs besides Rust, from the package registries by their own clients.

pub mod browser;
pub mod duckdb;
pub mod embedding;
pub mod gpu;
pub mod node;
pub mod python;
pub mod rust;

use anyhow::Result;

use crate::process::say;

#[derive(clap::Args)]
pub struct Options {
    /// Only what building and the demo need: DuckDB's library and the embedding model
    #[arg(long)]
    demo: bool,
}

pub fn run(options: &Options) -> Result<()> {
    rust::sources();
    let library = duckdb::library()?;
    say(&library.describe());
    say(&embedding::model()
        .map_or_else(|error| format!("{error:#}"), |folder| format!("embedding model: {}", folder.display())));
    if options.demo {
        return Ok(());
    }
    say(&format!("Python environment: {}", python::environment()?.display()));
    gpu::software_gpu();
    let browser = browser::browser()?;
    say(&format!("browser: {}, driven by {}", browser.chromium.display(), browser.modules.display()));
    Ok(())
}
