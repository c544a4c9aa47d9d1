//! The database as it is now, read from outside, also while another process writes it.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err::File;

use crate::backup::{private, remove, unwritable};
use crate::error::MemoryError;
use crate::journal::{self, beside};
use crate::state::open_store;
use crate::store::lock::{self, Attempt, FileLock, make_folder};
use crate::store::{Store, log_of};
use crate::vault::MasterKey;

/// Where DuckDB says which blocks count: a header for the file and two for its states.
const HEADERS: usize = 3 * 4096;

/// So long a file is copied again that is written faster than it can be copied.
const PATIENCE: Duration = Duration::from_secs(120);

/// A copy of a database with everything that was acknowledged before it was begun. Its folder goes when it is dropped.
///
/// Nobody is asked to stand still for it. DuckDB never writes over blocks that the last header refers to: it writes new
/// blocks, then a header, then it empties the log. So a file whose headers are the same before and after it was read is
/// whole in what they refer to, and the log that was read last is the one that goes with it, if it only grew. A record
/// at its end that is half written was acknowledged to nobody; DuckDB leaves it out. Journals are read first: what
/// is merged meanwhile is in the file that is read later, and not taken in twice.
pub(crate) struct Copy {
    folder: PathBuf,
    pub database: PathBuf,
}

impl Copy {
    /// `folder` must be on the same disk as what the copy is for; one that a crash left there is replaced.
    pub fn take(database: &Path, folder: &Path, key: Option<&MasterKey>) -> Result<Self, MemoryError> {
        let copy = Self::of_files(database, folder)?;
        let mut store =
            open_store(&copy.database, key).map_err(|failure| named(failure.into_error(&copy.database), database))?;
        journal::merge_all(&copy.database, &mut store)?;
        store.checkpoint()?;
        Ok(copy)
    }

    fn of_files(database: &Path, folder: &Path) -> Result<Self, MemoryError> {
        if folder.exists() {
            fs_err::remove_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
        }
        make_folder(folder)?;
        let name = database.file_name().unwrap_or_default();
        let copy = Self { folder: folder.to_owned(), database: folder.join(name) };
        for journal in journal::find(database)? {
            let to = folder.join(journal.file_name().unwrap_or_default());
            match fs_err::read(&journal) {
                Ok(bytes) => write(&to, &mut bytes.as_slice())?,
                // It was merged.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(&journal, &error)),
            }
        }
        let began = Instant::now();
        while !copy.attempt(database)? {
            if began.elapsed() > PATIENCE {
                let holder = "it is written faster than it can be copied".to_owned();
                return Err(MemoryError::Busy { path: database.display().to_string(), holder });
            }
        }
        Ok(copy)
    }

    /// False where the database went on to its next state meanwhile.
    fn attempt(&self, database: &Path) -> Result<bool, MemoryError> {
        let headers = || {
            let mut bytes = Vec::with_capacity(HEADERS);
            let read = File::open(database).and_then(|file| file.take(HEADERS as u64).read_to_end(&mut bytes));
            read.map(|_| bytes).map_err(|error| unreadable(database, &error))
        };
        let log = || match fs_err::read(log_of(database)) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(unreadable(&log_of(database), &error)),
        };
        let before = headers()?;
        let mut file = File::open(database).map_err(|error| unreadable(database, &error))?;
        write(&self.database, &mut file)?;
        let changes = log()?;
        let to = log_of(&self.database);
        if changes.is_empty() {
            remove(&to)?;
        } else {
            write(&to, &mut changes.as_slice())?;
        }
        Ok(log()?.starts_with(&changes) && headers()? == before)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        fs_err::remove_dir_all(&self.folder).unwrap_or_else(|error| tracing::warn!(%error, "a copy stays"));
    }
}

/// A database that can be read as it is now: the file itself, kept from others, or a copy of it.
pub(crate) struct Snapshot {
    /// What is to be read.
    path: PathBuf,
    database: PathBuf,
    key: Option<MasterKey>,
    /// Who works with the database, so that this is a copy.
    pub used_by: Option<String>,
    _copy: Option<Copy>,
    _lock: Option<FileLock>,
}

impl Snapshot {
    /// The database is where [`lock::prepare_folder`] says. Nothing of it is changed.
    pub fn take(database: &Path, key: Option<&MasterKey>) -> Result<Self, MemoryError> {
        let (lock, used_by) = match lock::acquire(database)? {
            Attempt::Acquired(lock) => (Some(lock), None),
            Attempt::HeldBy(holder) => (None, Some(holder)),
        };
        require_other_process(database, used_by.as_deref())?;
        let is_alone = used_by.is_none() && !log_of(database).exists() && journal::find(database)?.is_empty();
        let copy = match is_alone {
            true => None,
            false => Some(Copy::take(database, &beside(database, "reading"), key)?),
        };
        let path = copy.as_ref().map_or(database, |copy| &copy.database).to_owned();
        Ok(Self { path, database: database.to_owned(), key: key.cloned(), used_by, _copy: copy, _lock: lock })
    }

    /// To be read only; the store before must be gone.
    pub fn open(&self) -> Result<Store, MemoryError> {
        Store::read_copy(&self.path)?
            .opened_with(&self.path, self.key.as_ref())
            .map_err(|error| named(error, &self.database))
    }
}

/// Where this very process holds the file, it can't be read past its store: the system takes DuckDB's lock away when
/// any descriptor of the file is closed.
pub(crate) fn require_other_process(database: &Path, holder: Option<&str>) -> Result<(), MemoryError> {
    let this = format!("(process {},", std::process::id());
    match holder.filter(|holder| holder.contains(&this)) {
        Some(holder) => Err(MemoryError::Busy { path: database.display().to_string(), holder: holder.to_owned() }),
        None => Ok(()),
    }
}

/// What is said of a copy is meant of the database.
fn named(error: MemoryError, database: &Path) -> MemoryError {
    let path = database.display().to_string();
    match error {
        MemoryError::KeyMissing { .. } => MemoryError::KeyMissing { path },
        MemoryError::WrongKey { .. } => MemoryError::WrongKey { path },
        MemoryError::Unreadable { reason, .. } => MemoryError::Unreadable { path, reason },
        MemoryError::UnreadableLog { reason, .. } => MemoryError::UnreadableLog { path, reason },
        MemoryError::NewerSchema { found, known, .. } => MemoryError::NewerSchema { path, found, known },
        other => other,
    }
}

fn write(to: &Path, from: &mut impl Read) -> Result<(), MemoryError> {
    let written = private(to).and_then(|mut file| std::io::copy(from, &mut file));
    written.map(drop).map_err(|error| unwritable(to, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> MemoryError {
    MemoryError::Database { path: path.display().to_string(), reason: error.to_string() }
}
