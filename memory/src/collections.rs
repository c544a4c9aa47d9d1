//! Named collections of documents, each with a database and indexes of its own, beside what is remembered.
//!
//! A collection is a folder: `documents.duckdb` is its truth, `index/` a cache that can be deleted at any time. The
//! database is held only while it is read or written, so that one process can search what another imports.

mod backup;
mod database;
mod filter;
mod index;
mod keys;
mod record;
mod search;
mod windows;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use serde_json::{Map, Value};

use crate::embedder::Embedder;
use crate::embedding::embed;
use crate::error::MemoryError;
use crate::store::lock::{self, Attempt, FileLock};
use crate::vault::{self, MasterKey, Vault, VaultFile};

use self::database::Database;
pub use self::filter::{Comparison, Condition};
pub use self::index::Staleness;
pub use self::record::{BadLine, Record, parse_line};
pub use self::search::{CollectionHit, CollectionQuery, Mode as SearchMode, Shortfall};

/// The collections of one user: a folder of folders.
#[derive(Clone)]
pub struct Collections {
    folder: PathBuf,
    key: Option<MasterKey>,
}

/// One collection, open for reading and writing.
pub struct Collection {
    name: String,
    folder: PathBuf,
    key: Option<MasterKey>,
    vault: OnceLock<Vault>,
    indexes: index::Indexes,
    /// Of the last search.
    shortfall: Mutex<Option<Shortfall>>,
}

/// What a collection holds.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct CollectionStatistics {
    pub name: String,
    pub documents: usize,
    /// Embedding models and how many texts each has embedded.
    pub embeddings: Vec<(String, usize)>,
    pub database_bytes: u64,
    pub index_bytes: u64,
}

/// What became of records that were put into a collection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stored {
    pub added: usize,
    pub replaced: usize,
    pub unchanged: usize,
}

/// Told how much of something is done; stops it with false.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) -> bool + Sync);

/// Something that a check of a collection found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// `database`, `lexical` or `vectors`.
    pub part: String,
    pub sound: bool,
    pub detail: String,
}

impl Finding {
    pub fn sound(part: &str, detail: impl Into<String>) -> Self {
        Self { part: part.to_owned(), sound: true, detail: detail.into() }
    }

    pub fn unsound(part: &str, detail: impl Into<String>) -> Self {
        Self { part: part.to_owned(), sound: false, detail: detail.into() }
    }
}

impl Collections {
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), key: None }
    }

    /// With a key other than the one that the environment or the system keyring has.
    pub fn with_key(self, key: MasterKey) -> Self {
        Self { key: Some(key), ..self }
    }

    /// All collections, by name.
    pub fn list(&self) -> Result<Vec<String>, MemoryError> {
        let entries = match fs_err::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(&self.folder, &error)),
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.path().join(database::FILE).is_file())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// A collection that is there.
    pub fn open(&self, name: &str) -> Result<Collection, MemoryError> {
        let folder = self.folder_of(name)?;
        if !folder.join(database::FILE).is_file() {
            return Err(MemoryError::NoCollection { name: name.to_owned(), known: self.list()? });
        }
        Ok(Collection::new(name, folder, self.key.clone()))
    }

    /// A collection, made where there is none.
    pub fn open_or_create(&self, name: &str) -> Result<Collection, MemoryError> {
        let folder = self.folder_of(name)?;
        lock::prepare_folder(&folder.join(database::FILE))?;
        let collection = Collection::new(name, folder, self.key.clone());
        collection.database()?;
        Ok(collection)
    }

    /// Deletes a collection and everything in it.
    pub fn remove(&self, name: &str) -> Result<(), MemoryError> {
        let collection = self.open(name)?;
        let _lock = collection.lock()?;
        fs_err::remove_dir_all(&collection.folder).map_err(|error| unwritable(&collection.folder, &error))
    }

    /// Names are folders' names: nothing that could lead elsewhere.
    fn folder_of(&self, name: &str) -> Result<PathBuf, MemoryError> {
        let fits = |character: char| character.is_alphanumeric() || "-_.".contains(character);
        if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(fits) {
            return Err(MemoryError::CollectionName { name: name.to_owned() });
        }
        Ok(self.folder.join(name))
    }
}

