//! Files that are there, and that are files.

use std::io::Read;
use std::path::Path;

use fs_err::File;

use crate::FormatError;

/// Reads a file.
///
/// # Errors
/// It is no regular file, or can't be read.
pub fn read_file(path: &Path) -> Result<Vec<u8>, FormatError> {
    let mut bytes = Vec::new();
    let read = open(path)?.read_to_end(&mut bytes);
    read.map_err(|error| FormatError::new(path, error.kind()))?;
    Ok(bytes)
}

pub(crate) fn open(path: &Path) -> Result<File, FormatError> {
    // fs_err's messages repeat the path that the error already names.
    let explain = |error: std::io::Error| FormatError::new(path, error.kind());
    // A pipe would be waited for until somebody writes to it.
    if !fs_err::metadata(path).map_err(explain)?.is_file() {
        return Err(FormatError::new(path, "is no regular file"));
    }
    File::open(path).map_err(explain)
}
