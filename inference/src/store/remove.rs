//! Taking a model out of the store.

use std::path::Path;

use super::record::Record;
use super::staging::files_below;
use super::{ModelFormat, ModelStore, Place, StoreError, StoredModel};

/// What was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    pub name: String,
    pub bytes: u64,
}

impl ModelStore {
    /// What [`ModelStore::remove`] would delete: a model of the store, or a pull that has not ended.
    pub fn removable(&self, name: &str) -> Result<Removed, StoreError> {
        if let Some(pull) = self.unfinished().into_iter().find(|pull| pull.name == name) {
            return Ok(Removed { name: pull.name, bytes: pull.done });
        }
        let model = self.own(name)?;
        Ok(Removed { name: model.name, bytes: model.bytes })
    }

    /// Deletes a model of the store, or what has come of one.
    pub fn remove(&self, name: &str) -> Result<Removed, StoreError> {
        if let Some(pull) = self.unfinished().into_iter().find(|pull| pull.name == name) {
            self.discard(&pull.path)?;
            return Ok(Removed { name: pull.name, bytes: pull.done });
        }
        let model = self.own(name)?;
        match model.format {
            ModelFormat::Gguf => self.remove_gguf(&model)?,
            ModelFormat::Safetensors if has_ggufs(&model.path) => remove_all_but_ggufs(&model.path)?,
            ModelFormat::Safetensors => self.discard(&model.path)?,
        }
        self.remove_empty_folders(&model.path);
        Ok(Removed { name: model.name, bytes: model.bytes })
    }

    /// The model of that name, if it is the store's own. It may be incomplete.
    fn own(&self, name: &str) -> Result<StoredModel, StoreError> {
        let model = match self.find(name, &self.folder) {
            Err(StoreError::Incomplete { name, .. }) => {
                let broken = self.list().into_iter().find(|model| model.name == name);
                broken.ok_or(StoreError::Unknown { name })?
            }
            found => found?,
        };
        let path = model.path.display().to_string();
        match model.place {
            Place::Store => Ok(model),
            Place::Cache => Err(StoreError::Foreign { name: model.name, path }),
            Place::Path => Err(StoreError::Outside { name: model.name, path }),
        }
    }

    fn remove_gguf(&self, model: &StoredModel) -> Result<(), StoreError> {
        let folder = self.folder.join(model.name.split('/').take(2).collect::<std::path::PathBuf>());
        let file = super::list::name_of(&model.path);
        let parts = super::list::parts(&file).unwrap_or_else(|| vec![file]);
        for part in parts {
            let path = model.path.with_file_name(part);
            if path.symlink_metadata().is_ok() {
                fs_err::remove_file(&path).map_err(|error| self.unwritable(&error))?;
            }
        }
        if let Some(mut record) = Record::read(&folder) {
            record.files.retain(|name, _| folder.join(name).exists());
            if record.files.is_empty() {
                fs_err::remove_file(folder.join(super::record::FILE))?;
            } else {
                record.write(&folder)?;
            }
        }
        Ok(())
    }

    /// Deletes a folder: first it stops being a model, then its files go. A link goes alone.
    fn discard(&self, path: &Path) -> Result<(), StoreError> {
        if path.is_symlink() {
            return fs_err::remove_file(path).map_err(|error| self.unwritable(&error));
        }
        let gone = self.pulling().join(format!("removed-{}", std::process::id()));
        fs_err::create_dir_all(self.pulling())
            .and_then(|()| fs_err::rename(path, &gone))
            .map_err(|error| self.unwritable(&error))?;
        Ok(fs_err::remove_dir_all(gone)?)
    }

    /// An owner's folder, and a repository's, go with their last model.
    fn remove_empty_folders(&self, path: &Path) {
        for folder in path.ancestors().skip(1).take_while(|folder| *folder != self.folder) {
            // One that is not empty stays.
            if fs_err::remove_dir(folder).is_err() {
                return;
            }
        }
    }
}

fn has_ggufs(folder: &Path) -> bool {
    files_below(folder).unwrap_or_default().iter().any(|path| super::selection::is_gguf(&super::list::name_of(path)))
}

fn remove_all_but_ggufs(folder: &Path) -> Result<(), StoreError> {
    let record = Record::read(folder);
    // config.json first: the rest is no model without it.
    let mut files = files_below(folder)?;
    files.sort_by_key(|path| super::list::name_of(path) != "config.json");
    for path in files {
        let name = super::list::name_of(&path);
        if !super::selection::is_gguf(&name) && name != super::record::FILE {
            fs_err::remove_file(path)?;
        }
    }
    if let Some(mut record) = record {
        record.files.retain(|name, _| folder.join(name).exists());
        record.write(folder)?;
    }
    Ok(())
}
