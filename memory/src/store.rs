//! The databases: one file a user, one in memory a notebook's run.

use std::cell::RefCell;
use std::fs::Permissions;
use std::io::Seek;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use duckdb::{AccessMode, Config, Connection, params};
use fs_err::File;

use crate::error::MemoryError;
use crate::event::Entry;
use crate::journal::beside;
use crate::records::Fact;
use crate::store::apply::{Sequences, Writer};
use crate::store::readers::Readers;
use crate::store::schema::MIGRATIONS;
use crate::vault::{MasterKey, Vault, VaultFile, unlock};

mod apply;
mod convert;
mod documents;
mod fact_changes;
mod facts;
mod indexed;
pub(crate) mod lock;
mod read;
mod readers;
pub(crate) mod schema;
mod vectors;

pub(crate) use indexed::Wanted;
pub(crate) use read::{Spoken, StoredChunk};

/// The first schema that can be encrypted.
const FIRST_WITH_VAULT: u32 = 3;

/// Whether a database was just made.
pub(crate) struct IsNew(pub bool);

const LOCK_SETTINGS: &str = "SET lock_configuration = true";

/// A database with the schema of [`schema::MIGRATIONS`].
pub(crate) struct Store {
    /// Goes first: it waits until no one else reads the file.
    readers: Readers,
    connection: Connection,
    /// DuckDB gave the database up (a checkpoint found no space, for one); it has to be opened
    /// again before the next use.
    given_up: Option<String>,
    file: Option<PathBuf>,
    /// What errors call it.
    name: String,
    vault: Vault,
    sequences: Sequences,
    /// Those that hold, once they were read.
    facts: RefCell<Option<Arc<Vec<Fact>>>>,
    facts_revision: u64,
    /// To copy the file while it is in use. Open as long as the connection: the system would take
    /// DuckDB's lock away when any other descriptor of the file is closed.
    reader: Option<File>,
}

/// Why a database file could not be opened.
pub(crate) enum OpenFailure {
    /// A process that is not Codriver holds the file.
    Busy(String),
    Failed(MemoryError),
}

impl From<MemoryError> for OpenFailure {
    fn from(error: MemoryError) -> Self {
        Self::Failed(error)
    }
}

impl Store {
    /// Opens or creates the file and brings its schema up to date. `unlock` is given what the
    /// database says of its encryption, `None` where it says nothing, before anything is changed.
    pub fn open(
        file: &Path,
        unlock: impl FnOnce(Option<VaultFile>, IsNew) -> Result<(Vault, Option<VaultFile>), MemoryError>,
    ) -> Result<Self, OpenFailure> {
        let name = file.display().to_string();
        let connection =
            settings().and_then(|config| Connection::open_with_flags(file, config)).map_err(
                |error| match lock_holder(&error.to_string()) {
                    Some(holder) => OpenFailure::Busy(holder),
                    None => OpenFailure::Failed(MemoryError::from_database(&name, &error)),
                },
            )?;
        let mut store = Self::new(connection, Some(file.to_owned()), name);
        store.reader = File::open(file).ok();
        store.require_whole_file(file)?;
        let version = store.version()?;
        let found = if version >= FIRST_WITH_VAULT { store.vault_entry()? } else { None };
        let (vault, new_entry) = unlock(found, IsNew(version == 0))?;
        store.prepare()?;
        if let Some(entry) = new_entry {
            store.set_vault_entry(Some(&entry))?;
        }
        store.vault = vault;
        store.restrict_permissions()?;
        Ok(store)
    }

    pub fn in_memory() -> Result<Self, MemoryError> {
        let name = "in memory".to_owned();
        let connection = settings()
            .and_then(Connection::open_in_memory_with_flags)
            .map_err(|error| MemoryError::from_database(&name, &error))?;
        let mut store = Self::new(connection, None, name);
        store.prepare()?;
        Ok(store)
    }

    fn new(connection: Connection, file: Option<PathBuf>, name: String) -> Self {
        let (readers, facts, sequences) = (Readers::default(), RefCell::default(), Sequences::new());
        let mut store = Self {
            readers,
            connection,
            given_up: None,
            file,
            name,
            vault: Vault::off(),
            sequences,
            facts,
            facts_revision: 0,
            reader: None,
        };
        store.facts_changed();
        store
    }

