//! What can be wrong with a notebook file, and what to do about it.

/// Why a notebook could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum NotebookError {
    /// The operating system's reason; the path is in its message.
    #[error(transparent)]
    File(#[from] std::io::Error),
    #[error(
        "{path}: broken JSON at line {line}, column {column}: {reason}; repair that place, or restore the file from a checkpoint"
    )]
    Json { path: String, line: usize, column: usize, reason: String },
    #[error(
        "{path}: a notebook of format {major}.x, and only 4.x is read; convert a copy with: jupyter nbconvert --to notebook --nbformat 4 {path}"
    )]
    Version { path: String, major: u64 },
    #[error("{path}: not a notebook: {reason}")]
    Shape { path: String, reason: String },
}
