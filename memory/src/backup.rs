//! Copies of the database: made while it is in use, kept in rotation, put back when it is damaged.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Local};
use fs_err::File;

use crate::error::MemoryError;
use crate::journal::beside;
use crate::memory::Memory;
use crate::records::Mode;
use crate::snapshot::{Copy, require_other_process};
use crate::state::{State, open_store};
use crate::store::lock::{self, Attempt, make_folder};
use crate::store::{Store, log_of};
use crate::vault::MasterKey;

/// How old the newest automatic backup may become.
const INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// How many automatic backups are kept.
const KEPT: usize = 4;

impl Memory {
    /// Writes a copy of the whole database to `to`, while it is in use. The copy was read to the end
    /// when this returns; as much is encrypted in it as in the database. Gives its size in bytes.
    pub fn backup(&self, to: &Path) -> Result<u64, MemoryError> {
        let mut state = self.state();
        state.refresh();
        state.backup(to)
    }

    /// Puts a backup in the place of the database, which is set aside; gives where it lies. The
    /// process that holds the database can do this, others are asked to end first.
    pub fn restore(&self, from: &Path) -> Result<PathBuf, MemoryError> {
        let mut state = self.state();
        state.refresh();
        state.restore(from)
    }

    /// Reads everything there is, so that damage is noticed.
    pub fn verify(&self) -> Result<(), MemoryError> {
        self.state().store.read_everything()
    }

    /// Backs up beside the database if the newest of those backups is a day old; the oldest go.
    /// Gives where the backup is, if there is a new one.
    pub fn back_up_if_due(&self) -> Result<Option<PathBuf>, MemoryError> {
        let mut state = self.state();
        let Some(database) = state.database.clone().filter(|_| state.mode == Mode::Durable) else { return Ok(None) };
        if state.store.count("turns")? + state.store.count("facts")? + state.store.count("chunks")? == 0 {
            return Ok(None);
        }
        let backups = automatic(&database);
        let age = |path: &PathBuf| modified(path).and_then(|time| SystemTime::now().duration_since(time).ok());
        if backups.last().and_then(age).is_some_and(|age| age < INTERVAL) {
            return Ok(None);
        }
        make_folder(&folder(&database))?;
        let path = folder(&database).join(format!("memory-{}.duckdb", stamp()));
        state.backup(&path)?;
        for old in backups.iter().rev().skip(KEPT - 1) {
            fs_err::remove_file(old).unwrap_or_else(|error| tracing::warn!(%error, "an old backup stays"));
        }
        Ok(Some(path))
    }

    /// The automatic backups, the oldest first.
    pub fn backups(&self) -> Vec<PathBuf> {
        self.state().database.as_deref().map(automatic).unwrap_or_default()
    }

    /// What a person should be told about how memory was opened; told once.
    pub fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut self.state().notices)
    }

    /// Something a person should be told.
    pub fn notice(&self, notice: String) {
        self.state().notices.push(notice);
    }
}

impl State {
    fn backup(&mut self, to: &Path) -> Result<u64, MemoryError> {
        if let Some(folder) = to.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
            return Err(MemoryError::NoFolder { path: folder.display().to_string() });
        }
        if let (Mode::Shared { .. }, Some(database)) = (&self.mode, &self.database) {
            return backup_beside(database, to, self.key.as_ref());
        }
        self.require_the_file()?;
        let new = beside(to, "new");
        let copied = self.store.copy_file(&new).and_then(|bytes| {
            Store::read_copy(&new)?.read_everything()?;
            replace(&new, to).map(|()| bytes)
        });
        if copied.is_err() {
            fs_err::remove_file(&new).unwrap_or_else(|error| tracing::debug!(%error));
        }
        copied
    }

    fn restore(&mut self, from: &Path) -> Result<PathBuf, MemoryError> {
        let database = self.require_the_file()?;
        let new = take_in(&database, from, self.key.as_ref())?;
        // Everything of the present one into its file.
        self.store.checkpoint()?;
        let aside = beside(&database, &format!("before-restore-{}", stamp()));
        self.store = Store::in_memory()?;
        set_aside(&database, &aside)?;
        replace(&new, &database)?;
        let opened = open_store(&database, self.key.as_ref()).map_err(|failure| failure.into_error(&database));
        let store = match opened {
            Ok(store) => store,
            Err(error) => {
                set_aside(&aside, &database)?;
                self.adopt(open_store(&database, self.key.as_ref()).map_err(|failure| failure.into_error(&database))?)?;
                return Err(error);
            }
        };
        self.adopt(store)?;
        Ok(aside)
    }

    /// The database's path, if this process holds it.
    pub(crate) fn require_the_file(&self) -> Result<PathBuf, MemoryError> {
        match (&self.mode, &self.database) {
            (Mode::Durable, Some(database)) => Ok(database.clone()),
            (Mode::Shared { holder }, Some(database)) => {
                Err(MemoryError::Busy { path: database.display().to_string(), holder: holder.clone() })
            }
            _ => Err(MemoryError::NoBackup {
                path: "this memory".to_owned(),
                reason: "it lasts for this session only".to_owned(),
            }),
        }
    }
}

