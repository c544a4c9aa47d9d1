//! The kernelspec: the folder through which Jupyter finds a kernel.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Location;

/// The name notebooks refer to the kernel by.
pub const DEFAULT_NAME: &str = "codriver";

const FILES: [(&str, &[u8]); 3] = [
    ("logo-32x32.png", include_bytes!("../assets/logo-32x32.png")),
    ("logo-64x64.png", include_bytes!("../assets/logo-64x64.png")),
    ("logo-svg.svg", include_bytes!("../assets/logo-svg.svg")),
];

/// Why a kernelspec could not be written or removed. Messages say what to do next.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("{0:?} is not a kernel name: use letters, digits, `.`, `_` and `-`")]
    Name(String),
    #[error("{0} holds another kernel; choose another --name, or remove it with `jupyter kernelspec uninstall`")]
    OtherKernel(PathBuf),
    #[error("no kernel {name:?} in {folder}; `jupyter kernelspec list` shows what there is")]
    NotInstalled { name: String, folder: PathBuf },
    #[error("no Python environment is active; activate one, or pass --user or --prefix")]
    NoEnvironment,
    #[error("no home folder is known; pass --prefix")]
    NoHome,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Writes the kernelspec and returns its folder. An earlier one of ours is replaced.
pub fn install(location: &Location, name: &str, executable: &Path) -> Result<PathBuf, InstallError> {
    let folder = folder(location, name)?;
    if folder.exists() && !is_ours(&folder) {
        return Err(InstallError::OtherKernel(folder));
    }
    fs_err::create_dir_all(&folder)?;
    let display_name = if name == DEFAULT_NAME { "Codriver".to_owned() } else { format!("Codriver ({name})") };
    let specification = json!({
        "argv": [executable.to_string_lossy(), "kernel", "-f", "{connection_file}"],
        "display_name": display_name,
        "language": "rust",
        "interrupt_mode": "message",
        "metadata": { "debugger": false, "codriver": env!("CARGO_PKG_VERSION") },
    });
    for (file, contents) in FILES {
        fs_err::write(folder.join(file), contents)?;
    }
    // Last, and in one step: Jupyter sees the kernel when all of it is there.
    let draft = folder.join("kernel.json.new");
    fs_err::write(&draft, format!("{specification:#}\n"))?;
    fs_err::rename(draft, folder.join("kernel.json"))?;
    Ok(folder)
}

/// Removes the kernelspec and returns the folder that is gone.
pub fn uninstall(location: &Location, name: &str) -> Result<PathBuf, InstallError> {
    let folder = folder(location, name)?;
    if !folder.exists() {
        return Err(InstallError::NotInstalled { name: name.to_owned(), folder: location.kernels()? });
    }
    if !is_ours(&folder) {
        return Err(InstallError::OtherKernel(folder));
    }
    fs_err::remove_dir_all(&folder)?;
    Ok(folder)
}

/// Our kernelspecs at a location, with the program each of them starts.
pub fn installed(location: &Location) -> Vec<(PathBuf, PathBuf)> {
    let Ok(entries) = location.kernels().and_then(|kernels| Ok(fs_err::read_dir(kernels)?)) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let specification = read(&entry.path())?;
            specification.pointer("/metadata/codriver")?;
            let program = specification.pointer("/argv/0")?.as_str()?;
            Some((entry.path(), PathBuf::from(program)))
        })
        .collect()
}

fn folder(location: &Location, name: &str) -> Result<PathBuf, InstallError> {
    let valid = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(valid) {
        return Err(InstallError::Name(name.to_owned()));
    }
    // Jupyter compares names in lower case.
    Ok(location.kernels()?.join(name.to_lowercase()))
}

fn is_ours(folder: &Path) -> bool {
    read(folder).is_some_and(|specification| specification.pointer("/metadata/codriver").is_some())
}

fn read(folder: &Path) -> Option<Value> {
    serde_json::from_slice(&fs_err::read(folder.join("kernel.json")).ok()?).ok()
}
