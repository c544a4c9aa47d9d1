//! What is different between two states.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use git2::{Delta, Patch};
use serde::Serialize;

use super::GitError;
use super::repository::Opened;
use crate::files::looks_secret;

/// What to compare. By default: the files as they are with what is staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffOptions {
    /// What is staged, compared with the last commit (or with `from`).
    pub staged: bool,
    /// A commit to compare with; a range (`main..feature`, `main...feature`) sets both ends.
    pub from: Option<String>,
    /// A commit to compare `from` (or HEAD) with, instead of the files as they are.
    pub to: Option<String>,
    /// Only these files and folders.
    pub paths: Vec<String>,
    /// Unchanged lines around a change.
    pub context_lines: u32,
    /// The most there may be of `patch`.
    pub max_bytes: usize,
    /// Leave out what lies outside the folder, and the contents of what looks like a secret.
    pub confined: bool,
}

impl Default for DiffOptions {
    fn default() -> Self {
        Self {
            staged: false,
            from: None,
            to: None,
            paths: Vec::new(),
            context_lines: 3,
            max_bytes: 1 << 20,
            confined: false,
        }
    }
}

/// The difference between two states.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// What `git diff` prints, without colours; bytes that are not UTF-8 become `�`.
    pub patch: String,
    /// Every file, also those that no longer fit into `patch`.
    pub files: Vec<FileChange>,
    /// Bytes of the patch that were left out for its size.
    pub omitted_bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Relative to the folder that was asked about.
    pub path: String,
    /// Where a renamed file was before.
    pub from: Option<String>,
    pub change: Change,
    pub insertions: usize,
    pub deletions: usize,
    pub binary: bool,
    /// The contents were kept back, because the file looks like it holds secrets.
    pub withheld: bool,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Change {
    Added,
    Modified,
    Deleted,
    Renamed,
    Copied,
    /// Became something else: a file a link, for example.
    Retyped,
    Conflicted,
}

impl Change {
    /// As `git status` says it.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Added => "new file",
            Self::Modified => "modified",
            Self::Deleted => "deleted",
            Self::Renamed => "renamed",
            Self::Copied => "copied",
            Self::Retyped => "typechange",
            Self::Conflicted => "conflict",
        }
    }
}

impl Diff {
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub fn insertions(&self) -> usize {
        self.files.iter().map(|file| file.insertions).sum()
    }

    pub fn deletions(&self) -> usize {
        self.files.iter().map(|file| file.deletions).sum()
    }

    /// `2 files changed, 3 insertions(+), 1 deletion(-)`, as git counts.
    pub fn summary(&self) -> String {
        let mut summary = format!("{} changed", crate::text::count(self.files.len(), "file"));
        for (number, noun, sign) in [(self.insertions(), "insertion", '+'), (self.deletions(), "deletion", '-')] {
            if number > 0 {
                summary.push_str(&format!(", {}({sign})", crate::text::count(number, noun)));
            }
        }
        summary
    }
}

/// Compares two states. Untracked files are not part of any.
pub fn diff(folder: &Path, options: &DiffOptions) -> Result<Diff, GitError> {
    let opened = Opened::new(folder)?;
    let repository = &opened.repository;
    let paths: Vec<_> =
        options.paths.iter().map(|path| opened.path(path, options.confined)).collect::<Result<_, _>>()?;
    let mut git_options = git_options(options);
    for path in &paths {
        if !path.as_os_str().is_empty() {
            git_options.pathspec(path.as_os_str().as_bytes());
        }
    }
    if options.confined && paths.is_empty() && !opened.prefix.as_os_str().is_empty() {
        git_options.pathspec(opened.prefix.as_os_str().as_bytes());
    }

    let (from, to) = ends(&opened, options)?;
    let git_options = Some(&mut git_options);
    let mut left_out = HashSet::new();
    let diff = match (from, to) {
        (from, Some(to)) => {
            let from = match from {
                Some(from) => from,
                None => opened.find_tree("HEAD")?,
            };
            repository.diff_tree_to_tree(Some(&from), Some(&to), git_options)?
        }
        (from, None) if options.staged => {
            opened.tree("stage")?;
            let from = match from {
                Some(from) => Some(from),
                None => opened.head_commit()?.map(|commit| commit.tree()).transpose()?,
            };
            repository.diff_tree_to_index(from.as_ref(), None, git_options)?
        }
        (Some(from), None) => {
            opened.tree("compare")?;
            left_out = opened.left_out()?;
            repository.diff_tree_to_workdir_with_index(Some(&from), git_options)?
        }
        (None, None) => {
            opened.tree("compare")?;
            left_out = opened.left_out()?;
            repository.diff_index_to_workdir(None, git_options)?
        }
    };
    let diff = opened.describe(diff, options, &left_out)?;
    if diff.is_empty() {
        for path in &paths {
            opened.must_exist(path)?;
        }
    }
    Ok(diff)
}

