//! Where HEAD is.

use git2::{BranchType, ErrorCode};
use serde::Serialize;

use super::GitError;
use super::repository::{Opened, short_id};

/// What is checked out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Head {
    Branch {
        name: String,
        commit: String,
        upstream: Option<Upstream>,
    },
    /// A branch without a commit yet.
    Unborn {
        name: String,
    },
    /// A commit, not a branch.
    Detached {
        commit: String,
    },
}

/// The branch that a branch follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Upstream {
    pub name: String,
    /// `None` where the branch followed no longer exists.
    pub ahead_behind: Option<(usize, usize)>,
}

impl Head {
    pub(super) fn of(opened: &Opened) -> Result<Self, GitError> {
        let repository = &opened.repository;
        let head = match repository.head() {
            Ok(head) => head,
            Err(error) if matches!(error.code(), ErrorCode::UnbornBranch | ErrorCode::NotFound) => {
                let reference = repository.find_reference("HEAD")?;
                let target =
                    String::from_utf8_lossy(reference.symbolic_target_bytes().unwrap_or_default()).into_owned();
                let name = target.strip_prefix("refs/heads/").unwrap_or(&target).to_owned();
                return Ok(Self::Unborn { name });
            }
            Err(error) => return Err(error.into()),
        };
        let commit = short_id(head.peel_to_commit()?.as_object());
        if repository.head_detached()? {
            return Ok(Self::Detached { commit });
        }
        let name = String::from_utf8_lossy(head.shorthand_bytes()).into_owned();
        let upstream = Upstream::of(opened, &git2::Branch::wrap(head));
        Ok(Self::Branch { name, commit, upstream })
    }
}

impl Upstream {
    pub(super) fn of(opened: &Opened, branch: &git2::Branch<'_>) -> Option<Self> {
        let full_name = branch.get().name().ok()?;
        match branch.upstream() {
            Ok(upstream) => {
                let name = String::from_utf8_lossy(upstream.name_bytes().ok()?).into_owned();
                let (local, remote) = (branch.get().target_peel_or_target()?, upstream.get().target_peel_or_target()?);
                Some(Self { name, ahead_behind: opened.repository.graph_ahead_behind(local, remote).ok() })
            }
            Err(_) => {
                let buffer = opened.repository.branch_upstream_name(full_name).ok()?;
                let name = String::from_utf8_lossy(&buffer).into_owned();
                let name = name.strip_prefix("refs/remotes/").unwrap_or(&name).to_owned();
                let exists = opened.repository.find_branch(&name, BranchType::Remote).is_ok();
                (!exists).then_some(Self { name, ahead_behind: None })
            }
        }
    }
}

trait Target {
    fn target_peel_or_target(&self) -> Option<git2::Oid>;
}

impl Target for git2::Reference<'_> {
    fn target_peel_or_target(&self) -> Option<git2::Oid> {
        self.peel_to_commit().ok().map(|commit| commit.id())
    }
}
