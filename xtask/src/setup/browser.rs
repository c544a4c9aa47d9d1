//! A browser, and what drives it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::paths;
use crate::process::{self, say};
use crate::setup::node::{self, Node};

const NAMES: &[&str] = &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Everything a browser test needs.
pub struct Browser {
    pub chromium: PathBuf,
    pub node: Node,
    /// The `node_modules` folder that holds playwright-core.
    pub modules: PathBuf,
}

/// `CODRIVER_CHROMIUM`, a browser on the `PATH`, or Debian's package where we may install it.
pub fn browser() -> Result<Browser> {
    Ok(Browser { chromium: chromium()?, node: node::npm()?, modules: modules()? })
}

fn chromium() -> Result<PathBuf> {
    if let Some(program) = paths::variable("CODRIVER_CHROMIUM") {
        return Ok(program);
    }
    if let Some(program) = paths::find_program(NAMES) {
        return Ok(program);
    }
    apt_install(&["chromium"]);
    match paths::find_program(NAMES) {
        Some(program) => Ok(program),
        None => bail!(
            "no Chromium found; install it (Debian: apt-get install chromium) or set CODRIVER_CHROMIUM to a Chromium or Chrome binary"
        ),
    }
}

/// Installs Debian packages where we are root and apt-get is there; whether it did.
pub fn apt_install(packages: &[&str]) -> bool {
    let root = process::capture(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !root || paths::find_program(&["apt-get"]).is_none() {
        return false;
    }
    say(&format!("apt-get install {}", packages.join(" ")));
    let apt = |arguments: &[&str]| {
        process::capture(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let install = [&["install", "-y", "--no-install-recommends"], packages].concat();
    if apt(&install).is_ok() {
        return true;
    }
    // The package lists of a fresh machine are empty or old.
    match apt(&["update"]).and_then(|_| apt(&install)) {
        Ok(_) => true,
        Err(error) => {
            say(&format!("{error:#}"));
            false
        }
    }
}

/// playwright-core in our cache, in the version that `tests/browser/package.json` names.
fn modules() -> Result<PathBuf> {
    let folder = paths::cache()?.join("browser");
    let wanted = fs_err::read_to_string(paths::root().join("tests/browser/package.json"))?;
    let stamp = folder.join("installed.json");
    if !fs_err::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        say("npm install playwright-core (once)");
        fs_err::create_dir_all(&folder)?;
        fs_err::write(folder.join("package.json"), &wanted)?;
        process::capture(node::npm()?.command().args(["install", "--silent"]).current_dir(&folder))?;
        fs_err::write(stamp, wanted)?;
    }
    Ok(folder.join("node_modules"))
}