/// While another process holds the database.
fn backup_beside(database: &Path, to: &Path, key: Option<&MasterKey>) -> Result<u64, MemoryError> {
    let holder = match lock::acquire(database)? {
        // Nobody does any more, and nobody is let in meanwhile.
        Attempt::Acquired(_lock) => return copy_beside(database, to, key),
        Attempt::HeldBy(holder) => holder,
    };
    require_other_process(database, Some(&holder))?;
    copy_beside(database, to, key)
}

fn copy_beside(database: &Path, to: &Path, key: Option<&MasterKey>) -> Result<u64, MemoryError> {
    let copy = Copy::take(database, &beside(to, "new"), key)?;
    Store::read_copy(&copy.database)?.read_everything()?;
    let synced = File::open(&copy.database).and_then(|file| file.sync_all().and(file.metadata()));
    let bytes = synced.map_err(|error| unwritable(to, &error))?.len();
    replace(&copy.database, to).map(|()| bytes)
}

/// Puts the newest automatic backup that is whole in the place of a damaged database, which is set
/// aside. Gives what to tell people; `None` where there is no backup: then nothing is changed.
pub(crate) fn replace_damaged(
    database: &Path,
    key: Option<&MasterKey>,
    reason: &str,
) -> Result<Option<String>, MemoryError> {
    for backup in automatic(database).into_iter().rev() {
        let Ok(new) =
            take_in(database, &backup, key).inspect_err(|error| tracing::warn!(%error, "a backup is of no use"))
        else {
            continue;
        };
        let aside = beside(database, &format!("damaged-{}", stamp()));
        set_aside(database, &aside)?;
        replace(&new, database)?;
        let made: DateTime<Local> = modified(&backup).unwrap_or(SystemTime::UNIX_EPOCH).into();
        return Ok(Some(format!(
            "memory was damaged ({reason}). It was restored from the backup of {}; what was remembered since is only in the damaged file, \
             which was set aside as {}",
            made.format("%Y-%m-%d %H:%M"),
            aside.display()
        )));
    }
    Ok(None)
}

/// A copy of a backup beside the database, which was read to the end.
fn take_in(database: &Path, from: &Path, key: Option<&MasterKey>) -> Result<PathBuf, MemoryError> {
    let new = beside(database, "restore.new");
    let failure = |reason: String| MemoryError::NoBackup { path: from.display().to_string(), reason };
    let copy = || {
        let mut file = private(&new)?;
        std::io::copy(&mut File::open(from)?, &mut file)?;
        file.sync_all()
    };
    copy().map_err(|error: std::io::Error| failure(error.to_string()))?;
    let checked = check(&new, database, key);
    match checked {
        Ok(()) => Ok(new),
        Err(error) => {
            fs_err::remove_file(&new).unwrap_or_else(|error| tracing::debug!(%error));
            match error {
                error @ (MemoryError::KeyMissing { .. }
                | MemoryError::WrongKey { .. }
                | MemoryError::NewerSchema { .. }) => Err(error),
                error => Err(failure(error.reason())),
            }
        }
    }
}

/// Reads a backup of `database` to the end, and sees whether its key is there.
pub(crate) fn check(backup: &Path, database: &Path, key: Option<&MasterKey>) -> Result<(), MemoryError> {
    let store = Store::read_copy(backup)?;
    store.read_everything()?;
    store.require_key(database, key)
}

/// A database with its log, under another name.
fn set_aside(database: &Path, aside: &Path) -> Result<(), MemoryError> {
    let attempt = || {
        for (from, to) in [(database.to_owned(), aside.to_owned()), (log_of(database), log_of(aside))] {
            if from.exists() {
                fs_err::rename(from, to)?;
            }
        }
        Ok(())
    };
    attempt().map_err(|error: std::io::Error| unwritable(database, &error))
}

/// `new` in the place of `path`, on disk when it returns.
pub(crate) fn replace(new: &Path, path: &Path) -> Result<(), MemoryError> {
    let attempt = || {
        fs_err::rename(new, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    };
    attempt().map_err(|error| unwritable(path, &error))
}

/// A new file that nobody else can read.
pub(crate) fn private(path: &Path) -> std::io::Result<File> {
    use fs_err::os::unix::fs::OpenOptionsExt;
    fs_err::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Where automatic backups lie.
pub(crate) fn folder(database: &Path) -> PathBuf {
    beside(database, "backups")
}

/// The oldest first.
pub(crate) fn automatic(database: &Path) -> Vec<PathBuf> {
    let files =
        fs_err::read_dir(folder(database)).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut backups: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "duckdb")).collect();
    backups.sort();
    backups
}

/// One that is not there is fine.
pub(crate) fn remove(path: &Path) -> Result<(), MemoryError> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unwritable(path, &error)),
        _ => Ok(()),
    }
}

pub(crate) fn unwritable(path: &Path, error: &std::io::Error) -> MemoryError {
    MemoryError::Unwritable { path: path.display().to_string(), reason: error.to_string() }
}

pub(crate) fn modified(path: &PathBuf) -> Option<SystemTime> {
    fs_err::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

pub(crate) fn stamp() -> String {
    Local::now().format("%Y%m%d-%H%M%S%.6f").to_string()
}
