//! The standard library's sources, by which Rust cells infer types.

use std::path::Path;
use std::process::Command;

use crate::process::{self, say};

/// Asks rustup for them where they are missing. Without rustup, or without its server, cells still
/// run; a variable whose type only the sources tell cannot be kept, and the kernel says so.
pub fn sources() {
    let sysroot = process::capture(Command::new("rustc").args(["--print", "sysroot"])).unwrap_or_default();
    if Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library").is_dir() {
        return;
    }
    say("rustup component add rust-src");
    if !process::succeeds(Command::new("rustup").args(["component", "add", "rust-src"])) {
        say(
            "rust-src is not to be had here: Rust cells run, with less knowledge of types (`codriver doctor` tells more)",
        );
    }
}
