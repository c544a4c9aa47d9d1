//! Where kernelspecs can live.

use std::path::PathBuf;
use std::process::Command;

use directories::BaseDirs;

use crate::InstallError;

/// A place Jupyter looks for kernels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// Of this user, for every environment.
    User,
    /// Of the Python environment that is active.
    SysPrefix,
    /// Below a folder, as Python's `sys.prefix` would be.
    Prefix(PathBuf),
}

impl Location {
    /// The folder whose subfolders are kernelspecs.
    pub fn kernels(&self) -> Result<PathBuf, InstallError> {
        let data = match self {
            Self::User => user_data()?,
            Self::SysPrefix => active_prefix().ok_or(InstallError::NoEnvironment)?.join("share/jupyter"),
            Self::Prefix(prefix) => std::path::absolute(prefix)?.join("share/jupyter"),
        };
        Ok(data.join("kernels"))
    }
}

/// Jupyter's data folder of this user.
fn user_data() -> Result<PathBuf, InstallError> {
    if let Some(folder) = variable("JUPYTER_DATA_DIR") {
        return Ok(folder);
    }
    let folders = BaseDirs::new().ok_or(InstallError::NoHome)?;
    Ok(if cfg!(target_os = "macos") {
        folders.home_dir().join("Library/Jupyter")
    } else {
        folders.data_dir().join("jupyter")
    })
}

/// The environment that `python` would run in.
fn active_prefix() -> Option<PathBuf> {
    variable("VIRTUAL_ENV").or_else(|| variable("CONDA_PREFIX")).or_else(|| {
        ["python3", "python"].into_iter().find_map(|python| {
            let output = Command::new(python).args(["-c", "import sys; print(sys.prefix)"]).output().ok()?;
            let prefix = String::from_utf8(output.stdout).ok()?.trim().to_owned();
            (output.status.success() && !prefix.is_empty()).then(|| PathBuf::from(prefix))
        })
    })
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
