//! Where a process writes while another one holds the database: a file of its own, one JSON
//! line a change, synced before it is acknowledged, merged by the holder or the next one.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fs_err::os::unix::fs::OpenOptionsExt;
use fs_err::{File, OpenOptions};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::MemoryError;
use crate::event::{Entry, Event};
use crate::store::Store;
use crate::vault::Vault;

/// Of the lines. A journal with a newer one is left for a newer Codriver.
const FORMAT: u32 = 3;

/// This process' journal. Its lock tells a merger that more may come.
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    vault: Vault,
}

#[derive(Serialize)]
struct WrittenLine<'a> {
    format: u32,
    at: i64,
    #[serde(flatten)]
    content: WrittenContent<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum WrittenContent<'a> {
    Change(&'a Event),
    /// The change, encrypted, in Base64.
    Sealed(String),
}

#[derive(Deserialize)]
struct LineFormat {
    format: u32,
}

#[derive(Deserialize)]
struct ReadLine {
    at: i64,
    change: Option<Event>,
    sealed: Option<String>,
}

/// Why a line is not an entry.
enum BadLine {
    Damaged,
    /// By another key than this process has, or this process has none.
    Locked,
}

impl Journal {
    pub fn create(database: &Path, vault: Vault) -> Result<Self, MemoryError> {
        loop {
            let path = beside(database, &format!("journal-{}.jsonl", Uuid::new_v4()));
            let attempt = || {
                let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
                file.lock()?;
                // A merger may have taken the empty file for an abandoned one before the lock.
                let still_there = fs_err::metadata(&path).is_ok_and(|found| {
                    file.metadata().is_ok_and(|own| own.ino() == found.ino() && own.dev() == found.dev())
                });
                if let Some(folder) = path.parent() {
                    File::open(folder)?.sync_all()?;
                }
                Ok(still_there.then_some(file))
            };
            let created: std::io::Result<Option<File>> = attempt();
            if let Some(file) = created.map_err(|error| failure(&path, &error))? {
                return Ok(Self { file, path, vault });
            }
        }
    }

    /// Durable when it returns. After a failure this journal has ended, whatever is in its last
    /// line: a merger may have read it already, so nothing may be taken back or written over.
    pub fn append(&mut self, entry: &Entry) -> Result<(), MemoryError> {
        let mut bytes = line(entry, &self.vault).map_err(|error| failure(&self.path, &error))?;
        bytes.push(b'\n');
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        written.map_err(|error| failure(&self.path, &error))
    }
}

fn line(entry: &Entry, vault: &Vault) -> std::io::Result<Vec<u8>> {
    let content = if vault.is_on() {
        let change = serde_json::to_vec(&entry.event)?;
        let sealed = vault.seal(&change, &associated(entry.at)).map_err(std::io::Error::other)?;
        WrittenContent::Sealed(STANDARD.encode(sealed))
    } else {
        WrittenContent::Change(&entry.event)
    };
    Ok(serde_json::to_vec(&WrittenLine { format: FORMAT, at: entry.at, content })?)
}

fn entry(line: &[u8], vault: &Vault) -> Result<Entry, BadLine> {
    let line: ReadLine = serde_json::from_slice(line).map_err(|_| BadLine::Damaged)?;
    let event = match (line.change, line.sealed) {
        (Some(event), _) => event,
        (None, Some(_)) if !vault.is_on() => return Err(BadLine::Locked),
        (None, Some(sealed)) => {
            let sealed = STANDARD.decode(sealed).map_err(|_| BadLine::Damaged)?;
            let change = vault.open(&sealed, &associated(line.at)).map_err(|_| BadLine::Locked)?;
            serde_json::from_slice(&change).map_err(|_| BadLine::Damaged)?
        }
        (None, None) => return Err(BadLine::Damaged),
    };
    Ok(Entry { at: line.at, event })
}

/// What a sealed change is bound to.
fn associated(at: i64) -> Vec<u8> {
    format!("journal\n{at}").into_bytes()
}

/// Merges every journal beside `database` and deletes those whose writers are gone.
/// Returns how many remain. A journal that cannot be read never keeps memory from opening.
pub(crate) fn merge_all(database: &Path, store: &mut Store) -> Result<usize, MemoryError> {
    let journals = find(database)?;
    let mut pending = 0;
    for path in &journals {
        match merge(path, store) {
            Ok(Remains::Nothing) => {}
            Ok(Remains::Journal) => pending += 1,
            Err(error) => {
                tracing::warn!(journal = %path.display(), %error, "a memory journal was not merged");
                pending += 1;
            }
        }
    }
    Ok(pending)
}

