//! Files of one folder, the workspace, and nothing else.
//!
//! Every access starts from a descriptor of the workspace folder and is resolved by the
//! kernel with `openat2(RESOLVE_BENEATH)`: `..`, absolute paths and symbolic links that
//! lead out fail, even when someone swaps a folder for a link in between. Where `openat2`
//! does not exist (other Unixes, old kernels), paths are opened component by component and
//! symbolic links are refused altogether. Walks never follow links.
//!
//! What looks like a secret ([`looks_secret`]) can be listed but not read or searched, by
//! any name that leads to it. A hard link to a file outside is a file inside: no Unix can
//! tell the two apart.

mod ignored;
mod list;
mod open;
mod read;
mod search;
mod secrets;
mod walk;

use std::path::{Component, Path, PathBuf};

use rustix::fd::OwnedFd;

pub use list::{Entry, EntryKind, Listing};
pub use read::{FileText, LineRange};
pub use search::{Match, Query, SearchResult};
pub use secrets::looks_secret;

/// The folder file tools work in. Holding it keeps the folder open.
pub struct Workspace {
    root: OwnedFd,
    path: PathBuf,
}

impl Workspace {
    /// Opens the folder. A symbolic link to it is followed here, and only here.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let path = fs_err::canonicalize(path).map_err(|error| FileError::Workspace(error.to_string()))?;
        let root = open::root(&path)?;
        Ok(Self { root, path })
    }

    /// The folder, absolute and with links resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Why a file could not be listed, read or searched. Messages say what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("cannot open the workspace: {0}")]
    Workspace(String),
    #[error("{0} is outside the workspace; use a path relative to the workspace folder")]
    Outside(String),
    #[error("there is no {path}{}", suggestion.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
    NotFound { path: String, suggestion: Option<String> },
    #[error("{0} is a folder; list it with list_files or name a file in it")]
    IsFolder(String),
    #[error("{0} is a file, not a folder")]
    NotFolder(String),
    #[error("{0} is neither a file nor a folder (a pipe, socket or device)")]
    Special(String),
    #[error(
        "{0} looks like it holds secrets (keys, passwords or tokens), so its contents stay out of conversations; open it yourself if you need to"
    )]
    Secret(String),
    #[error("{path} is a binary file ({kind}, {size}), not text")]
    Binary { path: String, kind: &'static str, size: String },
    #[error("{path} has {}; line {line} does not exist", crate::text::count(*total, "line"))]
    PastEnd { path: String, line: usize, total: usize },
    #[error("{0}")]
    InvalidArgument(String),
    #[error("{path}: {reason}")]
    Io { path: String, reason: String },
    #[error("interrupted")]
    Interrupted,
}

impl FileError {
    fn io(path: &Path, error: impl Into<std::io::Error>) -> Self {
        let error: std::io::Error = error.into();
        let path = shown(path);
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::NotFound { path, suggestion: None },
            std::io::ErrorKind::NotADirectory => Self::NotFolder(path),
            std::io::ErrorKind::PermissionDenied => Self::Io { path, reason: "no permission to read it".to_owned() },
            _ => Self::Io { path, reason: error.to_string() },
        }
    }
}

impl Workspace {
    /// `path` relative to the workspace, without `.` and `..`; empty for the workspace itself.
    fn relative(&self, path: &str) -> Result<PathBuf, FileError> {
        if path.contains('\0') {
            return Err(FileError::InvalidArgument("a path cannot contain a NUL character".to_owned()));
        }
        let outside = || FileError::Outside(shown(Path::new(path)));
        let given = Path::new(path);
        let given = if given.is_absolute() { given.strip_prefix(&self.path).map_err(|_| outside())? } else { given };
        let mut relative = PathBuf::new();
        for component in given.components() {
            match component {
                Component::Normal(name) => relative.push(name),
                Component::CurDir => {}
                Component::ParentDir if relative.pop() => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(outside()),
            }
        }
        if relative.iter().any(|name| name.eq_ignore_ascii_case(".git")) {
            return Err(FileError::InvalidArgument(
                ".git is git's own storage; use the git tools to look at the repository".to_owned(),
            ));
        }
        Ok(relative)
    }
}

/// A path in messages and results: quoted where printing it as it is would be unsafe.
fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() { ".".to_owned() } else { crate::text::quote_path(bytes) }
}
