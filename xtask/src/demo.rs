//! `cargo xtask demo`: the main job, seen in a terminal.

use std::process::Command;

use anyhow::Result;

use crate::process::{self, say};
use crate::setup::{embedding, rust};
use crate::{build, paths};

#[derive(clap::Args)]
pub struct Options {
    /// The notebook of the gallery to run
    #[arg(default_value = "quickstart")]
    notebook: String,
}

pub fn run(options: &Options) -> Result<()> {
    rust::sources();
    build::binary()?;
    if let Err(error) = embedding::model() {
        say(&format!("{error:#}"));
    }
    let gallery = paths::root().join("notebooks/gallery");
    let file = |extension: &str| gallery.join(format!("{}{extension}", options.notebook));
    say(&format!("codriver run {}", file(".ipynb").display()));
    process::run(
        Command::new(paths::codriver())
            .arg("run")
            .arg(file(".ipynb"))
            .arg("-o")
            .arg(file(".executed.ipynb"))
            .arg("--html")
            .arg(file(".executed.html")),
    )
}
