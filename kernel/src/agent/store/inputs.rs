//! What commands read: files, and in a terminal `-` for standard input.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use codriver_inference::chat::template::read_json;
use serde_json::Value;

use crate::session::folders::expand_home;

/// Where commands read from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Where relative paths start.
    pub workspace: &'a Path,
    /// Whether `-` is standard input, as in a terminal.
    pub standard_input: bool,
}

impl Inputs<'_> {
    /// The path of what a person wrote.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.workspace.join(expand_home(path))
    }

    /// The text of a file, or of standard input; or why there is none.
    pub fn text(&self, path: &Path) -> Result<String, String> {
        if path.as_os_str() == "-" {
            if !self.standard_input {
                return Err("a notebook has no standard input; name a file".to_owned());
            }
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            return match read {
                Ok(_) => Ok(text),
                Err(error) => Err(format!("standard input cannot be read as UTF-8 text: {error}")),
            };
        }
        fs_err::read_to_string(self.path(path)).map_err(|error| match error.kind() {
            ErrorKind::InvalidData => format!("{}: not UTF-8 text", path.display()),
            _ => error.to_string(),
        })
    }

    /// The JSON in a file, or on standard input.
    pub fn json(&self, path: &Path) -> Result<Value, String> {
        // Floats to the nearest, as Python reads them: templates print them again.
        read_json(&self.text(path)?).map_err(|error| format!("{}: not JSON: {error}", name(path)))
    }
}

/// A path as messages say it.
pub fn name(path: &Path) -> String {
    if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() }
}
