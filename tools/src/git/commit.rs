//! Making a commit.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use git2::{AttrCheckFlags, AttrValue, ErrorCode, Repository, RepositoryState};
use serde::Serialize;

use super::diff::git_options;
use super::log::Labels;
use super::repository::Opened;
use super::status::in_progress;
use super::{Commit, Diff, DiffOptions, GitError, Head};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitOptions {
    pub message: String,
    /// Stage every change to a tracked file first (`-a`).
    pub all: bool,
    /// Commit even when nothing changed.
    pub allow_empty: bool,
    /// Commit although hooks that would have a say cannot be run (`--no-verify`).
    pub no_verify: bool,
}

/// The commit that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Committed {
    pub commit: Commit,
    pub head: Head,
    pub diff: Diff,
    /// What git itself would have done besides and libgit2 does not, a sentence each.
    pub notes: Vec<String>,
}

/// Commits what is staged. Author and committer come from git's configuration and
/// environment. Hooks, filters and signing are programs, which libgit2 does not run: where
/// one would decide about the commit or change it, this refuses and says what to do.
pub fn commit(folder: &Path, options: &CommitOptions) -> Result<Committed, GitError> {
    let mut opened = Opened::new(folder)?;
    opened.tree("commit")?;
    let message = git2::message_prettify(options.message.as_str(), None)?;
    if message.trim().is_empty() {
        return Err(GitError::NoMessage);
    }
    let state = opened.repository.state();
    if !matches!(
        state,
        RepositoryState::Clean | RepositoryState::Merge | RepositoryState::CherryPick | RepositoryState::Revert
    ) && let Some(name) = in_progress(state)
    {
        return Err(GitError::InProgress(name));
    }
    if !options.no_verify
        && let Some(hook) = ["pre-commit", "prepare-commit-msg", "commit-msg"]
            .into_iter()
            .find(|hook| has_hook(&opened.repository, hook))
    {
        return Err(GitError::Hook(hook.to_owned()));
    }
    let author = opened.repository.author_from_env().map_err(identity)?;
    let committer = opened.repository.committer_from_env().map_err(identity)?;

    let mut index = opened.repository.index()?;
    index.read(true)?;
    if index.has_conflicts() {
        let mut paths: Vec<String> = Vec::new();
        for conflict in index.conflicts()?.flatten() {
            if let Some(entry) = conflict.our.or(conflict.their).or(conflict.ancestor) {
                paths.push(opened.shown(&entry.path));
            }
        }
        return Err(GitError::Conflicts(paths));
    }
    if options.all {
        refuse_filters(&opened)?;
        let left_out = opened.left_out()?;
        // 1 tells libgit2 to leave a file as it is.
        let mut choose = |path: &Path, _: &[u8]| i32::from(left_out.contains(path.as_os_str().as_bytes()));
        index.update_all(["*"], Some(&mut choose))?;
    }

    let merged = merge_heads(&mut opened.repository)?;
    let parent = opened.head_commit()?;
    let tree = opened.repository.find_tree(index.write_tree()?)?;
    let before = parent.as_ref().map(git2::Commit::tree).transpose()?;
    let unchanged = before.as_ref().map_or(tree.is_empty(), |before| before.id() == tree.id());
    if unchanged && merged.is_empty() && !options.allow_empty {
        return Err(GitError::NothingToCommit(if options.all {
            "no tracked file has changed (new files need `!git add` first)"
        } else {
            "no changes are staged; stage some with `!git add`, or commit all changes to tracked files with -a"
        }));
    }
    // Only now, so that a refused commit leaves the index as it was.
    index.write()?;

    let merged: Vec<git2::Commit<'_>> =
        merged.into_iter().map(|id| opened.repository.find_commit(id)).collect::<Result<_, _>>()?;
    let parents: Vec<&git2::Commit<'_>> = parent.iter().chain(&merged).collect();
    let id = opened.repository.commit(Some("HEAD"), &author, &committer, &message, &tree, &parents)?;
    opened.repository.cleanup_state()?;

    let diff_options = DiffOptions { max_bytes: 0, ..DiffOptions::default() };
    let diff =
        opened.repository.diff_tree_to_tree(before.as_ref(), Some(&tree), Some(&mut git_options(&diff_options)))?;
    let made = opened.repository.find_commit(id)?;
    Ok(Committed {
        commit: Commit::of(&made, &Labels::of(&opened)),
        head: Head::of(&opened)?,
        diff: opened.describe(diff, &diff_options, &HashSet::new())?,
        notes: notes(&opened.repository, options),
    })
}

