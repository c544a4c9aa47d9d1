//! A repository as seen from a folder in it.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use git2::{ErrorCode, IndexEntryExtendedFlag, Object, Repository};

use super::GitError;
use crate::nearest;
use crate::text::quote_path;

pub(super) struct Opened {
    pub(super) repository: Repository,
    /// The working tree, absolute; `None` for a bare repository.
    pub(super) tree: Option<PathBuf>,
    /// The folder relative to the working tree; empty at its root.
    pub(super) prefix: PathBuf,
}

impl Opened {
    pub(super) fn new(folder: &Path) -> Result<Self, GitError> {
        let shown = folder.display().to_string();
        let folder = fs_err::canonicalize(folder).map_err(|error| GitError::Other(error.to_string()))?;
        let repository = Repository::discover(&folder).map_err(|error| match error.code() {
            ErrorCode::NotFound => GitError::NotARepository(shown.clone()),
            ErrorCode::Owner => GitError::NotOwned(shown.clone()),
            _ => error.into(),
        })?;
        let Some(tree) = repository.workdir().filter(|_| !repository.is_bare()) else {
            return Ok(Self { repository, tree: None, prefix: PathBuf::new() });
        };
        let tree = fs_err::canonicalize(tree).map_err(|error| GitError::Other(error.to_string()))?;
        let prefix = folder.strip_prefix(&tree).map_err(|_| GitError::FilesElsewhere(shown))?.to_path_buf();
        Ok(Self { repository, tree: Some(tree), prefix })
    }

    /// The working tree, needed `to` do something.
    pub(super) fn tree(&self, to: &'static str) -> Result<&Path, GitError> {
        self.tree.as_deref().ok_or(GitError::Bare(to))
    }

    /// A path given relative to the folder (or absolute), as git stores it: relative to the
    /// root. With `confined` it must lie in the folder, not just in the repository.
    pub(super) fn path(&self, given: &str, confined: bool) -> Result<PathBuf, GitError> {
        let outside = || {
            let of = if confined { "the workspace" } else { "the repository" };
            GitError::Outside(quote_path(given.as_bytes()), of)
        };
        if given.contains('\0') {
            return Err(outside());
        }
        let given = Path::new(given);
        let mut path = self.prefix.clone();
        let mut rest = given;
        if given.is_absolute() {
            rest = self.tree.as_deref().and_then(|tree| given.strip_prefix(tree).ok()).ok_or_else(outside)?;
            path.clear();
        }
        for component in rest.components() {
            match component {
                Component::Normal(name) => path.push(name),
                Component::CurDir => {}
                Component::ParentDir if path.pop() => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(outside()),
            }
        }
        if confined && !path.starts_with(&self.prefix) { Err(outside()) } else { Ok(path) }
    }

    /// A stored path as seen from the folder, safe to print.
    pub(super) fn shown(&self, stored: &[u8]) -> String {
        let ends_in_slash = stored.ends_with(b"/");
        let path = Path::new(OsStr::from_bytes(stored));
        let common = path.iter().zip(self.prefix.iter()).take_while(|(a, b)| a == b).count();
        let mut seen = PathBuf::new();
        for _ in common..self.prefix.iter().count() {
            seen.push("..");
        }
        seen.extend(path.iter().skip(common));
        let mut bytes = seen.as_os_str().as_bytes().to_vec();
        if bytes.is_empty() {
            bytes.push(b'.');
        }
        if ends_in_slash {
            bytes.push(b'/');
        }
        quote_path(&bytes)
    }

    /// Whether a stored path lies in the folder (or, for a folder, holds it).
    pub(super) fn is_inside(&self, stored: &[u8]) -> bool {
        let path = Path::new(OsStr::from_bytes(stored));
        path.starts_with(&self.prefix) || (stored.ends_with(b"/") && self.prefix.starts_with(path))
    }

    /// Tracked files that a sparse checkout leaves out of the working tree, as git stores
    /// their paths. libgit2 takes them for deleted.
    pub(super) fn left_out(&self) -> Result<HashSet<Vec<u8>>, GitError> {
        let skipped = IndexEntryExtendedFlag::SKIP_WORKTREE.bits();
        let index = self.repository.index()?;
        Ok(index.iter().filter(|entry| entry.flags_extended & skipped != 0).map(|entry| entry.path).collect())
    }

    /// What a branch, tag, hash or expression (`HEAD~2`, `main:README.md`) names.
    pub(super) fn find(&self, revision: &str) -> Result<Object<'_>, GitError> {
        if self.has_no_commits() {
            return Err(GitError::NoCommits);
        }
        match self.repository.revparse_single(revision) {
            Ok(object) => Ok(object),
            Err(error) if error.code() == ErrorCode::Ambiguous => {
                Err(GitError::Other(format!("{revision:?} fits more than one commit; give more of the hash")))
            }
            Err(_) => Err(self.unknown_revision(revision)),
        }
    }

    pub(super) fn find_commit(&self, revision: &str) -> Result<git2::Commit<'_>, GitError> {
        self.find(revision)?.peel_to_commit().map_err(|_| GitError::Other(format!("{revision:?} is not a commit")))
    }

    pub(super) fn find_tree(&self, revision: &str) -> Result<git2::Tree<'_>, GitError> {
        self.find(revision)?.peel_to_tree().map_err(|_| GitError::Other(format!("{revision:?} is not a commit")))
    }

    /// The commit HEAD is at, or `None` before the first.
    pub(super) fn head_commit(&self) -> Result<Option<git2::Commit<'_>>, GitError> {
        match self.repository.head() {
            Ok(head) => Ok(Some(head.peel_to_commit()?)),
            Err(error) if matches!(error.code(), ErrorCode::UnbornBranch | ErrorCode::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn has_no_commits(&self) -> bool {
        matches!(self.head_commit(), Ok(None))
            && self.repository.references().is_ok_and(|mut references| references.next().is_none())
    }

    fn unknown_revision(&self, revision: &str) -> GitError {
        let mut names = Vec::new();
        if let Ok(references) = self.repository.references() {
            for reference in references.flatten().take(5000) {
                if let Ok(name) = reference.shorthand() {
                    names.push(name.to_owned());
                }
            }
        }
        let suggestion = nearest(revision, names.iter().map(String::as_str)).map(str::to_owned);
        GitError::UnknownRevision { name: revision.to_owned(), suggestion }
    }

    /// An error for a path that nothing has, with the nearest one that git tracks.
    pub(super) fn unknown_path(&self, path: &Path, revision: &str) -> GitError {
        let mut names = Vec::new();
        if let Ok(index) = self.repository.index() {
            names.extend(
                index
                    .iter()
                    .take(20_000)
                    .filter(|entry| self.is_inside(&entry.path))
                    .map(|entry| self.shown(&entry.path)),
            );
        }
        let shown = self.shown(path.as_os_str().as_bytes());
        let by_name = names.iter().find(|name| Path::new(name).file_name() == path.file_name()).map(String::as_str);
        let suggestion = by_name.or_else(|| nearest(&shown, names.iter().map(String::as_str))).map(str::to_owned);
        GitError::UnknownPath { path: shown, revision: revision.to_owned(), suggestion }
    }
}

/// An object's name as people write it, no shorter than is unambiguous.
pub(super) fn short_id(object: &Object<'_>) -> String {
    match object.short_id() {
        Ok(buffer) => String::from_utf8_lossy(&buffer).into_owned(),
        Err(_) => object.id().to_string().chars().take(7).collect(),
    }
}