/// Of all journals beside `database`.
pub(crate) fn total_bytes(database: &Path) -> Result<u64, MemoryError> {
    let length = |path: &PathBuf| fs_err::metadata(path).map_or(0, |metadata| metadata.len());
    Ok(find(database)?.iter().map(length).sum())
}

enum Remains {
    Nothing,
    Journal,
}

fn merge(path: &Path, store: &mut Store) -> Result<Remains, MemoryError> {
    let read = |offset: u64| {
        let mut file = File::open(path)?;
        // Before reading: once the lock is ours, nothing more is written.
        let abandoned = file.try_lock().is_ok();
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(offset))?;
        file.read_to_end(&mut bytes)?;
        Ok((file, abandoned, bytes))
    };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let offset = store.merged_bytes(&name)?;
    let (_lock, abandoned, bytes) = read(offset).map_err(|error: std::io::Error| failure(path, &error))?;

    let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let mut entries = Vec::new();
    let mut damaged = 0_usize;
    for line in bytes[..complete].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if serde_json::from_slice::<LineFormat>(line).is_ok_and(|line| line.format > FORMAT) {
            tracing::warn!(journal = %path.display(), "written by a newer Codriver; left for it");
            return Ok(Remains::Journal);
        }
        match entry(line, store.vault()) {
            Ok(entry) => entries.push(entry),
            Err(BadLine::Damaged) => damaged += 1,
            Err(BadLine::Locked) => {
                tracing::warn!(journal = %path.display(), "sealed with another key; left as it is");
                return Ok(Remains::Journal);
            }
        }
    }
    if !entries.is_empty() {
        store.merge_journal(&name, offset + complete as u64, &entries)?;
    }
    if damaged > 0 {
        tracing::warn!(journal = %path.display(), lines = damaged, "damaged lines in a memory journal were skipped");
    }
    if !abandoned {
        return Ok(Remains::Journal);
    }
    if complete < bytes.len() {
        tracing::warn!(journal = %path.display(), "the unfinished last line of a memory journal was ignored");
    }
    let done = if damaged > 0 {
        fs_err::rename(path, path.with_extension("jsonl.damaged"))
    } else {
        fs_err::remove_file(path)
    };
    done.map_err(|error| failure(path, &error))?;
    Ok(Remains::Nothing)
}

/// What reading a journal to its end found.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub changes: usize,
    pub damaged: usize,
    /// Sealed with another key.
    pub locked: usize,
}

/// Reads a journal and changes nothing. A last line without its end is being written, or was acknowledged to nobody.
pub(crate) fn check(path: &Path, vault: &Vault) -> Result<Checked, MemoryError> {
    let bytes = fs_err::read(path).map_err(|error| failure(path, &error))?;
    let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let mut checked = Checked::default();
    for line in bytes[..complete].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match entry(line, vault) {
            Ok(_) => checked.changes += 1,
            Err(BadLine::Damaged) => checked.damaged += 1,
            Err(BadLine::Locked) => checked.locked += 1,
        }
    }
    Ok(checked)
}

/// In the order they were begun, as far as the file system tells.
pub(crate) fn find(database: &Path) -> Result<Vec<PathBuf>, MemoryError> {
    let (Some(folder), Some(prefix)) =
        (database.parent(), beside(database, "journal-").file_name().map(ToOwned::to_owned))
    else {
        return Ok(Vec::new());
    };
    let prefix = prefix.to_string_lossy().into_owned();
    let list = || {
        let mut found = Vec::new();
        for entry in fs_err::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&prefix) && name.ends_with(".jsonl") {
                found.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        Ok(found)
    };
    let mut found = list().map_err(|error: std::io::Error| failure(folder, &error))?;
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// `memory.duckdb` -> `memory.duckdb.SUFFIX`
pub(crate) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// Replaces a cache beside the database as a whole, sealed where there is a key, so that a reader never sees half of it.
/// Gives its length; what was there stays where it cannot be written.
pub(crate) fn replace(file: &Path, vault: &Vault, plain: &[u8], associated: &[u8]) -> std::io::Result<u64> {
    let new = beside(file, "new");
    let attempt = || {
        let bytes = vault.seal(plain, associated).map_err(std::io::Error::other)?;
        let mut written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        written.write_all(&bytes)?;
        fs_err::rename(&new, file)?;
        Ok(bytes.len() as u64)
    };
    attempt().inspect_err(|_| fs_err::remove_file(&new).unwrap_or_else(|error| tracing::debug!(%error)))
}

fn failure(path: &Path, error: &std::io::Error) -> MemoryError {
    MemoryError::Journal { path: path.display().to_string(), reason: error.to_string() }
}
