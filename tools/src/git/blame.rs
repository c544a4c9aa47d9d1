//! Who last changed each line of a file.

use std::collections::HashMap;
use std::path::Path;

use chrono::{DateTime, FixedOffset};
use serde::Serialize;

use super::log::{Person, time};
use super::repository::{Opened, short_id};
use super::{Commit, GitError};
use crate::text::visible;

/// Which lines to look at, counted from 1, both ends included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlameOptions {
    pub first_line: Option<usize>,
    pub last_line: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blame {
    pub path: String,
    pub lines: Vec<BlameLine>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BlameLine {
    pub number: usize,
    /// `None` for a line that is not committed yet.
    pub origin: Option<Origin>,
    pub text: String,
}

/// The commit a line comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    pub short_id: String,
    pub author: Person,
    pub authored: DateTime<FixedOffset>,
    pub subject: String,
}

/// Blames the file as it is now; in a bare repository, as HEAD has it.
pub fn blame(folder: &Path, path: &str, options: &BlameOptions) -> Result<Blame, GitError> {
    const MOST_LINES: usize = 20_000;
    let opened = Opened::new(folder)?;
    let repository = &opened.repository;
    let stored = opened.path(path, false)?;
    let head = opened.head_commit()?.ok_or(GitError::NoCommits)?;
    let entry = head.tree()?.get_path(&stored).map_err(|_| opened.unknown_path(&stored, "the last commit"))?;
    let object = entry.to_object(repository)?;
    let blob = object.into_blob().map_err(|_| GitError::IsFolder(visible(path)))?;
    if blob.is_binary() {
        return Err(GitError::Binary(visible(path)));
    }

    let changed = opened.changed_contents(&stored);
    let contents = changed.as_deref().unwrap_or(blob.content());
    let contents = String::from_utf8_lossy(contents);
    let lines: Vec<&str> = contents.lines().collect();
    let first = options.first_line.unwrap_or(1).max(1);
    let last = options.last_line.unwrap_or(lines.len()).min(lines.len());
    if first > lines.len() && !lines.is_empty() {
        return Err(GitError::Other(format!(
            "{} has {}, no line {first}",
            visible(path),
            crate::text::count(lines.len(), "line")
        )));
    }
    if last.saturating_sub(first) >= MOST_LINES {
        return Err(GitError::TooLarge { path: visible(path), lines: lines.len() });
    }

    let mut git_options = git2::BlameOptions::new();
    if changed.is_none() {
        // Lines of a changed file are counted differently than those of the commit.
        git_options.min_line(first).max_line(last);
    }
    let committed = repository.blame_file(&stored, Some(&mut git_options))?;
    let current;
    let blame = match &changed {
        Some(contents) => {
            current = committed.blame_buffer(contents)?;
            &current
        }
        None => &committed,
    };
    let mut origins: HashMap<git2::Oid, Origin> = HashMap::new();
    let mut blamed = Vec::with_capacity(last.saturating_sub(first) + 1);
    for number in first..=last {
        let id = blame.get_line(number).map(|hunk| hunk.final_commit_id()).filter(|id| !id.is_zero());
        let origin = match id {
            Some(id) => Some(match origins.get(&id) {
                Some(origin) => origin.clone(),
                None => {
                    let origin = Origin::of(&repository.find_commit(id)?);
                    origins.insert(id, origin.clone());
                    origin
                }
            }),
            None => None,
        };
        blamed.push(BlameLine { number, origin, text: lines.get(number - 1).copied().unwrap_or_default().to_owned() });
    }
    Ok(Blame { path: opened.shown(std::os::unix::ffi::OsStrExt::as_bytes(stored.as_os_str())), lines: blamed })
}

impl Opened {
    /// The file's contents if they differ from what is committed.
    fn changed_contents(&self, stored: &Path) -> Option<Vec<u8>> {
        let tree = self.tree.as_ref()?;
        let status = self.repository.status_file(stored).ok()?;
        if status.is_empty() || status.is_wt_deleted() || status.is_index_deleted() {
            return None;
        }
        let path = tree.join(stored);
        // A link's target is not the file that is tracked.
        if !path.symlink_metadata().ok()?.is_file() {
            return None;
        }
        let contents = fs_err::read(path).ok()?;
        // Line ends that git converts when it stores the file are no changes.
        let crlf_in_head = self.head_has_carriage_returns(stored);
        if crlf_in_head || !contents.windows(2).any(|pair| pair == b"\r\n") {
            return Some(contents);
        }
        Some(String::from_utf8_lossy(&contents).replace("\r\n", "\n").into_bytes())
    }

    fn head_has_carriage_returns(&self, stored: &Path) -> bool {
        let contents = || -> Option<bool> {
            let entry = self.head_commit().ok()??.tree().ok()?.get_path(stored).ok()?;
            let blob = entry.to_object(&self.repository).ok()?.into_blob().ok()?;
            Some(blob.content().windows(2).any(|pair| pair == b"\r\n"))
        };
        contents().unwrap_or(false)
    }
}

impl Origin {
    fn of(commit: &git2::Commit<'_>) -> Self {
        Self {
            short_id: short_id(commit.as_object()),
            author: Person::of(&commit.author()),
            authored: time(commit.author().when()),
            subject: Commit::subject_of(commit),
        }
    }
}
