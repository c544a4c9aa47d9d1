//! A collection's truth: its documents and their vectors, in a DuckDB file.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use duckdb::{AccessMode, Connection, Row, params};

use crate::collections::{Record, Stored};
use crate::error::MemoryError;
use crate::event::digest;
use crate::store::{lock, lock_holder, log_of, settings};
use crate::vault::Vault;

mod convert;
mod read;

pub(super) use convert::SealedAs;

pub(super) const FILE: &str = "documents.duckdb";

/// How long another process may write before this one gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Slots number the documents in the order of import; none is used twice. The revision counts changes: indexes that
/// were written at the same one are up to date.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS documents (
        slot UBIGINT NOT NULL, id VARCHAR NOT NULL, title VARCHAR NOT NULL, text VARCHAR NOT NULL,
        metadata VARCHAR NOT NULL, content VARCHAR NOT NULL);
    CREATE TABLE IF NOT EXISTS embeddings (content VARCHAR NOT NULL, model VARCHAR NOT NULL, vector BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS vault (entry VARCHAR NOT NULL);
    CREATE TABLE IF NOT EXISTS state (version UINTEGER NOT NULL, revision UBIGINT NOT NULL, next_slot UBIGINT NOT NULL);
    INSERT INTO state SELECT 1, 0, 1 WHERE NOT EXISTS (FROM state);";

/// A vector for each window of a text, one after the other.
const SECOND: &str = "
    ALTER TABLE embeddings ADD COLUMN IF NOT EXISTS windows UINTEGER DEFAULT 1;
    UPDATE state SET version = 2;";

const VERSION: u32 = 2;

/// Columns that are sealed, each bound to its row.
const TITLE: &str = "collection.title";
const TEXT: &str = "collection.text";
const METADATA: &str = "collection.metadata";

/// The file, held as long as this lives.
pub(super) struct Database {
    // The order of the fields is the order of closing: the turn goes last.
    connection: Connection,
    path: PathBuf,
    vault: Vault,
    /// Nothing can be written where the file lies.
    read_only: bool,
    _turn: Turn,
}

/// DuckDB's lock is the process': two openings of one file in a process would pass it and damage the file. So within
/// a process, one waits for the other.
struct Turn(PathBuf);

static OPEN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
static CLOSED: Condvar = Condvar::new();

impl Turn {
    fn take(path: &Path) -> Self {
        let path = fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = CLOSED.wait_while(open, |open| open.contains(&path)).unwrap_or_else(PoisonError::into_inner);
        open.insert(path.clone());
        Self(path)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        OPEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
        CLOSED.notify_all();
    }
}

impl Database {
    /// Opens the file, and waits a while for who else has it; where it cannot be written, to be read. Titles, texts,
    /// metadata and vectors go through `vault`.
    pub fn open(path: &Path, vault: &Vault) -> Result<Self, MemoryError> {
        let name = path.display().to_string();
        let path = &lock::prepare_folder(path)?;
        let turn = Turn::take(path);
        let asked = Instant::now();
        let mut read_only = false;
        let connection = loop {
            let config = settings().and_then(|config| match read_only {
                true => config.access_mode(AccessMode::ReadOnly),
                false => Ok(config),
            });
            match config.and_then(|config| Connection::open_with_flags(path, config)) {
                Ok(connection) => break connection,
                Err(error) => match lock_holder(&error.to_string()) {
                    Some(_) if asked.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(20)),
                    Some(holder) => return Err(MemoryError::CollectionBusy { name, holder }),
                    None => match explained(path, &error) {
                        MemoryError::Unwritable { .. } if !read_only && path.is_file() => read_only = true,
                        error => return Err(error),
                    },
                },
            }
        };
        let database = Self { connection, path: path.to_owned(), vault: vault.clone(), read_only, _turn: turn };
        if !read_only {
            database.explained(|connection| connection.execute_batch(SCHEMA))?;
        }
        let version = database.state()?.0;
        if version > VERSION {
            return Err(MemoryError::NewerSchema { path: name, found: version, known: VERSION });
        }
        if read_only {
            let reason = "it is of an older version, and cannot be written to be brought up to this one".to_owned();
            return if version < VERSION { Err(MemoryError::Unwritable { path: name, reason }) } else { Ok(database) };
        }
        if version < VERSION {
            database.explained(|connection| connection.execute_batch(SECOND))?;
        }
        lock::make_private(path)?;
        lock::make_private(&log_of(path))?;
        Ok(database)
    }

    pub fn put(&mut self, records: &[Record]) -> Result<Stored, MemoryError> {
        // Of two of one identifier the later counts.
        let latest: HashMap<&str, usize> =
            records.iter().enumerate().map(|(position, record)| (record.id.as_str(), position)).collect();
        let present = self.present(latest.keys().copied())?;
        let mut stored = Stored::default();
        let mut replaced: Vec<u64> = Vec::new();
        let mut rows = Vec::new();
        for (position, record) in records.iter().enumerate() {
            if latest.get(record.id.as_str()) != Some(&position) {
                stored.replaced += 1;
                continue;
            }
            match present.get(&record.id) {
                Some((_, known)) if known == record => {
                    stored.unchanged += 1;
                    continue;
                }
                Some((slot, _)) => {
                    stored.replaced += 1;
                    replaced.push(*slot);
                }
                None => stored.added += 1,
            }
            rows.push(record);
        }
        if rows.is_empty() {
            return Ok(stored);
        }
        let vault = self.vault.clone();
        self.in_transaction(|connection| {
            delete_slots(connection, &replaced)?;
            let first: u64 = connection.query_row("SELECT next_slot FROM state", [], |row| row.get(0))?;
            let mut appender = connection.appender("documents")?;
            for (slot, record) in (first..).zip(&rows) {
                let row = slot.to_string();
                let metadata = serde_json::Value::Object(record.metadata.clone()).to_string();
                let title = vault.seal_text(TITLE, &row, &record.title)?;
                let text = vault.seal_text(TEXT, &row, &record.text)?;
                let metadata = vault.seal_text(METADATA, &row, &metadata)?;
                let content = digest(&record.content());
                appender.append_row(params![slot, record.id, title, text, metadata, vault.disguise(&content)])?;
            }
            appender.flush()?;
            drop(appender);
            let update = "UPDATE state SET revision = revision + 1, next_slot = next_slot + ?";
            connection.execute(update, params![rows.len() as u64]).map(drop)
        })?;
        Ok(stored)
    }

    pub fn delete(&mut self, identifiers: &[String]) -> Result<usize, MemoryError> {
        let slots: Vec<u64> =
            self.present(identifiers.iter().map(String::as_str))?.into_values().map(|row| row.0).collect();
        if !slots.is_empty() {
            self.in_transaction(|connection| {
                delete_slots(connection, &slots)?;
                connection.execute("UPDATE state SET revision = revision + 1", []).map(drop)
            })?;
        }
        Ok(slots.len())
    }

    /// Those that are there, with their slots, by identifier.
    fn present<'a>(
        &self,
        identifiers: impl Iterator<Item = &'a str>,
    ) -> Result<HashMap<String, (u64, Record)>, MemoryError> {
        let wanted: HashSet<&str> = identifiers.collect();
        if self.count()? == 0 {
            return Ok(HashMap::new());
        }
        self.explained(|connection| {
            connection.execute_batch("CREATE OR REPLACE TEMP TABLE wanted (id VARCHAR)")?;
            let mut appender = connection.appender("wanted")?;
            wanted.iter().try_for_each(|id| appender.append_row(params![id]))?;
            appender.flush()?;
            drop(appender);
            let sql =
                "SELECT d.slot, d.id, d.title, d.text, d.metadata FROM documents d SEMI JOIN wanted w ON w.id = d.id";
            let read = |row: &Row<'_>| self.record(row).map(|(slot, record)| (record.id.clone(), (slot, record)));
            connection.prepare(sql)?.query_map([], read)?.collect()
        })
    }

    /// Keeps the vectors of so many windows, one after the other, by their contents' digests; an empty one says that the
    /// model gave nothing usable.
    pub fn add_vectors(&mut self, model: &str, vectors: &[(String, usize, Vec<f32>)]) -> Result<(), MemoryError> {
        if vectors.is_empty() {
            return Ok(());
        }
        let vault = self.vault.clone();
        self.in_transaction(|connection| {
            let mut appender = connection.appender("embeddings")?;
            for (content, windows, vector) in vectors {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                let bytes = if bytes.is_empty() { bytes } else { vault.seal(&bytes, content.as_bytes())? };
                appender.append_row(params![content, model, bytes, *windows as u32])?;
            }
            appender.flush()?;
            drop(appender);
            connection.execute("UPDATE state SET revision = revision + 1", []).map(drop)
        })
    }

    /// Vectors of texts that are no longer there.
    pub fn drop_unused_vectors(&mut self) -> Result<(), MemoryError> {
        self.in_transaction(|connection| {
            connection
                .execute("DELETE FROM embeddings WHERE content NOT IN (SELECT content FROM documents)", [])
                .map(drop)
        })
    }

    pub fn revision(&self) -> Result<u64, MemoryError> {
        Ok(self.state()?.1)
    }

    fn state(&self) -> Result<(u32, u64), MemoryError> {
        self.explained(|connection| {
            connection.query_row("SELECT version, revision FROM state", [], |row| Ok((row.get(0)?, row.get(1)?)))
        })
    }

    pub fn count(&self) -> Result<usize, MemoryError> {
        let count: i64 =
            self.explained(|connection| connection.query_row("SELECT count(*) FROM documents", [], |row| row.get(0)))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    pub fn bytes(&self) -> u64 {
        [self.path.clone(), log_of(&self.path)]
            .iter()
            .filter_map(|path| fs_err::metadata(path).ok())
            .map(|file| file.len())
            .sum()
    }

    /// A copy of the file, which nobody writes meanwhile. This ends the opening: the system would take DuckDB's lock
    /// away with the descriptor that the file is read by.
    pub fn copy_file(self, to: &Path) -> Result<u64, MemoryError> {
        if !self.read_only {
            self.checkpoint()?;
        }
        let unwritable = |error: std::io::Error| crate::backup::unwritable(to, &error);
        let mut file = fs_err::File::open(&self.path).map_err(unwritable)?;
        let copied = crate::backup::private(to).and_then(|mut copy| {
            let bytes = std::io::copy(&mut file, &mut copy)?;
            copy.sync_all().map(|()| bytes)
        });
        drop(self);
        drop(file);
        copied.map_err(unwritable)
    }

    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    fn in_transaction(&mut self, work: impl FnOnce(&Connection) -> duckdb::Result<()>) -> Result<(), MemoryError> {
        if self.read_only {
            let reason = "it can only be read".to_owned();
            return Err(MemoryError::Unwritable { path: self.path.display().to_string(), reason });
        }
        let outcome = self.connection.transaction().and_then(|transaction| {
            work(&transaction)?;
            transaction.commit()
        });
        match outcome {
            // The change is in the log; only the checkpoint after it failed.
            Err(error) if !error.to_string().contains("COMMIT succeeded and is durable") => Err(self.explain(&error)),
            _ => lock::make_private(&log_of(&self.path)),
        }
    }

    fn rows<T>(
        &self,
        sql: &str,
        values: &[&dyn duckdb::ToSql],
        read: impl FnMut(&Row<'_>) -> duckdb::Result<T>,
    ) -> Result<Vec<T>, MemoryError> {
        self.explained(|connection| connection.prepare(sql)?.query_map(values, read)?.collect())
    }

    /// Reads row by row until one says that it is enough.
    fn streamed(
        &self,
        sql: &str,
        values: &[&dyn duckdb::ToSql],
        mut read: impl FnMut(&Row<'_>) -> duckdb::Result<bool>,
    ) -> Result<(), MemoryError> {
        self.explained(|connection| {
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query(values)?;
            while let Some(row) = rows.next()? {
                if !read(row)? {
                    break;
                }
            }
            Ok(())
        })
    }

    fn explained<T>(&self, work: impl FnOnce(&Connection) -> duckdb::Result<T>) -> Result<T, MemoryError> {
        work(&self.connection).map_err(|error| self.explain(&error))
    }

    fn explain(&self, error: &duckdb::Error) -> MemoryError {
        explained(&self.path, error)
    }
}

/// Sorts what DuckDB said about a collection's database.
fn explained(path: &Path, error: &duckdb::Error) -> MemoryError {
    match MemoryError::from_database(&path.display().to_string(), error) {
        MemoryError::Unreadable { reason, .. } => damaged(path, reason),
        error => error,
    }
}

fn damaged(path: &Path, reason: String) -> MemoryError {
    let folder = path.parent().and_then(Path::file_name).unwrap_or(path.as_os_str());
    MemoryError::CollectionDamaged { name: folder.to_string_lossy().into_owned(), reason }
}

fn delete_slots(connection: &Connection, slots: &[u64]) -> duckdb::Result<()> {
    for block in slots.chunks(1000) {
        connection.execute(&format!("DELETE FROM documents {}", among(Some(block))), [])?;
    }
    Ok(())
}

fn among(slots: Option<&[u64]>) -> String {
    let Some(slots) = slots else { return String::new() };
    let list: Vec<String> = slots.iter().map(u64::to_string).collect();
    match list.is_empty() {
        true => "WHERE false".to_owned(),
        false => format!("WHERE slot IN ({})", list.join(",")),
    }
}
