//! Which commit has a file as it is.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use git2::{ObjectType, Oid, Repository};

/// The repositories that files were found in.
#[derive(Default)]
pub(super) struct Commits {
    /// By the folder of the file.
    repositories: Mutex<HashMap<PathBuf, Option<Repository>>>,
}

impl Commits {
    /// The short name of the commit that is checked out, with a `+` where the file is not as it is there. `None` for what
    /// git does not keep.
    pub fn of(&self, path: &Path, contents: &[u8]) -> Option<String> {
        let blob = Oid::hash_object(ObjectType::Blob, contents).ok()?;
        let folder = path.parent()?;
        let mut repositories = self.repositories.lock().unwrap_or_else(PoisonError::into_inner);
        let open = || Repository::discover(folder).ok().filter(|repository| !repository.is_bare());
        let repository = repositories.entry(folder.to_owned()).or_insert_with(open).as_ref()?;
        let tree = fs_err::canonicalize(repository.workdir()?).ok()?;
        let relative = fs_err::canonicalize(path).ok()?.strip_prefix(tree).ok()?.to_owned();
        let head = repository.head().ok()?.peel_to_commit().ok()?;
        let kept = head.tree().ok()?.get_path(&relative).ok()?;
        let name = head.as_object().short_id().ok()?;
        Some(format!("{}{}", name.as_str().ok()?, if kept.id() == blob { "" } else { "+" }))
    }
}
