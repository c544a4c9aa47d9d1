//! Git, read and committed to through libgit2, as typed values.
//!
//! Both the agent's tools and `%git` use these functions. Each takes the folder to work in
//! (a repository, or any folder inside one) and paths relative to that folder. libgit2 runs
//! no programs: no hooks, no external diff tools, no filters such as Git LFS, no signing.
//! [`commit`] refuses where leaving one of them out would change what is committed.
//!
//! Calls block; [`interruptible`] lets an interrupt end the wait.

mod blame;
mod branches;
mod commit;
mod diff;
mod head;
mod log;
mod repository;
mod show;
mod status;

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

pub use blame::{Blame, BlameLine, BlameOptions, Origin, blame};
pub use branches::{Branch, Branches, branches};
pub use commit::{CommitOptions, Committed, commit};
pub use diff::{Change, Diff, DiffOptions, FileChange, diff};
pub use head::{Head, Upstream};
pub use log::{Commit, Label, LabelKind, Log, LogOptions, Person, log};
pub use show::{Shown, show};
pub use status::{Status, StatusEntry, status};

/// Why git could not do what was asked. Messages say what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitError {
    #[error("{0} is not in a git repository; `!git init` in a cell makes one")]
    NotARepository(String),
    #[error(
        "the repository at {0} belongs to another user, so git will not read it; if you trust it, run `!git config --global --add safe.directory {0}`"
    )]
    NotOwned(String),
    #[error("the repository at {0} keeps its files in another folder (core.worktree); work from there")]
    FilesElsewhere(String),
    #[error("this repository has no commits yet")]
    NoCommits,
    #[error("this is a bare repository: it has no files to {0}, only commits")]
    Bare(&'static str),
    #[error("there is no branch, tag or commit named {name:?}{}", suggestion.as_ref().map(|near| format!("; did you mean {near:?}?")).unwrap_or_default())]
    UnknownRevision { name: String, suggestion: Option<String> },
    #[error("git knows no file {path}{}{}", if revision.is_empty() { String::new() } else { format!(" in {revision}") }, suggestion.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
    UnknownPath { path: String, revision: String, suggestion: Option<String> },
    #[error("{0} is outside {1}")]
    Outside(String, &'static str),
    #[error("{0} is a folder; name a file")]
    IsFolder(String),
    #[error("{0} is a binary file: it has no lines to show")]
    Binary(String),
    #[error("{path} has {lines} lines, too many to blame at once; give a range of lines")]
    TooLarge { path: String, lines: usize },
    #[error(
        "git does not know who you are; run `!git config user.name \"Your Name\"` and `!git config user.email you@example.com` in a cell, then commit again"
    )]
    NoIdentity,
    #[error("the commit message is empty; give one with -m")]
    NoMessage,
    #[error("nothing to commit: {0}")]
    NothingToCommit(&'static str),
    #[error("{} still in conflict ({}); edit them and `!git add` them, then commit", crate::text::count(.0.len(), "file"), .0.join(", "))]
    Conflicts(Vec<String>),
    #[error("a {0} is in progress; finish it with `!git {0} --continue`")]
    InProgress(&'static str),
    #[error(
        "this repository has a {0} hook, which Codriver cannot run; run `!git commit` to have it run, or pass --no-verify to commit without it"
    )]
    Hook(String),
    #[error(
        "{path} goes through the {filter:?} filter, which Codriver cannot run, so the wrong contents would be committed; use `!git commit`"
    )]
    Filter { path: String, filter: String },
    #[error("interrupted")]
    Interrupted,
    #[error("git: {0}")]
    Other(String),
}

impl From<git2::Error> for GitError {
    fn from(error: git2::Error) -> Self {
        match error.code() {
            git2::ErrorCode::UnbornBranch => Self::NoCommits,
            _ => Self::Other(error.message().trim().to_owned()),
        }
    }
}

/// Runs `work` on a thread of its own and waits for it. When `interrupted` says so the wait
/// ends at once; what was only reading then ends by itself, unheard.
pub fn interruptible<T: Send + 'static>(
    interrupted: &dyn Fn() -> bool,
    work: impl FnOnce() -> Result<T, GitError> + Send + 'static,
) -> Result<T, GitError> {
    const CHECK_EVERY: Duration = Duration::from_millis(20);
    let (sender, receiver) = channel();
    std::thread::Builder::new()
        .name("git".to_owned())
        .spawn(move || {
            if sender.send(work()).is_err() {
                tracing::debug!("a git operation ended after it was interrupted");
            }
        })
        .map_err(|error| GitError::Other(format!("cannot start a thread: {error}")))?;
    loop {
        match receiver.recv_timeout(CHECK_EVERY) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Timeout) if interrupted() => return Err(GitError::Interrupted),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(GitError::Other("the operation failed unexpectedly".to_owned()));
            }
        }
    }
}
