//! What changed since the last commit.

use std::path::Path;

use git2::{RepositoryState, Status as Flags, StatusOptions};
use serde::Serialize;

use super::repository::Opened;
use super::{Change, GitError, Head};

/// The state of the working tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    pub head: Head,
    /// What is going on: `merge`, `rebase`, `cherry-pick`, `revert`, `bisect` or `am`.
    pub in_progress: Option<&'static str>,
    /// In the order of paths.
    pub entries: Vec<StatusEntry>,
}

/// One file (or untracked folder) that is not as the last commit has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatusEntry {
    /// Relative to the folder that was asked about; an untracked folder ends in `/`.
    pub path: String,
    /// Where a renamed file was before.
    pub from: Option<String>,
    pub staged: Option<Change>,
    pub unstaged: Option<Change>,
    pub untracked: bool,
    pub conflicted: bool,
    /// Whether it lies in the folder that was asked about.
    pub inside: bool,
}

impl Status {
    pub fn staged(&self) -> impl Iterator<Item = (&StatusEntry, Change)> {
        self.entries.iter().filter_map(|entry| entry.staged.map(|change| (entry, change)))
    }

    pub fn unstaged(&self) -> impl Iterator<Item = (&StatusEntry, Change)> {
        self.entries.iter().filter_map(|entry| entry.unstaged.map(|change| (entry, change)))
    }

    pub fn untracked(&self) -> impl Iterator<Item = &StatusEntry> {
        self.entries.iter().filter(|entry| entry.untracked)
    }

    pub fn conflicted(&self) -> impl Iterator<Item = &StatusEntry> {
        self.entries.iter().filter(|entry| entry.conflicted)
    }

    pub fn is_clean(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Looks at the whole repository that `folder` lies in. Nothing is written, not even
/// git's cache of file times.
pub fn status(folder: &Path) -> Result<Status, GitError> {
    let opened = Opened::new(folder)?;
    opened.tree("compare")?;
    let head = Head::of(&opened)?;
    let mut options = StatusOptions::new();
    options.include_untracked(true).renames_head_to_index(true).update_index(false);
    let statuses = opened.repository.statuses(Some(&mut options))?;
    let left_out = opened.left_out()?;
    let mut entries: Vec<StatusEntry> =
        statuses.iter().filter_map(|entry| describe(&opened, &entry, left_out.contains(entry.path_bytes()))).collect();
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Status { head, in_progress: in_progress(opened.repository.state()), entries })
}

pub(super) fn in_progress(state: RepositoryState) -> Option<&'static str> {
    match state {
        RepositoryState::Clean => None,
        RepositoryState::Merge => Some("merge"),
        RepositoryState::Revert | RepositoryState::RevertSequence => Some("revert"),
        RepositoryState::CherryPick | RepositoryState::CherryPickSequence => Some("cherry-pick"),
        RepositoryState::Bisect => Some("bisect"),
        RepositoryState::Rebase | RepositoryState::RebaseInteractive | RepositoryState::RebaseMerge => Some("rebase"),
        RepositoryState::ApplyMailbox | RepositoryState::ApplyMailboxOrRebase => Some("am"),
    }
}

fn describe(opened: &Opened, entry: &git2::StatusEntry<'_>, is_left_out: bool) -> Option<StatusEntry> {
    let mut flags = entry.status();
    flags.set(Flags::WT_DELETED, flags.is_wt_deleted() && !is_left_out);
    if flags.is_ignored() || flags == Flags::CURRENT {
        return None;
    }
    let deltas = [entry.head_to_index(), entry.index_to_workdir()];
    // For a rename libgit2 names the entry by its old path.
    let renamed = deltas.iter().flatten().find(|delta| delta.status() == git2::Delta::Renamed);
    let old = renamed.and_then(|delta| delta.old_file().path_bytes());
    let stored = renamed.and_then(|delta| delta.new_file().path_bytes()).unwrap_or(entry.path_bytes());
    Some(StatusEntry {
        path: opened.shown(stored),
        from: old.map(|path| opened.shown(path)),
        staged: change(
            flags,
            [
                Flags::INDEX_NEW,
                Flags::INDEX_MODIFIED,
                Flags::INDEX_DELETED,
                Flags::INDEX_RENAMED,
                Flags::INDEX_TYPECHANGE,
            ],
        ),
        unstaged: change(
            flags & !Flags::WT_NEW,
            [Flags::WT_NEW, Flags::WT_MODIFIED, Flags::WT_DELETED, Flags::WT_RENAMED, Flags::WT_TYPECHANGE],
        ),
        untracked: flags.is_wt_new(),
        conflicted: flags.is_conflicted(),
        inside: opened.is_inside(stored),
    })
}

fn change(flags: Flags, [new, modified, deleted, renamed, retyped]: [Flags; 5]) -> Option<Change> {
    // A renamed file may be modified as well; the rename says more.
    [
        (renamed, Change::Renamed),
        (new, Change::Added),
        (deleted, Change::Deleted),
        (retyped, Change::Retyped),
        (modified, Change::Modified),
    ]
    .into_iter()
    .find_map(|(flag, change)| flags.contains(flag).then_some(change))
}
