//! Where things are on this machine. Environment variables win.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// The repository.
pub fn root() -> PathBuf {
    // Cargo says where the xtask that it runs is from: clones may share a target folder, and one compiled it.
    let here = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().unwrap_or(&here).to_path_buf()
}

/// Downloads and environments that can be deleted at any time: `XDG_CACHE_HOME/codriver`.
pub fn cache() -> Result<PathBuf> {
    Ok(folder("XDG_CACHE_HOME", ".cache")?.join("codriver"))
}

/// The user's models, memory and history, where the kernel looks for them.
pub fn data() -> Result<PathBuf> {
    if let Some(folder) = variable("CODRIVER_DATA_DIR") {
        return Ok(folder);
    }
    if cfg!(target_os = "macos") {
        return Ok(home()?.join("Library/Application Support/codriver"));
    }
    Ok(folder("XDG_DATA_HOME", ".local/share")?.join("codriver"))
}

/// Cargo's output of the one profile that everything here is built with.
pub fn release() -> PathBuf {
    let target = variable("CARGO_TARGET_DIR").unwrap_or_else(|| PathBuf::from("target"));
    root().join(target).join("release")
}

/// The kernel's binary.
pub fn codriver() -> PathBuf {
    release().join(format!("codriver{}", env::consts::EXE_SUFFIX))
}

/// A path from an environment variable that is set and not empty.
pub fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The first of `names` that is an executable on the `PATH`.
pub fn find_program(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    names.iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file()))
}

fn folder(name: &str, below_home: &str) -> Result<PathBuf> {
    match variable(name) {
        Some(folder) => Ok(folder),
        None => Ok(home()?.join(below_home)),
    }
}

fn home() -> Result<PathBuf> {
    variable("HOME").context("HOME is not set; set it, or XDG_CACHE_HOME and XDG_DATA_HOME")
}
