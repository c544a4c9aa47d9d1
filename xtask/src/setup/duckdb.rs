//! DuckDB's library, prebuilt: compiling it takes half an hour.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::process::{self, say};
use crate::setup::node;

const VERSION: &str = "1.5.6";
/// The npm package that carries the library, and its release.
const PACKAGE: &str = "@duckdb/node-bindings";
const RELEASE: &str = "1.5.6-r.1";

/// Where the library comes from.
pub enum Library {
    /// A folder with the library and nothing to download.
    Folder(PathBuf),
    /// The crate's build script downloads it from the project's releases.
    Download,
}

impl Library {
    /// Sets what the `libduckdb-sys` crate reads.
    pub fn tell(&self, command: &mut Command) {
        match self {
            Self::Folder(folder) => command.env("DUCKDB_LIB_DIR", folder),
            Self::Download => command.env("DUCKDB_DOWNLOAD_LIB", "1"),
        };
    }

    /// Copies the library to where binaries look for it (their rpath).
    pub fn put_beside(&self, folder: &Path) -> Result<()> {
        let source = match self {
            Self::Folder(folder) => folder.join(file_name()),
            Self::Download => folder.join("deps").join(file_name()),
        };
        let target = folder.join(file_name());
        if !source.is_file() || same_size(&source, &target) {
            return Ok(());
        }
        fs_err::create_dir_all(folder)?;
        let part = folder.join(format!("{}.part", file_name()));
        fs_err::copy(&source, &part)?;
        fs_err::rename(&part, &target)?;
        Ok(())
    }

    pub fn describe(&self) -> String {
        match self {
            Self::Folder(folder) => format!("DuckDB: export DUCKDB_LIB_DIR={}", folder.display()),
            Self::Download => {
                "DuckDB: export DUCKDB_DOWNLOAD_LIB=1 (its crate downloads the library while it builds)".to_owned()
            }
        }
    }
}

/// `DUCKDB_LIB_DIR`, else our cache, else npm, else the crate's own download.
pub fn library() -> Result<Library> {
    if let Some(folder) = paths::variable("DUCKDB_LIB_DIR") {
        return Ok(Library::Folder(folder));
    }
    let folder = paths::cache()?.join(format!("libduckdb-{VERSION}"));
    if folder.join(file_name()).is_file() {
        return Ok(Library::Folder(folder));
    }
    match fetch(&folder) {
        Ok(()) => Ok(Library::Folder(folder)),
        Err(error) => {
            say(&format!(
                "DuckDB's library did not come by npm ({error:#}); its crate will download it while it builds"
            ));
            Ok(Library::Download)
        }
    }
}

fn fetch(folder: &Path) -> Result<()> {
    let package = format!("{PACKAGE}-{}@{RELEASE}", platform()?);
    say(&format!("getting DuckDB's library: npm pack {package}"));
    let part = folder.with_extension("part");
    if part.exists() {
        fs_err::remove_dir_all(&part)?;
    }
    fs_err::create_dir_all(&part)?;
    let npm = node::npm()?;
    process::capture(npm.command().args(["pack", "--silent", &package]).current_dir(&part))?;
    let archive = fs_err::read_dir(&part)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
        .context("npm pack left no archive")?;
    process::capture(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&part))?;
    let library = part.join("package").join(file_name());
    if !library.is_file() {
        bail!("{package} holds no {}", file_name());
    }
    fs_err::create_dir_all(folder)?;
    fs_err::rename(&library, folder.join(file_name()))?;
    fs_err::remove_dir_all(&part)?;
    Ok(())
}

/// npm's names for the platform.
fn platform() -> Result<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Ok("linux-x64"),
        ("linux", "aarch64") => Ok("linux-arm64"),
        ("macos", "x86_64") => Ok("darwin-x64"),
        ("macos", "aarch64") => Ok("darwin-arm64"),
        (system, machine) => bail!("no prebuilt library is known for {system} on {machine}"),
    }
}

fn file_name() -> String {
    format!("libduckdb{}", std::env::consts::DLL_SUFFIX)
}

fn same_size(a: &Path, b: &Path) -> bool {
    let size = |path: &Path| fs_err::metadata(path).ok().map(|metadata| metadata.len());
    size(a).is_some() && size(a) == size(b)
}