fn identity(error: git2::Error) -> GitError {
    match error.code() {
        ErrorCode::NotFound | ErrorCode::InvalidSpec => GitError::NoIdentity,
        // An empty name is a plain failure of class "invalid".
        _ if error.class() == git2::ErrorClass::Invalid => GitError::NoIdentity,
        _ => error.into(),
    }
}

fn merge_heads(repository: &mut Repository) -> Result<Vec<git2::Oid>, GitError> {
    let mut heads = Vec::new();
    if repository.state() == RepositoryState::Merge {
        repository.mergehead_foreach(|id| {
            heads.push(*id);
            true
        })?;
    }
    Ok(heads)
}

/// Staging would store the contents as they are where git would have a program convert them.
fn refuse_filters(opened: &Opened) -> Result<(), GitError> {
    let repository = &opened.repository;
    let mut git_options = git2::DiffOptions::new();
    let diff = repository.diff_index_to_workdir(None, Some(&mut git_options))?;
    for delta in diff.deltas() {
        let Some(path) = delta.new_file().path() else {
            continue;
        };
        for name in ["filter", "working-tree-encoding"] {
            let attribute = repository.get_attr_bytes(path, name, AttrCheckFlags::FILE_THEN_INDEX)?;
            if let AttrValue::Bytes(_) | AttrValue::String(_) = AttrValue::from_bytes(attribute)
                && delta.status() != git2::Delta::Deleted
            {
                let filter = String::from_utf8_lossy(attribute.unwrap_or_default()).into_owned();
                let path = opened.shown(delta.new_file().path_bytes().unwrap_or_default());
                return Err(GitError::Filter { path, filter });
            }
        }
    }
    Ok(())
}

fn notes(repository: &Repository, options: &CommitOptions) -> Vec<String> {
    let mut notes = Vec::new();
    let hooks = ["pre-commit", "prepare-commit-msg", "commit-msg", "post-commit"];
    let skipped: Vec<&str> = hooks.into_iter().filter(|hook| has_hook(repository, hook)).collect();
    if !skipped.is_empty() {
        notes.push(format!("Hooks that were not run: {}.", skipped.join(", ")));
    }
    if repository.config().is_ok_and(|config| config.get_bool("commit.gpgsign").unwrap_or(false)) {
        notes.push("The commit is not signed, although commit.gpgsign is set: Codriver cannot sign.".to_owned());
    }
    if options.all && has_untracked(repository) {
        notes.push("Files that git does not track yet were left out: `!git add` them first.".to_owned());
    }
    notes
}

fn has_untracked(repository: &Repository) -> bool {
    let mut options = git2::StatusOptions::new();
    options.include_untracked(true);
    repository
        .statuses(Some(&mut options))
        .is_ok_and(|statuses| statuses.iter().any(|entry| entry.status().is_wt_new()))
}

fn has_hook(repository: &Repository, name: &str) -> bool {
    let configured = repository.config().and_then(|config| config.get_path("core.hooksPath")).ok();
    let folder = match configured {
        // A relative one counts from the root of the working tree.
        Some(path) => repository.workdir().unwrap_or(Path::new("")).join(path),
        None => repository.commondir().join("hooks"),
    };
    folder.join(name).metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
