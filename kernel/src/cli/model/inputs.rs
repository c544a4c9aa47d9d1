//! What commands read: files, `-` for standard input.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use codriver_inference::chat::template::read_json;
use serde_json::Value;

/// The text of a file, or of standard input.
pub fn text(path: &Path) -> anyhow::Result<String> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input cannot be read as UTF-8 text")?;
        return Ok(text);
    }
    match fs_err::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => bail!("{}: not UTF-8 text", path.display()),
        text => Ok(text?),
    }
}

/// The JSON in a file, or on standard input.
pub fn json(path: &Path) -> anyhow::Result<Value> {
    // Floats to the nearest, as Python reads them: templates print them again.
    read_json(&text(path)?).with_context(|| format!("{}: not JSON", name(path)))
}

/// A path as messages say it.
pub fn name(path: &Path) -> String {
    if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() }
}
