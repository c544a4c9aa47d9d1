//! Which project work belongs to: what is remembered in one stays out of the others.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::event::digest;

/// What marks the top folder of a repository.
const REPOSITORY: [&str; 4] = [".git", ".hg", ".jj", ".svn"];

/// A project's name in the database: made of its folder, which it does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProjectKey(String);

/// A folder that work happens in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    pub key: ProjectKey,
    /// The repository's top folder, or the notebook's folder where there is no repository.
    pub root: PathBuf,
}

impl Project {
    /// The project that `folder` lies in.
    pub fn of(folder: &Path) -> Self {
        let folder = fs_err::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let is_top = |folder: &&Path| REPOSITORY.iter().any(|mark| folder.join(mark).exists());
        let root = folder.ancestors().find(is_top).unwrap_or(&folder).to_owned();
        Self { key: ProjectKey(digest(&root.to_string_lossy())), root }
    }

    /// What people call it.
    pub fn name(&self) -> String {
        self.root
            .file_name()
            .map_or_else(|| self.root.display().to_string(), |name| name.to_string_lossy().into_owned())
    }
}

impl ProjectKey {
    /// Where no project is known; also that of everything from before there were projects.
    pub fn none() -> Self {
        Self::default()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<String> for ProjectKey {
    fn from(text: String) -> Self {
        Self(text)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::Project;

    #[test]
    fn a_repository_is_one_project_from_top_to_bottom() {
        let folder = TempDir::new().unwrap();
        let (top, below, beside) = (folder.path().join("a"), folder.path().join("a/b/c"), folder.path().join("d"));
        std::fs::create_dir_all(&below).unwrap();
        std::fs::create_dir_all(&beside).unwrap();
        assert_ne!(Project::of(&below).key, Project::of(&top).key, "without a repository each folder is its own");
        std::fs::create_dir(top.join(".git")).unwrap();
        assert_eq!(Project::of(&below), Project::of(&top));
        assert_eq!(
            (Project::of(&below).name(), Project::of(&below).root),
            ("a".to_owned(), top.canonicalize().unwrap())
        );
        assert_ne!(Project::of(&beside).key, Project::of(&top).key);
    }
}
