//! Encryption of a memory that is there already: turned on, turned off, with another key.

use std::path::{Path, PathBuf};

use crate::backup::{automatic, folder, remove, replace, unwritable};
use crate::collections::{Collection, CollectionLock, Collections};
use crate::error::MemoryError;
use crate::journal::beside;
use crate::memory::{Memory, MemoryOptions};
use crate::records::Mode;
use crate::state::State;
use crate::store::{OpenFailure, Store, log_of};
use crate::vault::{DataKey, MasterKey, Vault, VaultFile, vault_path};

impl Memory {
    /// Seals everything in the database at `path`, with a new data key, for `key`: turns encryption
    /// on, or replaces a data key that may be known to others (then `old` opens what is there).
    ///
    /// The database is written anew beside the old one and takes its place when it is complete; a
    /// crash leaves one of the two. Automatic backups are replaced by one that is sealed. What was
    /// deleted may still be read from the disk itself by special means.
    ///
    /// `others` writes what lies elsewhere and is sealed with the same vault.
    pub fn encrypt(
        path: &Path,
        old: Option<&MasterKey>,
        key: &MasterKey,
        others: Others<'_>,
    ) -> Result<(), MemoryError> {
        let (file, vault) = VaultFile::create(key)?;
        rewrite(path, old, vault, Some(&file), others)?;
        Self::back_up_anew(path, Some(key))
    }

    /// Writes everything in the clear again.
    pub fn decrypt(path: &Path, key: Option<&MasterKey>, others: Others<'_>) -> Result<(), MemoryError> {
        rewrite(path, key, Vault::off(), None, others)?;
        Self::back_up_anew(path, None)
    }

    /// Whether the memory at `path` is encrypted, as far as it can be seen without opening it.
    pub fn is_encrypted(path: &Path) -> bool {
        vault_path(path).exists()
    }

    /// What seals the contents of this memory: for what else is kept of the same person.
    pub fn vault(&self) -> Vault {
        self.state().vault.clone()
    }

    /// Puts the key of the memory at `path` into the system keyring.
    pub fn keep_key(path: &Path, key: &MasterKey) -> Result<(), MemoryError> {
        let shown = || path.display().to_string();
        let file = VaultFile::read(path)?.ok_or_else(|| MemoryError::NotEncrypted { path: shown() })?;
        file.open(key)?.ok_or_else(|| MemoryError::WrongKey { path: shown() })?;
        key.keep_in_keyring(&file.key_id)
    }

    /// Another key for memory (where there is a `path`) and for all collections: quick, since data keys and contents
    /// stay. First everything is made to open with both keys, then with the new one alone: whenever this ends, one of
    /// the two opens everything. Backups keep the old key.
    pub fn change_key(
        path: Option<&Path>,
        collections: &Collections,
        old: Option<&MasterKey>,
        new: &MasterKey,
    ) -> Result<(), MemoryError> {
        let mut places = Vec::new();
        if let Some(path) = path {
            let state = match exclusive(path, old) {
                // An earlier change came as far as this.
                Err(MemoryError::WrongKey { .. } | MemoryError::KeyMissing { .. }) => exclusive(path, Some(new))?,
                opened => opened?,
            };
            let database = database_of(&state)?;
            let file = VaultFile::read(&database)?;
            let key = state.vault.data_key().cloned();
            places.extend(Relocked::of(file, key, new, Place::Memory(Box::new(state), database))?);
        }
        for name in collections.list()? {
            let collection = collections.opened_with(&name, old, Some(new))?;
            let lock = collection.lock()?;
            let (file, key) = (collection.vault_file()?, collection.sealed_with()?.data_key().cloned());
            places.extend(Relocked::of(file, key, new, Place::Collection(collection, lock))?);
        }
        if places.is_empty() {
            let path = path.map_or_else(|| "memory".to_owned(), |path| path.display().to_string());
            return Err(MemoryError::NotEncrypted { path });
        }
        places.iter_mut().try_for_each(|Relocked { place, both, .. }| place.write(both))?;
        places.iter_mut().try_for_each(|Relocked { place, new, .. }| place.write(new))
    }

    fn back_up_anew(path: &Path, key: Option<&MasterKey>) -> Result<(), MemoryError> {
        let memory = Self::open_with(MemoryOptions { key: key.cloned(), ..MemoryOptions::new(path) })?;
        memory.back_up_if_due().map(drop)
    }
}

/// Told what everything was sealed with and what it is sealed with from now on, when the new database is complete and
/// the old one still in its place.
pub type Others<'a> = &'a dyn Fn(&Vault, &Vault) -> Result<(), MemoryError>;

/// Where a sealed data key lies.
enum Place {
    Memory(Box<State>, PathBuf),
    Collection(Collection, CollectionLock),
}

/// A data key under both keys, and under the new one alone.
struct Relocked {
    place: Place,
    both: VaultFile,
    new: VaultFile,
}

impl Relocked {
    /// `None` where nothing is encrypted.
    fn of(
        file: Option<VaultFile>,
        data_key: Option<DataKey>,
        key: &MasterKey,
        place: Place,
    ) -> Result<Option<Self>, MemoryError> {
        let Some((file, data_key)) = file.zip(data_key) else { return Ok(None) };
        let new = file.relocked(&data_key, key)?;
        Ok(Some(Self { place, both: file.and(&new), new }))
    }
}

impl Place {
    fn write(&mut self, file: &VaultFile) -> Result<(), MemoryError> {
        match self {
            Self::Memory(state, database) => {
                state.store.set_vault_entry(Some(file))?;
                state.store.checkpoint()?;
                file.write(database)
            }
            Self::Collection(collection, lock) => collection.set_vault_file(file, lock),
        }
    }
}

fn rewrite(
    path: &Path,
    old: Option<&MasterKey>,
    vault: Vault,
    file: Option<&VaultFile>,
    others: Others<'_>,
) -> Result<(), MemoryError> {
    let mut state = exclusive(path, old)?;
    let database = database_of(&state)?;
    let new = beside(&database, "new");
    for leftover in [&new, &log_of(&new)] {
        remove(leftover)?;
    }
    let written = Store::open(&new, |_, _| Ok((vault.clone(), file.cloned())))
        .map_err(|failure| failure.into_error(&new))
        .and_then(|mut store| {
            state.store.copy_to(&mut store)?;
            store.checkpoint()?;
            store.read_everything()
        })
        .and_then(|()| others(&state.vault, &vault));
    if let Err(error) = written {
        remove(&new)?;
        return Err(error);
    }
    // From here on the database itself says how it is sealed: the file beside it follows.
    state.store = Store::in_memory()?;
    replace(&new, &database)?;
    remove(&log_of(&database))?;
    VaultFile::put(file, &database)?;
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
        fs_err::remove_dir_all(folder(database)).map_err(|error| unwritable(database, &error))?;
    }
    for name in ["facts.jsonl", "vectors", "index"] {
        let cache = beside(database, name);
        if cache.is_dir() {
            fs_err::remove_dir_all(&cache).map_err(|error| unwritable(&cache, &error))?;
        } else {
            remove(&cache)?;
        }
    }
    Ok(())
}

impl OpenFailure {
    pub fn into_error(self, path: &Path) -> MemoryError {
        match self {
            Self::Busy(holder) => MemoryError::Busy { path: path.display().to_string(), holder },
            Self::Failed(error) => error,
        }
    }
}
