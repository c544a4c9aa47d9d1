use std::path::{Path, PathBuf};

/// Why a file can't be read or written, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct FormatError {
    pub path: PathBuf,
    pub reason: String,
}

impl FormatError {
    pub fn new(path: &Path, reason: impl ToString) -> Self {
        Self { path: path.to_path_buf(), reason: reason.to_string() }
    }
}
