//! The files of a lexical index as one file: written whole, checked whole, and mapped where it lies. What is indexed
//! later stays in memory until the next is written.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use tantivy::directory::error::{DeleteError, OpenReadError, OpenWriteError};
use tantivy::directory::{Directory, FileHandle, FileSlice, RamDirectory, WatchCallback, WatchHandle, WritePtr};

const MAGIC: &[u8; 8] = b"CODRLEX1";

/// What an archive begins with, after its magic and the length of this.
#[derive(Serialize, Deserialize)]
struct Contents {
    /// What the index holds, by whom it was written: compared, never interpreted.
    label: String,
    /// Names and lengths, in order.
    files: Vec<(PathBuf, usize)>,
}

/// An archive that nothing changes, under files in memory.
#[derive(Clone, Default)]
pub(crate) struct ArchiveDirectory {
    label: String,
    archived: Arc<RwLock<HashMap<PathBuf, FileSlice>>>,
    fresh: RamDirectory,
}

impl fmt::Debug for ArchiveDirectory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ArchiveDirectory({})", self.label)
    }
}

impl ArchiveDirectory {
    /// An archive as [`ArchiveDirectory::bytes`] wrote it, checked against its checksum.
    pub fn open(archive: &FileSlice) -> io::Result<Self> {
        let damaged = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason);
        let bytes = archive.read_bytes()?;
        let (content, sum) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("it is too short"))?;
        if crc32fast::hash(content) != u32::from_le_bytes(*sum) {
            return Err(damaged("its checksum does not match its content"));
        }
        let rest = content.strip_prefix(MAGIC).ok_or_else(|| damaged("it is of another version"))?;
        let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(|| damaged("it is too short"))?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| damaged("it is too short"))?;
        let contents = rest.get(..length).ok_or_else(|| damaged("it is too short"))?;
        let contents: Contents = serde_json::from_slice(contents)?;
        let directory = Self { label: contents.label, ..Self::default() };
        let mut start = MAGIC.len() + 8 + length;
        for (name, length) in contents.files {
            let end = start.checked_add(length).filter(|end| *end <= content.len());
            let end = end.ok_or_else(|| damaged("it is too short"))?;
            // What is replaced as a whole is read as a whole, and from memory.
            if name.extension().is_some_and(|extension| extension == "json") {
                directory.fresh.atomic_write(&name, &content[start..end])?;
            } else {
                directory.files().insert(name, archive.slice(start..end));
            }
            start = end;
        }
        Ok(directory)
    }

    pub fn label(&self) -> &str {
        &self.label
    }

    /// The archive of some of the files, all of which must be there.
    pub fn bytes(&self, label: &str, names: impl Iterator<Item = PathBuf>) -> io::Result<Vec<u8>> {
        let files = names
            .map(|name| {
                let read = match name.extension().is_some_and(|extension| extension == "json") {
                    true => self.atomic_read(&name),
                    false => self.open_read(&name).and_then(|file| {
                        file.read_bytes()
                            .map(|bytes| bytes.to_vec())
                            .map_err(|error| OpenReadError::wrap_io_error(error, name.clone()))
                    }),
                };
                read.map(|bytes| (name, bytes)).map_err(io::Error::other)
            })
            .collect::<io::Result<Vec<_>>>()?;
        let lengths = files.iter().map(|(name, bytes)| (name.clone(), bytes.len())).collect();
        let contents = serde_json::to_vec(&Contents { label: label.to_owned(), files: lengths })?;
        let mut archive = MAGIC.to_vec();
        archive.extend((contents.len() as u64).to_le_bytes());
        archive.extend(contents);
        files.into_iter().for_each(|(_, bytes)| archive.extend(bytes));
        archive.extend(crc32fast::hash(&archive).to_le_bytes());
        Ok(archive)
    }

    fn files(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<PathBuf, FileSlice>> {
        self.archived.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn archived(&self, path: &Path) -> Option<FileSlice> {
        self.archived.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }
}

impl Directory for ArchiveDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        match self.archived(path) {
            Some(file) => Ok(Arc::new(file)),
            None => self.fresh.get_file_handle(path),
        }
    }

    fn open_read(&self, path: &Path) -> Result<FileSlice, OpenReadError> {
        self.archived(path).map_or_else(|| self.fresh.open_read(path), Ok)
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        match self.files().remove(path) {
            Some(_) => Ok(()),
            None => self.fresh.delete(path),
        }
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.archived(path).is_some() || self.fresh.exists(path)?)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        match self.archived(path) {
            Some(_) => Err(OpenWriteError::FileAlreadyExists(path.to_owned())),
            None => self.fresh.open_write(path),
        }
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        self.fresh.atomic_read(path)
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        self.fresh.atomic_write(path, data)
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn watch(&self, callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        self.fresh.watch(callback)
    }
}
