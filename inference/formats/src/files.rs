//! Files that are read whole.

use std::path::Path;

use crate::FormatError;

/// Reads a file.
///
/// # Errors
/// It is no regular file, or can't be read.
pub fn read_file(path: &Path) -> Result<Vec<u8>, FormatError> {
    // fs_err's messages repeat the path that the error already names.
    let explain = |error: std::io::Error| FormatError::new(path, error.kind());
    // A pipe would be waited for until somebody writes to it.
    if !fs_err::metadata(path).map_err(explain)?.is_file() {
        return Err(FormatError::new(path, "is no regular file"));
    }
    fs_err::read(path).map_err(explain)
}
