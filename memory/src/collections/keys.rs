//! Collections sealed, written in the clear again, and opened with another key.

use super::database::{self, Database, SealedAs};
use super::{Collection, CollectionLock, Collections};
use crate::backup::{remove, replace};
use crate::error::MemoryError;
use crate::journal::beside;
use crate::store::log_of;
use crate::vault::{self, MasterKey, Vault, VaultFile};

impl Collections {
    /// Seals all collections for `key`, those too that are sealed for `old`; gives their names. Each is written anew
    /// beside itself and changes places when it is complete, so that a crash leaves one of the two; run again, it goes
    /// through all of them again.
    pub fn encrypt(&self, old: Option<&MasterKey>, key: &MasterKey) -> Result<Vec<String>, MemoryError> {
        self.each_opened(old, Some(key), |collection| collection.seal_anew(Some(key)))
    }

    /// Writes all collections in the clear.
    pub fn decrypt(&self, key: Option<&MasterKey>) -> Result<Vec<String>, MemoryError> {
        self.each_opened(key, None, |collection| collection.seal_anew(None))
    }

    /// Puts the key of those that it opens into the system keyring.
    pub fn keep_key(&self, key: &MasterKey) -> Result<(), MemoryError> {
        for name in self.list()? {
            let file = self.open(&name)?.vault_file()?;
            if let Some(file) = file.filter(|file| file.open(key).is_ok_and(|opened| opened.is_some())) {
                key.keep_in_keyring(&file.key_id)?;
            }
        }
        Ok(())
    }

    /// What `work` does with each, opened with one key or else the other.
    fn each_opened(
        &self,
        one: Option<&MasterKey>,
        other: Option<&MasterKey>,
        mut work: impl FnMut(Collection) -> Result<(), MemoryError>,
    ) -> Result<Vec<String>, MemoryError> {
        let names = self.list()?;
        for name in &names {
            work(self.opened_with(name, one, other)?)?;
        }
        Ok(names)
    }

    pub(crate) fn opened_with(
        &self,
        name: &str,
        one: Option<&MasterKey>,
        other: Option<&MasterKey>,
    ) -> Result<Collection, MemoryError> {
        let with = |key: Option<&MasterKey>| {
            let collection = Self { key: key.cloned().or_else(|| self.key.clone()), ..self.clone() }.open(name)?;
            collection.database()?;
            Ok(collection)
        };
        match (with(one), other) {
            (Err(MemoryError::WrongKey { .. } | MemoryError::KeyMissing { .. }), Some(other)) => with(Some(other)),
            (opened, _) => opened,
        }
    }
}

impl Collection {
    pub(super) fn path(&self) -> std::path::PathBuf {
        self.folder.join(database::FILE)
    }

    /// What it is sealed with now stays known to nobody who opened it before: so this is its end.
    fn seal_anew(self, key: Option<&MasterKey>) -> Result<(), MemoryError> {
        let _lock = self.lock()?;
        let path = self.path();
        let old = self.database()?;
        if key.is_none() && !old.vault().is_on() {
            return Ok(());
        }
        let (file, vault) = match key {
            Some(key) => VaultFile::create(key).map(|(file, vault)| (Some(file), vault))?,
            None => (None, Vault::off()),
        };
        let new = beside(&path, "new");
        for leftover in [&new, &log_of(&new)] {
            remove(leftover)?;
        }
        let written = Database::open(&new, &vault).and_then(|mut database| {
            old.copy_to(&mut database)?;
            database.say_sealed_as(file.as_ref())?;
            database.check()?;
            database.checkpoint()
        });
        if let Err(error) = written {
            remove(&new)?;
            return Err(error);
        }
        // They are sealed as the database was, and made anew at the next search.
        self.indexes.forget()?;
        old.checkpoint()?;
        // From here on the database itself says how it is sealed: the file beside it follows.
        replace(&new, &path)?;
        drop(old);
        remove(&log_of(&path))?;
        VaultFile::put(file.as_ref(), &path)
    }

    /// The file that says what this collection is sealed with, if it is.
    pub(crate) fn vault_file(&self) -> Result<Option<VaultFile>, MemoryError> {
        VaultFile::read(&self.path())
    }

    /// Another key for the same data key, or several. Both places say so when it returns.
    pub(crate) fn set_vault_file(&self, file: &VaultFile, _lock: &CollectionLock) -> Result<(), MemoryError> {
        let mut database = self.database()?;
        database.say_sealed_as(Some(file))?;
        database.checkpoint()?;
        file.write(&self.path())
    }

    pub(crate) fn sealed_with(&self) -> Result<Vault, MemoryError> {
        self.database().map(|database| database.vault().clone())
    }

    /// A database that changed places with one that is sealed otherwise, when a crash kept the file beside it from
    /// following, and one of a time when databases did not say how they are sealed.
    pub(super) fn settled(&self, mut database: Database) -> Result<Database, MemoryError> {
        let path = self.path();
        let (noted, vault) = match database.sealed_as()? {
            SealedAs::Unsaid => {
                let file = VaultFile::read(&path)?;
                (database.say_sealed_as(file.as_ref()), None)
            }
            SealedAs::Clear if database.vault().is_on() => (VaultFile::put(None, &path), Some(Vault::off())),
            SealedAs::Sealed(file) if database.vault().key_id() != Some(file.key_id.as_str()) => {
                let vault = vault::unlock(&path, &file, self.key.as_ref())?;
                (VaultFile::put(Some(&file), &path), Some(vault))
            }
            SealedAs::Clear | SealedAs::Sealed(_) => (Ok(()), None),
        };
        match noted {
            // It is read where nothing can be written.
            Err(MemoryError::Unwritable { .. }) | Ok(()) => {}
            Err(error) => return Err(error),
        }
        Ok(match vault {
            Some(vault) => database.with_vault(vault),
            None => database,
        })
    }
}
