//! Copies of collections, made while they are in use, and put back.

use std::path::{Path, PathBuf};

use super::database::{self, Database};
use super::{Collections, unwritable};
use crate::backup::{replace, stamp};
use crate::error::MemoryError;
use crate::store::lock::make_folder;

impl Collections {
    /// Copies the databases of all collections (indexes are made anew from them) into a folder that is not there yet,
    /// sealed as they are; gives their names, and why some could not be copied. Nothing where there are none.
    pub fn back_up(&self, folder: &Path) -> Result<Vec<(String, Result<u64, MemoryError>)>, MemoryError> {
        let names = self.list()?;
        if !names.is_empty() {
            make_folder(folder)?;
        }
        let copy = |name: &String| {
            let collection = self.open(name)?;
            let to = folder.join(name).join(database::FILE);
            make_folder(&folder.join(name))?;
            // First what opens it: a copy without is of no use.
            let database = collection.database()?;
            collection.vault_file()?.map_or(Ok(()), |file| file.write(&to))?;
            let bytes = database.copy_file(&to)?;
            Database::open(&to, &collection.sealed_with()?)?.check()?;
            Ok(bytes)
        };
        Ok(names.into_iter().map(|name| (name.clone(), copy(&name))).collect())
    }

    /// Puts the collections that [`Collections::back_up`] wrote in the place of those there are, which are set aside as
    /// a whole; gives the names, and where what there was lies now.
    pub fn restore(&self, from: &Path) -> Result<(Vec<String>, Option<PathBuf>), MemoryError> {
        let _locks = self.list()?.iter().map(|name| self.open(name)?.lock()).collect::<Result<Vec<_>, _>>()?;
        let beside = |suffix: &str| self.folder.with_file_name(format!("collections.{suffix}"));
        let new = Self { folder: beside("restore.new"), key: self.key.clone() };
        if new.folder.exists() {
            fs_err::remove_dir_all(&new.folder).map_err(|error| unwritable(&new.folder, &error))?;
        }
        let backup = Self { folder: from.to_owned(), key: self.key.clone() };
        let copies = backup.back_up(&new.folder)?;
        let names = copies.into_iter().map(|(name, copied)| copied.map(|_| name)).collect::<Result<Vec<_>, _>>();
        let names = names.inspect_err(|_| {
            fs_err::remove_dir_all(&new.folder).unwrap_or_else(|error| tracing::debug!(%error));
        })?;
        let aside = self.folder.exists().then(|| beside(&format!("before-restore-{}", stamp())));
        if let Some(aside) = &aside {
            fs_err::rename(&self.folder, aside).map_err(|error| unwritable(aside, &error))?;
        }
        replace(&new.folder, &self.folder)?;
        Ok((names, aside))
    }
}