    /// A copy of a database, to be read only.
    pub fn read_copy(file: &Path) -> Result<Self, MemoryError> {
        let name = file.display().to_string();
        let open = || Connection::open_with_flags(file, settings()?.access_mode(AccessMode::ReadOnly)?);
        let connection = open().map_err(|error| MemoryError::from_database(&name, &error))?;
        // No file: a damaged copy says nothing of the database.
        let store = Self::new(connection, None, name);
        store.require_whole_file(file)?;
        let (found, known) = (store.version()?, MIGRATIONS.last().map_or(0, |migration| migration.version));
        match found {
            0 => Err(MemoryError::NoBackup { path: store.name.clone(), reason: "it is empty".to_owned() }),
            found if found > known => Err(MemoryError::NewerSchema { path: store.name.clone(), found, known }),
            _ => Ok(store),
        }
    }

    /// Whether a copy can be opened with the key that is there for the database at `path`.
    pub fn require_key(&self, path: &Path, key: Option<&MasterKey>) -> Result<(), MemoryError> {
        let entry = if self.version()? >= FIRST_WITH_VAULT { self.vault_entry()? } else { None };
        entry.map_or(Ok(()), |entry| unlock(path, &entry, key).map(drop))
    }

    /// A copy with what its contents are sealed with.
    pub fn opened_with(mut self, path: &Path, key: Option<&MasterKey>) -> Result<Self, MemoryError> {
        let entry = if self.version()? >= FIRST_WITH_VAULT { self.vault_entry()? } else { None };
        if let Some(entry) = entry {
            self.vault = unlock(path, &entry, key)?;
        }
        Ok(self)
    }

    /// Everything that is in the log, into the file.
    pub fn checkpoint(&mut self) -> Result<(), MemoryError> {
        self.recover()?;
        let Err(error) = self.connection.execute_batch("FORCE CHECKPOINT") else { return Ok(()) };
        let failure = self.explain(&error);
        self.give_up_if_fatal(&error.to_string())?;
        Err(failure)
    }

    /// Writes what was committed to a new file, and gives its size. Nothing is written to the database
    /// meanwhile: the store is borrowed.
    pub fn copy_file(&mut self, to: &Path) -> Result<u64, MemoryError> {
        self.checkpoint()?;
        let Some(reader) = &mut self.reader else {
            return Err(MemoryError::NoBackup { path: self.name.clone(), reason: "it is not in a file".to_owned() });
        };
        let mut copy = || {
            let mut file = crate::backup::private(to)?;
            reader.rewind()?;
            let bytes = std::io::copy(reader, &mut file)?;
            file.sync_all().map(|()| bytes)
        };
        copy().map_err(|error: std::io::Error| crate::backup::unwritable(to, &error))
    }

    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// What the database says of its encryption.
    fn vault_entry(&self) -> Result<Option<VaultFile>, MemoryError> {
        let entries = self.rows("SELECT entry FROM vault", &[], |row| row.get::<_, String>(0))?;
        entries.first().map(|entry| VaultFile::parse(entry, &self.name)).transpose()
    }

    pub fn set_vault_entry(&mut self, entry: Option<&VaultFile>) -> Result<(), MemoryError> {
        self.in_transaction(|connection, _, _| {
            connection.execute("DELETE FROM vault", [])?;
            entry.map_or(Ok(()), |entry| {
                connection.execute("INSERT INTO vault VALUES (?)", params![entry.to_text()]).map(drop)
            })
        })
    }

    /// All of `entries`, which were made just now, or none; durable when it returns.
    pub fn commit(&mut self, entries: &[Entry]) -> Result<(), MemoryError> {
        let (new_facts, known) = (self.only_new_facts(entries), self.facts.borrow().clone());
        self.forget_facts_before(entries);
        self.in_transaction(|connection, vault, sequences| {
            Writer::new(connection, vault, sequences, true).apply_all(entries)
        })?;
        if let Some(new) = new_facts.filter(|new| !new.is_empty()) {
            self.facts_came(known, new);
        }
        self.restrict_permissions()
    }

