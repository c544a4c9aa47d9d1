//! One commit with what it changed, or one file as it once was.

use std::collections::HashSet;
use std::path::Path;

use git2::ObjectType;
use serde::Serialize;

use super::diff::git_options;
use super::log::Labels;
use super::repository::Opened;
use super::{Commit, Diff, DiffOptions, GitError};

/// What a name turned out to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Shown {
    /// A commit and how it differs from its (first) parent.
    Commit { commit: Box<Commit>, tag_message: Option<String>, diff: Diff },
    /// `revision:path` of a file.
    File { name: String, text: String },
    /// `revision:path` of a folder: names, folders ending in `/`.
    Folder { name: String, entries: Vec<String> },
}

/// Shows a commit (`HEAD~1`, a hash, a branch, a tag), a file (`main:src/lib.rs`) or a
/// folder (`main:src`) as it was. `options` say how much of the diff is wanted; its ends
/// are not used.
pub fn show(folder: &Path, revision: &str, options: &DiffOptions) -> Result<Shown, GitError> {
    let opened = Opened::new(folder)?;
    let object = opened.find(revision)?;
    match object.kind() {
        Some(ObjectType::Blob) => {
            let blob = object.peel_to_blob()?;
            if blob.is_binary() {
                return Err(GitError::Binary(crate::text::visible(revision)));
            }
            Ok(Shown::File { name: revision.to_owned(), text: String::from_utf8_lossy(blob.content()).into_owned() })
        }
        Some(ObjectType::Tree) => {
            let tree = object.peel_to_tree()?;
            let entries = tree
                .iter()
                .map(|entry| {
                    let slash = if entry.kind() == Some(ObjectType::Tree) { "/" } else { "" };
                    crate::text::quote_path(entry.name_bytes()) + slash
                })
                .collect();
            Ok(Shown::Folder { name: revision.to_owned(), entries })
        }
        _ => {
            let tag_message = object
                .as_tag()
                .and_then(|tag| tag.message_bytes())
                .map(|message| String::from_utf8_lossy(message).trim().to_owned());
            let commit = object.peel_to_commit()?;
            let parent = commit.parents().next().map(|parent| parent.tree()).transpose()?;
            let diff = opened.repository.diff_tree_to_tree(
                parent.as_ref(),
                Some(&commit.tree()?),
                Some(&mut git_options(options)),
            )?;
            let diff = opened.describe(diff, options, &HashSet::new())?;
            Ok(Shown::Commit { commit: Box::new(Commit::of(&commit, &Labels::of(&opened))), tag_message, diff })
        }
    }
}
