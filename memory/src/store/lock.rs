//! Who may write, and who may read: the lock beside the database, folders and permissions.

use std::fs::TryLockError;
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt;
use fs_err::{File, OpenOptions};

use crate::error::MemoryError;

/// The right to the database file, for as long as this value lives and the process does.
///
/// DuckDB has a lock of its own, but that one belongs to the process: a second opening in the
/// same process would pass it and damage the file. This one belongs to the opening.
pub(crate) struct FileLock {
    _file: File,
}

pub(crate) enum Attempt {
    Acquired(FileLock),
    HeldBy(String),
}

/// Takes the lock of `database`, or says who has it.
pub(crate) fn acquire(database: &Path) -> Result<Attempt, MemoryError> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let attempt = || {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(PathBuf::from(&path))?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                file.rewind()?;
                file.write_all(description().as_bytes())?;
                Ok(Attempt::Acquired(FileLock { _file: file }))
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder)?;
                Ok(Attempt::HeldBy(if holder.is_empty() { "another process".to_owned() } else { holder }))
            }
            // A file system without such locks: DuckDB's own still keeps processes apart.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                tracing::warn!(%error, "no file locks here");
                Ok(Attempt::Acquired(FileLock { _file: file }))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    };
    attempt().map_err(|error| unwritable(database, &error))
}

/// Makes the folder of `database` (private, if it is new) and gives the one true path of the
/// file, so that two names of it meet at one lock.
pub(crate) fn prepare_folder(database: &Path) -> Result<PathBuf, MemoryError> {
    let attempt = || {
        if let Ok(path) = fs_err::canonicalize(database) {
            return Ok(path);
        }
        let folder = match database.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        private_folder(folder)?;
        let name = database.file_name().ok_or_else(|| std::io::Error::other("it is not the name of a file"))?;
        Ok(fs_err::canonicalize(folder)?.join(name))
    };
    attempt().map_err(|error: std::io::Error| unwritable(database, &error))
}

/// Makes a folder that only its owner can look into; one that is there stays as it is.
pub(crate) fn make_folder(folder: &Path) -> Result<(), MemoryError> {
    private_folder(folder).map_err(|error| unwritable(folder, &error))
}

fn private_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Takes a file from everybody but its owner; one that is not there is fine.
pub(crate) fn make_private(path: &Path) -> Result<(), MemoryError> {
    let attempt = || match fs_err::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 == 0 => Ok(()),
        Ok(_) => fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o600)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    match attempt() {
        // A checkpoint may remove the log between the look and the change.
        Err(error) if error.kind() != ErrorKind::NotFound => Err(unwritable(path, &error)),
        _ => Ok(()),
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> MemoryError {
    MemoryError::Unwritable { path: path.display().to_string(), reason: error.to_string() }
}

fn description() -> String {
    let program = std::env::current_exe().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let since = chrono::Local::now().format("%Y-%m-%d %H:%M:%S");
    format!("{} (process {}, since {since})", program.as_deref().unwrap_or("a program"), std::process::id())
}
