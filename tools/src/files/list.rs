//! What files there are.

use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};
use rustix::fs::FileType;

use super::open::Opened;
use super::walk::Found;
use super::{FileError, Workspace, shown};

/// More than this is not looked at, so that a listing ends even in someone's home folder.
const MOST_VISITED: usize = 200_000;

/// What a folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The folder, relative to the workspace; `.` for the workspace itself.
    pub folder: String,
    /// In the order of names, at most as many as were asked for.
    pub entries: Vec<Entry>,
    /// How many there are, shown or not.
    pub total: usize,
    /// False where the folder was too large to look at all of it.
    pub complete: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the workspace; folders end in `/`.
    pub path: String,
    pub kind: EntryKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    File {
        bytes: u64,
    },
    /// `files` counts those in folders below too.
    Folder {
        files: usize,
    },
    Link,
    /// A pipe, a socket or a device.
    Special,
}

impl Workspace {
    /// Lists a folder. Without a pattern: what lies directly in it. With one: everything
    /// below that matches, at any depth. `*` and the like make a glob, of the name alone
    /// or, with a `/`, of the path from the folder; other text matches a part of the path.
    /// Case does not matter. Ignored files are left out; links are not followed.
    pub fn list(
        &self,
        folder: &str,
        pattern: Option<&str>,
        limit: usize,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Listing, FileError> {
        let relative = self.relative(folder)?;
        let pattern = pattern.filter(|pattern| !pattern.is_empty()).map(Pattern::new).transpose()?;
        let descriptor = match self.open_at(&relative)? {
            Opened::Folder(descriptor) => descriptor,
            Opened::File { size, .. } => {
                let entry = Entry { path: shown(&relative), kind: EntryKind::File { bytes: size } };
                return Ok(Listing { folder: shown(&relative), entries: vec![entry], total: 1, complete: true });
            }
        };
        let mut listing = Listing { folder: shown(&relative), entries: Vec::new(), total: 0, complete: true };
        let mut visited = 0_usize;
        self.walk(&descriptor, &relative, interrupted, &mut |found| {
            visited += 1;
            if visited > MOST_VISITED {
                listing.complete = false;
                return ControlFlow::Break(());
            }
            let within = found.path.strip_prefix(&relative).unwrap_or(found.path);
            match &pattern {
                Some(pattern) if pattern.matches(within) => listing.add(found, limit),
                Some(_) => {}
                None if within.components().count() == 1 => listing.add(found, limit),
                None => listing.count_below(found),
            }
            ControlFlow::Continue(())
        })?;
        Ok(listing)
    }
}

impl Listing {
    fn add(&mut self, found: &Found<'_>, limit: usize) {
        self.total += 1;
        if self.entries.len() == limit {
            return;
        }
        let (suffix, kind) = match found.kind {
            FileType::Directory => ("/", EntryKind::Folder { files: 0 }),
            FileType::RegularFile => ("", EntryKind::File { bytes: found.size() }),
            FileType::Symlink => ("", EntryKind::Link),
            _ => ("", EntryKind::Special),
        };
        self.entries.push(Entry { path: shown(found.path) + suffix, kind });
    }

    /// Folders come right before what they hold, so the last entry is the one to count for,
    /// unless the limit kept it out.
    fn count_below(&mut self, found: &Found<'_>) {
        if found.kind == FileType::Directory || self.entries.len() < self.total {
            return;
        }
        if let Some(Entry { kind: EntryKind::Folder { files }, .. }) = self.entries.last_mut() {
            *files += 1;
        }
    }
}

/// What a name has to look like.
enum Pattern {
    Name(GlobMatcher),
    Path(GlobMatcher),
    Part(String),
}

impl Pattern {
    fn new(pattern: &str) -> Result<Self, FileError> {
        let pattern = pattern.strip_prefix("./").unwrap_or(pattern);
        if !pattern.contains(['*', '?', '[', '{']) {
            return Ok(Self::Part(pattern.to_lowercase()));
        }
        let glob = GlobBuilder::new(pattern)
            .literal_separator(true)
            .case_insensitive(true)
            .build()
            .map_err(|error| FileError::InvalidArgument(format!("not a valid pattern: {error}; *.csv is one")))?
            .compile_matcher();
        Ok(if pattern.contains('/') { Self::Path(glob) } else { Self::Name(glob) })
    }

    fn matches(&self, path: &Path) -> bool {
        match self {
            Self::Name(glob) => path.file_name().is_some_and(|name| glob.is_match(name)),
            Self::Path(glob) => glob.is_match(path),
            Self::Part(part) => String::from_utf8_lossy(path.as_os_str().as_bytes()).to_lowercase().contains(part),
        }
    }
}
