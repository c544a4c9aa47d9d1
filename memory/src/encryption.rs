//! Encryption of a memory that is there already: turned on, turned off, with another key.

use std::path::{Path, PathBuf};

use crate::backup::{automatic, folder, replace};
use crate::error::MemoryError;
use crate::journal::beside;
use crate::memory::{Memory, MemoryOptions};
use crate::records::Mode;
use crate::state::State;
use crate::store::{OpenFailure, Store, log_of};
use crate::vault::{MasterKey, Vault, VaultFile, vault_path};

impl Memory {
    /// Seals everything in the database at `path`, with a new data key, for `key`: turns encryption
    /// on, or replaces a data key that may be known to others (then `old` opens what is there).
    ///
    /// The database is written anew beside the old one and takes its place when it is complete; a
    /// crash leaves one of the two. Automatic backups are replaced by one that is sealed. What was
    /// deleted may still be read from the disk itself by special means.
    pub fn encrypt(path: &Path, old: Option<&MasterKey>, key: &MasterKey) -> Result<(), MemoryError> {
        let (file, vault) = VaultFile::create(key)?;
        rewrite(path, old, vault, Some(&file))?;
        Self::back_up_anew(path, Some(key))
    }

    /// Writes everything in the clear again.
    pub fn decrypt(path: &Path, key: Option<&MasterKey>) -> Result<(), MemoryError> {
        rewrite(path, key, Vault::off(), None)?;
        Self::back_up_anew(path, None)
    }

    /// Puts the key of the memory at `path` into the system keyring.
    pub fn keep_key(path: &Path, key: &MasterKey) -> Result<(), MemoryError> {
        let shown = || path.display().to_string();
        let file = VaultFile::read(path)?.ok_or_else(|| MemoryError::NotEncrypted { path: shown() })?;
        file.open(key)?.ok_or_else(|| MemoryError::WrongKey { path: shown() })?;
        key.keep_in_keyring(&file.key_id)
    }

    /// Another key for the same data key: quick, since no content changes. Backups keep the old key.
    pub fn change_key(path: &Path, old: Option<&MasterKey>, new: &MasterKey) -> Result<(), MemoryError> {
        let mut state = exclusive(path, old)?;
        let database = database_of(&state)?;
        let file = VaultFile::read(&database)?
            .ok_or_else(|| MemoryError::NotEncrypted { path: database.display().to_string() })?;
        let Some(data_key) = state.vault.data_key().cloned() else {
            return Err(MemoryError::NotEncrypted { path: database.display().to_string() });
        };
        let changed = file.relocked(&data_key, new)?;
        // Until the database has the new one, both keys open.
        file.and(&changed).write(&database)?;
        state.store.set_vault_entry(Some(&changed))?;
        state.store.checkpoint()?;
        changed.write(&database)
    }

    fn back_up_anew(path: &Path, key: Option<&MasterKey>) -> Result<(), MemoryError> {
        let memory = Self::open_with(MemoryOptions { key: key.cloned(), ..MemoryOptions::new(path) })?;
        memory.back_up_if_due().map(drop)
    }
}

fn rewrite(path: &Path, old: Option<&MasterKey>, vault: Vault, file: Option<&VaultFile>) -> Result<(), MemoryError> {
    let mut state = exclusive(path, old)?;
    let database = database_of(&state)?;
    let new = beside(&database, "new");
    for leftover in [&new, &log_of(&new)] {
        if leftover.exists() {
            remove(leftover)?;
        }
    }
    let written = Store::open(&new, |_, _| Ok((vault, file.cloned())))
        .map_err(|failure| failure.into_error(&new))
        .and_then(|mut store| {
            state.store.copy_to(&mut store)?;
            store.checkpoint()?;
            store.read_everything()
        });
    if let Err(error) = written {
        remove(&new)?;
        return Err(error);
    }
    // From here on the database itself says how it is sealed: the file beside it follows.
    state.store = Store::in_memory()?;
    replace(&new, &database)?;
    if log_of(&database).exists() {
        remove(&log_of(&database))?;
    }
    match file {
        Some(file) => file.write(&database)?,
        None if vault_path(&database).exists() => remove(&vault_path(&database))?,
        None => {}
    }
    remove_caches(&database)
}

/// The database, with nobody else at work on it.
fn exclusive(path: &Path, key: Option<&MasterKey>) -> Result<State, MemoryError> {
    let state = State::open(&MemoryOptions { key: key.cloned(), ..MemoryOptions::new(path) })?;
    let busy = |holder: String| MemoryError::Busy { path: path.display().to_string(), holder };
    match &state.mode {
        Mode::Shared { holder } => Err(busy(holder.clone())),
        _ if state.pending_journals > 0 => Err(busy("another process writes to a journal beside it".to_owned())),
        _ => Ok(state),
    }
}

fn database_of(state: &State) -> Result<PathBuf, MemoryError> {
    state.database.clone().ok_or_else(|| MemoryError::Unknown { what: "database", id: "in memory".to_owned() })
}

/// Everything beside the database that was made from it: it may say what is sealed now.
fn remove_caches(database: &Path) -> Result<(), MemoryError> {
    for backup in automatic(database) {
        remove(&backup)?;
    }
    if folder(database).exists() {
        fs_err::remove_dir_all(folder(database)).map_err(|error| crate::backup::unwritable(database, &error))?;
    }
    for name in ["facts.jsonl", "vectors", "index"] {
        let cache = beside(database, name);
        if cache.is_dir() {
            fs_err::remove_dir_all(&cache).map_err(|error| crate::backup::unwritable(&cache, &error))?;
        } else if cache.exists() {
            remove(&cache)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), MemoryError> {
    fs_err::remove_file(path).map_err(|error| crate::backup::unwritable(path, &error))
}

impl OpenFailure {
    pub fn into_error(self, path: &Path) -> MemoryError {
        match self {
            Self::Busy(holder) => MemoryError::Busy { path: path.display().to_string(), holder },
            Self::Failed(error) => error,
        }
    }
}
