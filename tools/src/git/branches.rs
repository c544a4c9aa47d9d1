//! Which branches there are.

use std::path::Path;

use chrono::{DateTime, FixedOffset};
use serde::Serialize;

use super::log::time;
use super::repository::{Opened, short_id};
use super::{Commit, GitError, Head, Upstream};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Branches {
    pub head: Head,
    /// Local ones first, then those of remotes, each in the order of names.
    pub branches: Vec<Branch>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Branch {
    pub name: String,
    pub remote: bool,
    /// Checked out.
    pub is_head: bool,
    pub short_id: String,
    pub subject: String,
    pub committed: DateTime<FixedOffset>,
    pub upstream: Option<Upstream>,
}

/// Lists the branches of the repository.
pub fn branches(folder: &Path) -> Result<Branches, GitError> {
    let opened = Opened::new(folder)?;
    let head = Head::of(&opened)?;
    let mut branches = Vec::new();
    for found in opened.repository.branches(None)? {
        let (branch, kind) = found?;
        // A symbolic one (origin/HEAD) only repeats another; a broken one has no commit.
        let Ok(commit) = branch.get().peel_to_commit() else {
            continue;
        };
        if branch.get().kind() == Some(git2::ReferenceType::Symbolic) {
            continue;
        }
        let remote = kind == git2::BranchType::Remote;
        branches.push(Branch {
            name: String::from_utf8_lossy(branch.name_bytes()?).into_owned(),
            remote,
            is_head: branch.is_head(),
            short_id: short_id(commit.as_object()),
            subject: Commit::subject_of(&commit),
            committed: time(commit.committer().when()),
            upstream: if remote { None } else { Upstream::of(&opened, &branch) },
        });
    }
    branches.sort_by(|a, b| (a.remote, &a.name).cmp(&(b.remote, &b.name)));
    Ok(Branches { head, branches })
}
