//! What a person may name: a file, a folder, a pattern, an address.

use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use super::IngestError;

/// What a request leads to.
#[derive(Debug, Clone)]
pub enum Source {
    File(PathBuf),
    Folder(PathBuf),
    /// A pattern of absolute paths, and the folder that all it matches lie in.
    Pattern {
        folder: PathBuf,
        matcher: GlobMatcher,
    },
    Address(String),
}

impl Source {
    /// Understands what was typed. Paths are absolute in what comes back.
    pub fn resolve(typed: &str, workspace: &Path) -> Result<Self, IngestError> {
        if is_address(typed) {
            return Ok(Self::Address(typed.to_owned()));
        }
        let path = absolute(typed, workspace);
        if path.is_dir() {
            return Ok(Self::Folder(path));
        }
        if path.exists() {
            return Ok(Self::File(path));
        }
        if !typed.contains(WILD) {
            return Err(IngestError::NotFound(typed.to_owned()));
        }
        let matcher = matcher(&path)
            .map_err(|error| IngestError::Pattern { pattern: typed.to_owned(), reason: error.to_string() })?;
        let is_wild = |part: &Component<'_>| part.as_os_str().to_string_lossy().contains(WILD);
        let folder: PathBuf = path.components().take_while(|part| !is_wild(part)).collect();
        if !folder.is_dir() {
            return Err(IngestError::NotFound(folder.display().to_string()));
        }
        Ok(Self::Pattern { folder, matcher })
    }
}

impl Source {
    /// How a source is noted: an address as typed, a path from the root.
    pub(super) fn name(&self, typed: &str, workspace: &Path) -> String {
        match self {
            Self::Address(address) => address.clone(),
            Self::File(path) | Self::Folder(path) => path.display().to_string(),
            Self::Pattern { .. } => absolute(typed, workspace).display().to_string(),
        }
    }
}

/// What a person names of what is known: an address, a path and all beneath it, a pattern.
pub(super) struct Selection {
    /// The address or the absolute path.
    name: String,
    matcher: Option<GlobMatcher>,
}

impl Selection {
    pub fn new(typed: &str, workspace: &Path) -> Self {
        if is_address(typed) {
            return Self { name: typed.to_owned(), matcher: None };
        }
        let path = absolute(typed, workspace);
        Self { name: path.display().to_string(), matcher: matcher(&path).ok() }
    }

    /// It is this very source or origin.
    pub fn is(&self, name: &str) -> bool {
        self.name == name
    }

    pub fn admits(&self, origin: &str) -> bool {
        let beneath = !is_address(origin) && Path::new(origin).starts_with(&self.name);
        self.is(origin) || beneath || self.matcher.as_ref().is_some_and(|matcher| matcher.is_match(origin))
    }
}

/// Characters of patterns.
const WILD: [char; 4] = ['*', '?', '[', '{'];

pub(super) fn is_address(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_lowercase());
    scheme.is_some_and(|scheme| scheme == "http" || scheme == "https")
}

/// A typed path from the root, without `.` and `..`.
pub(super) fn absolute(typed: &str, workspace: &Path) -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let path = match (typed, typed.strip_prefix("~/"), home) {
        ("~", _, Some(home)) => home,
        (_, Some(rest), Some(home)) => home.join(rest),
        _ => workspace.join(typed),
    };
    let mut absolute = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                absolute.pop();
            }
            part => absolute.push(part),
        }
    }
    absolute
}

/// `*` stays within a folder, `**` does not.
pub(super) fn matcher(pattern: &Path) -> Result<GlobMatcher, globset::Error> {
    let glob = GlobBuilder::new(&pattern.to_string_lossy()).literal_separator(true).build()?;
    Ok(glob.compile_matcher())
}