pub(super) fn git_options(options: &DiffOptions) -> git2::DiffOptions {
    /// Larger files count as binary: a diff of them helps nobody.
    const LARGEST_FILE: i64 = 16 << 20;
    let mut git_options = git2::DiffOptions::new();
    git_options
        .context_lines(options.context_lines)
        .disable_pathspec_match(true)
        .include_typechange(true)
        .indent_heuristic(true)
        .max_size(LARGEST_FILE);
    git_options
}

fn ends<'r>(
    opened: &'r Opened,
    options: &DiffOptions,
) -> Result<(Option<git2::Tree<'r>>, Option<git2::Tree<'r>>), GitError> {
    if let Some(range) = options.from.as_deref().filter(|from| from.contains("..")) {
        let (from, to) = opened.range(range)?;
        let tree = |id| -> Result<_, GitError> { Ok(Some(opened.repository.find_commit(id)?.tree()?)) };
        return Ok((tree(from)?, tree(to)?));
    }
    let tree = |revision: &Option<String>| revision.as_deref().map(|revision| opened.find_tree(revision)).transpose();
    Ok((tree(&options.from)?, tree(&options.to)?))
}

impl Opened {
    /// Puts what libgit2 found into words. Files in `left_out` do not count as deleted.
    pub(super) fn describe(
        &self,
        mut diff: git2::Diff<'_>,
        options: &DiffOptions,
        left_out: &HashSet<Vec<u8>>,
    ) -> Result<Diff, GitError> {
        diff.find_similar(Some(git2::DiffFindOptions::new().renames(true)))?;
        let mut described = Diff::default();
        for index in 0..diff.deltas().len() {
            let Some(delta) = diff.get_delta(index) else {
                continue;
            };
            let (old, new) = (delta.old_file().path_bytes(), delta.new_file().path_bytes());
            let stored = new.or(old).unwrap_or_default();
            if delta.status() == Delta::Deleted && left_out.contains(stored) {
                continue;
            }
            let outside = |path: &[u8]| !self.is_inside(path);
            if options.confined && (old.is_some_and(outside) || new.is_some_and(outside)) {
                continue;
            }
            let secret = |path: &[u8]| looks_secret(Path::new(OsStr::from_bytes(path)));
            let withheld = options.confined && (old.is_some_and(secret) || new.is_some_and(secret));
            let mut file = FileChange {
                path: self.shown(stored),
                from: old.filter(|old| *old != stored).map(|old| self.shown(old)),
                change: change(delta.status()),
                insertions: 0,
                deletions: 0,
                binary: false,
                withheld,
            };
            if let Some(mut patch) = Patch::from_diff(&diff, index)? {
                let flags = patch.delta().flags();
                file.binary = flags.is_binary();
                (_, file.insertions, file.deletions) = patch.line_stats()?;
                let text = patch.to_buf()?;
                let mut text = &*String::from_utf8_lossy(&text);
                if withheld {
                    text = header(text, "\n@@");
                } else if patch.num_hunks() == 0 && !file.binary {
                    // For an empty file libgit2 prints names that git leaves out.
                    text = header(text, "\n--- ");
                }
                described.append(text, options.max_bytes);
            }
            described.files.push(file);
        }
        Ok(described)
    }

    /// A path that has no changes may be a mistyped one.
    fn must_exist(&self, path: &Path) -> Result<(), GitError> {
        let in_tree = match self.repository.status_file(path) {
            Ok(_) => true,
            // The answer for a folder.
            Err(error) => error.code() == git2::ErrorCode::Ambiguous,
        };
        let in_head =
            self.head_commit()?.and_then(|commit| commit.tree().ok()).is_some_and(|tree| tree.get_path(path).is_ok());
        if path.as_os_str().is_empty() || in_tree || in_head { Ok(()) } else { Err(self.unknown_path(path, "")) }
    }
}

impl Diff {
    /// Adds as many whole lines as fit.
    fn append(&mut self, text: &str, max_bytes: usize) {
        let room = if self.omitted_bytes > 0 { 0 } else { max_bytes.saturating_sub(self.patch.len()) };
        let fits = if text.len() <= room {
            text
        } else {
            let cut = crate::text::prefix(text, room);
            cut.rfind('\n').map_or("", |end| &cut[..=end])
        };
        self.patch.push_str(fits);
        self.omitted_bytes += text.len() - fits.len();
    }
}

/// The lines of a patch before the one that starts with `until`.
fn header<'a>(patch: &'a str, until: &str) -> &'a str {
    patch.find(until).map_or(patch, |end| &patch[..=end])
}

fn change(delta: Delta) -> Change {
    match delta {
        Delta::Added | Delta::Untracked => Change::Added,
        Delta::Deleted => Change::Deleted,
        Delta::Renamed => Change::Renamed,
        Delta::Copied => Change::Copied,
        Delta::Typechange => Change::Retyped,
        Delta::Conflicted => Change::Conflicted,
        Delta::Modified | Delta::Unmodified | Delta::Ignored | Delta::Unreadable => Change::Modified,
    }
}