impl Collection {
    fn new(name: &str, folder: PathBuf, key: Option<MasterKey>) -> Self {
        let indexes = index::Indexes::new(folder.join("index"));
        Self { name: name.to_owned(), folder, key, vault: OnceLock::new(), indexes, shortfall: Mutex::default() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps other writers out while it lives; readers come in between.
    pub fn lock(&self) -> Result<CollectionLock, MemoryError> {
        match lock::acquire(&self.folder.join(database::FILE))? {
            Attempt::Acquired(lock) => Ok(CollectionLock { _lock: lock }),
            Attempt::HeldBy(holder) => Err(MemoryError::CollectionBusy { name: self.name.clone(), holder }),
        }
    }

    /// Keeps records, in place of those that had their identifiers; all of them, or none. Durable when it returns.
    pub fn put(&self, records: &[Record]) -> Result<Stored, MemoryError> {
        self.database()?.put(records)
    }

    /// Removes records by identifier; gives how many there were.
    pub fn delete(&self, identifiers: &[String]) -> Result<usize, MemoryError> {
        self.database()?.delete(identifiers)
    }

    /// Embeds the texts that have no vector of this model, and keeps the vectors as they come: stopped, it goes on
    /// where it was. Gives how many texts were embedded.
    pub fn embed_missing(&self, embedder: &dyn Embedder, progress: Progress<'_>) -> Result<usize, MemoryError> {
        let missing = {
            let mut database = self.database()?;
            database.drop_unused_vectors()?;
            database.without_vectors(embedder.name())?
        };
        let total = missing.len();
        let mut done = 0;
        for block in missing.chunks(EMBEDDED_AT_ONCE) {
            if !progress(done, total) {
                return Err(MemoryError::Stopped);
            }
            let texts = self.database()?.contents(block)?;
            let mut rows: Vec<(String, usize, Vec<f32>)> = Vec::with_capacity(texts.len());
            for batch in texts.chunks(EMBEDDED_AT_ONCE / 4) {
                let of_each: Vec<Vec<String>> =
                    batch.iter().map(|(_, text)| windows::windows(embedder, text)).collect();
                let texts: Vec<&str> = of_each.iter().flatten().map(String::as_str).collect();
                let mut embedded = embed(embedder, &texts)?.into_iter();
                rows.extend(batch.iter().zip(&of_each).map(|((content, _), windows)| {
                    let of_windows: Vec<Vec<f32>> = embedded.by_ref().take(windows.len()).collect();
                    (content.clone(), windows.len(), windows::together(&of_windows))
                }));
                if !progress(done + rows.len(), total) {
                    break;
                }
            }
            self.database()?.add_vectors(embedder.name(), &rows)?;
            done += block.len().min(rows.len());
            if rows.len() < block.len() {
                return Err(MemoryError::Stopped);
            }
        }
        progress(total, total);
        Ok(done)
    }

    /// Brings the indexes up to the database and writes them. `model` is whose vectors count, if any do.
    pub fn refresh(&self, model: Option<&str>, progress: Progress<'_>) -> Result<(), MemoryError> {
        self.indexes.refresh(self.database()?, model, progress)
    }

    /// Builds the indexes anew, from the database alone.
    pub fn rebuild(&self, model: Option<&str>, progress: Progress<'_>) -> Result<(), MemoryError> {
        self.indexes.forget()?;
        self.refresh(model, progress)
    }

    /// Gives every record, in the order of import.
    pub fn export(&self, each: &mut dyn FnMut(&Record) -> std::io::Result<()>) -> Result<usize, MemoryError> {
        self.database()?.export(each)
    }

    pub fn statistics(&self) -> Result<CollectionStatistics, MemoryError> {
        let database = self.database()?;
        Ok(CollectionStatistics {
            name: self.name.clone(),
            documents: database.count()?,
            embeddings: database.models()?,
            database_bytes: database.bytes(),
            index_bytes: self.indexes.bytes(),
        })
    }

    /// Reads everything: the database's rows, and the indexes' checksums and contents against them. Of a database that
    /// cannot be read, that is what is found.
    pub fn verify(&self) -> Result<Vec<Finding>, MemoryError> {
        let database = match self.database() {
            Ok(database) => database,
            Err(error @ MemoryError::CollectionBusy { .. }) => return Err(error),
            Err(error) => return Ok(vec![Finding::unsound("database", error.to_string())]),
        };
        match database.check() {
            Ok(rows) => {
                let mut findings = vec![Finding::sound("database", format!("{rows} documents, all readable"))];
                findings.extend(self.indexes.verify(&database)?);
                Ok(findings)
            }
            Err(error) => Ok(vec![Finding::unsound("database", error.to_string())]),
        }
    }

    fn database(&self) -> Result<Database, MemoryError> {
        if let Some(vault) = self.vault.get() {
            return Database::open(&self.path(), vault);
        }
        let database = self.settled(Database::open(&self.path(), &self.vault()?)?)?;
        self.vault.get_or_init(|| database.vault().clone());
        Ok(database)
    }

    /// What seals and opens the contents, as the file beside them says. A collection that is made while there is a key
    /// is sealed with it.
    fn vault(&self) -> Result<Vault, MemoryError> {
        let database = self.path();
        let key = self.key.clone().map_or_else(MasterKey::from_environment, |key| Ok(Some(key)))?;
        match (VaultFile::read(&database)?, key) {
            (Some(file), key) => vault::unlock(&database, &file, key.as_ref()),
            (None, Some(key)) if !database.exists() => {
                let (file, vault) = VaultFile::create(&key)?;
                file.write(&database)?;
                Ok(vault)
            }
            (None, _) => Ok(Vault::off()),
        }
    }
}

/// Texts between two commits of their vectors.
const EMBEDDED_AT_ONCE: usize = 1024;

/// The right to write a collection.
pub struct CollectionLock {
    _lock: FileLock,
}

/// Metadata as it comes and goes.
pub type Metadata = Map<String, Value>;

fn unreadable(path: &Path, error: &std::io::Error) -> MemoryError {
    MemoryError::Unreadable { path: path.display().to_string(), reason: error.to_string() }
}

fn unwritable(path: &Path, error: &std::io::Error) -> MemoryError {
    MemoryError::Unwritable { path: path.display().to_string(), reason: error.to_string() }
}
