//! What this machine has of what Codriver can use.

use std::path::Path;
use std::process::Command;

/// One thing that was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub name: String,
    pub status: Status,
    /// What was found, or what does not work without it.
    pub detail: String,
    /// How to get it, where it is missing.
    pub remedy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Found,
    /// Something does not work without it.
    Missing,
    /// Nice to have.
    Optional,
}

impl Check {
    pub fn found(name: &str, detail: impl Into<String>) -> Self {
        Self { name: name.to_owned(), status: Status::Found, detail: detail.into(), remedy: None }
    }

    pub fn missing(name: &str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { name: name.to_owned(), status: Status::Missing, detail: detail.into(), remedy }
    }

    pub fn optional(name: &str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status: Status::Optional, ..Self::missing(name, detail, remedy) }
    }
}

/// The Rust toolchain that Rust cells need; everything else works without it.
pub fn rust() -> Vec<Check> {
    let Some(version) = first_line("rustc", &["--version"]) else {
        return vec![Check::missing(
            "rustc",
            "not found: Rust cells do not run, everything else does",
            "install it from https://rustup.rs",
        )];
    };
    let cargo = match first_line("cargo", &["--version"]) {
        Some(version) => Check::found("cargo", version),
        None => Check::missing("cargo", "not found: Rust cells do not run", "install it from https://rustup.rs"),
    };
    let sysroot = first_line("rustc", &["--print", "sysroot"]).unwrap_or_default();
    let source = Path::new(&sysroot).join("lib/rustlib/src/rust/library/std");
    let rust_src = if source.is_dir() {
        Check::found("rust-src", source.display().to_string())
    } else {
        Check::missing(
            "rust-src",
            "not found: completion in Rust cells knows little about the standard library",
            "rustup component add rust-src",
        )
    };
    vec![Check::found("rustc", version), cargo, rust_src]
}

/// Something that opens notebooks.
pub fn jupyter() -> Check {
    match first_line("jupyter", &["lab", "--version"]) {
        Some(version) => Check::found("JupyterLab", version),
        None => match first_line("jupyter", &["--version"]) {
            Some(_) => Check::found("Jupyter", "without JupyterLab"),
            None => Check::optional(
                "Jupyter",
                "no `jupyter` on the path; `codriver run` works without it",
                "pip install jupyterlab",
            ),
        },
    }
}

/// Landlock, which confines what agents run.
pub fn landlock() -> Check {
    let modules = fs_err::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    if modules.split(',').any(|module| module.trim() == "landlock") {
        return Check::found("sandbox", "Landlock is active in this kernel");
    }
    Check::optional(
        "sandbox",
        "Landlock is not visible here (an old kernel, or a container that hides it)",
        "Linux 5.13 or later with `landlock` in its `lsm=` list",
    )
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(|line| line.trim().to_owned())
}