    /// Applies a journal's entries and notes how far it was read, in one transaction.
    pub fn merge_journal(&mut self, journal: &str, merged_bytes: u64, entries: &[Entry]) -> Result<(), MemoryError> {
        self.forget_facts_before(entries);
        self.in_transaction(|connection, vault, sequences| {
            Writer::new(connection, vault, sequences, false).apply_all(entries)?;
            connection.execute("DELETE FROM journals WHERE name = ?", params![journal])?;
            let merged_bytes = i64::try_from(merged_bytes).unwrap_or(i64::MAX);
            connection.execute("INSERT INTO journals VALUES (?, ?)", params![journal, merged_bytes]).map(drop)
        })
    }

    fn forget_facts_before(&mut self, entries: &[Entry]) {
        if entries.iter().any(|entry| entry.event.changes_facts()) {
            self.facts_changed();
        }
    }

    /// Tools that were running when the last holder of the file ended will not report back.
    pub fn close_lost_tool_runs(&mut self) -> Result<(), MemoryError> {
        let running =
            self.rows("SELECT id FROM tool_runs WHERE status = 'running'", &[], |row| row.get::<_, String>(0))?;
        if running.is_empty() {
            return Ok(());
        }
        self.in_transaction(|connection, vault, _| {
            let mut update = connection.prepare("UPDATE tool_runs SET status = 'lost', result = ? WHERE id = ?")?;
            running.iter().try_for_each(|id| {
                let result = vault.seal_text("tool_runs.result", id, "the kernel ended before the tool did")?;
                update.execute(params![result, id]).map(drop)
            })
        })
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        let length = |path: &Path| fs_err::metadata(path).map_or(0, |metadata| metadata.len());
        self.file.as_deref().map_or(0, |file| length(file) + length(&log_of(file)))
    }

    /// DuckDB reads blocks when they are needed, so a file that was cut short would open.
    /// Free blocks at its end need not be there.
    fn require_whole_file(&self, file: &Path) -> Result<(), MemoryError> {
        let sql = "SELECT (used_blocks * block_size)::BIGINT FROM pragma_database_size()";
        let expected: i64 =
            self.connection.query_row(sql, [], |row| row.get(0)).map_err(|error| self.explain(&error))?;
        let found = fs_err::metadata(file).map_or(0, |metadata| metadata.len());
        if found >= u64::try_from(expected).unwrap_or(0) {
            return Ok(());
        }
        let reason = format!("it was cut short (it has {found} bytes of at least {expected})");
        Err(MemoryError::Unreadable { path: self.name.clone(), reason })
    }

    fn prepare(&mut self) -> Result<(), MemoryError> {
        schema::migrate(&mut self.connection, &self.name, MIGRATIONS)?;
        self.connection.execute_batch(LOCK_SETTINGS).map_err(|error| self.explain(&error))
    }

    fn in_transaction(
        &mut self,
        work: impl FnOnce(&Connection, &Vault, &mut Sequences) -> duckdb::Result<()>,
    ) -> Result<(), MemoryError> {
        self.recover()?;
        let (vault, sequences) = (&self.vault, &mut self.sequences);
        let outcome = self.connection.transaction().and_then(|transaction| {
            work(&transaction, vault, sequences)?;
            transaction.commit()
        });
        let Err(error) = outcome else { return Ok(()) };
        // They may count what was rolled back.
        self.sequences.clear();
        let reason = error.to_string();
        let failure = self.explain(&error);
        self.give_up_if_fatal(&reason)?;
        // The change is in the log; only the checkpoint after it failed.
        if reason.contains("COMMIT succeeded and is durable") { Ok(()) } else { Err(failure) }
    }

    fn give_up_if_fatal(&mut self, reason: &str) -> Result<(), MemoryError> {
        if reason.contains("FATAL Error") || reason.contains("database has been invalidated") {
            self.given_up = Some(reason.to_owned());
            self.recover()?;
        }
        Ok(())
    }

    /// Opens a database again that DuckDB gave up. What was committed is in its log.
    fn recover(&mut self) -> Result<(), MemoryError> {
        let Some(reason) = &self.given_up else { return Ok(()) };
        tracing::warn!(database = %self.name, reason, "opening memory again");
        let Some(file) = &self.file else {
            return Err(MemoryError::Database { path: self.name.clone(), reason: reason.clone() });
        };
        self.readers.end();
        let mut reopen = || {
            // Two openings of one file in a process would damage it: first the old one goes.
            self.connection = Connection::open_in_memory_with_flags(settings()?)?;
            // A checkpoint that found too little memory would find it again.
            let share =
                if reason.contains("failed to pin") || reason.contains("Out of Memory") { 1 } else { USUAL_SHARE };
            self.connection = Connection::open_with_flags(file, with_memory(settings()?, share)?)?;
            self.connection.execute_batch(LOCK_SETTINGS)
        };
        let reopened: duckdb::Result<()> = reopen();
        reopened.map_err(|error| self.explain(&error))?;
        self.given_up = None;
        Ok(())
    }

    /// In words, and where it speaks of damage, noted for the next opening: DuckDB reads blocks when
    /// they are needed, so that damage may be seen late.
    fn explain(&self, error: &duckdb::Error) -> MemoryError {
        let error = MemoryError::from_database(&self.name, error);
        if let (MemoryError::Unreadable { reason, .. }, Some(file)) = (&error, &self.file) {
            let noted = fs_err::write(suspect(file), reason)
                .and_then(|()| fs_err::set_permissions(suspect(file), Permissions::from_mode(0o600)));
            noted.unwrap_or_else(|error| tracing::debug!(%error));
        }
        error
    }

    /// DuckDB makes its files by the umask, and the log anew after each checkpoint.
    fn restrict_permissions(&self) -> Result<(), MemoryError> {
        let Some(file) = &self.file else { return Ok(()) };
        lock::make_private(file)?;
        lock::make_private(&log_of(file))
    }
}

/// For `IN`: a list cannot be bound. `NULL` matches nothing, where there is nothing to match.
fn quoted(texts: impl Iterator<Item: AsRef<str>>) -> String {
    let texts: Vec<String> = texts.map(|text| format!("'{}'", text.as_ref().replace('\'', "''"))).collect();
    if texts.is_empty() { "NULL".to_owned() } else { texts.join(",") }
}

/// Lies beside a database that was seen to be damaged.
pub(crate) fn suspect(file: &Path) -> PathBuf {
    beside(file, "suspect")
}

/// The write-ahead log beside a database file.
pub(crate) fn log_of(file: &Path) -> PathBuf {
    beside(file, "wal")
}

/// No extension is fetched, no other file is read, and little is spent on idle threads.
pub(crate) fn settings() -> duckdb::Result<Config> {
    let config = Config::default()
        .enable_external_access(false)?
        .enable_autoload_extension(false)?
        .with("autoinstall_known_extensions", "false")?
        .with("allow_community_extensions", "false")?
        .threads(2)?;
    with_memory(config, USUAL_SHARE)
}

/// One part in so many of the memory there is may be used.
const USUAL_SHARE: u64 = 4;

/// A checkpoint reads 2,048 rows at once, whatever is in them, and nothing is written any more where it cannot: prompts of
/// a megabyte need two gigabytes.
fn with_memory(config: Config, share: u64) -> duckdb::Result<Config> {
    const LEAST: u64 = 1_000_000_000;
    let machine = fs_err::read_to_string("/proc/meminfo").ok();
    let kilobytes = machine.as_deref().and_then(|text| {
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok())
    });
    let container = fs_err::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    let all = [kilobytes.map(|kilobytes: u64| kilobytes * 1024), container].into_iter().flatten().min();
    let bytes = all.map_or(LEAST, |bytes| (bytes / share).max(LEAST));
    config.with("memory_limit", format!("{}MB", bytes / 1_000_000))
}

/// What DuckDB says when another process has the file: `... Conflicting lock is held in
/// /usr/bin/duckdb (PID 42). See also ...`.
pub(crate) fn lock_holder(message: &str) -> Option<String> {
    if !message.contains("Could not set lock on file") {
        return None;
    }
    let holder = message.split("Conflicting lock is held in ").nth(1).and_then(|rest| rest.split(". ").next());
    Some(holder.unwrap_or("another process").trim().to_owned())
}
