//! Files of indexes: written whole beside their place, sealed where there is a key, checked before they are used.

use std::path::{Path, PathBuf};

use codriver_vectors::{Generation, GenerationError, Snapshot};

use crate::error::MemoryError;
use crate::event::digest;
use crate::index::lexical::{Column, Lexical};
use crate::vault::Vault;

/// What is in a file, unless it is not there or damaged, which only the log is told: it will be made anew.
pub(crate) fn usable<T>(path: &Path, open: impl FnOnce() -> Result<T, String>) -> Option<T> {
    if !path.exists() {
        return None;
    }
    open().inspect_err(|reason| tracing::warn!("{} is made anew: {reason}", path.display())).ok()
}

/// Mapped where it lies, or opened into memory where it is sealed.
pub(crate) fn open_words(path: &Path, vault: &Vault, columns: &[Column]) -> Result<Lexical, String> {
    match vault.is_on() {
        true => Lexical::from_bytes(unsealed(path, vault)?, columns).map_err(|error| error.to_string()),
        false => Lexical::open(path, columns).map_err(|error| error.to_string()),
    }
}

pub(crate) fn write_words(path: &Path, vault: &Vault, lexical: &Lexical, label: &str) -> Result<(), MemoryError> {
    let bytes = lexical.bytes(label)?;
    write(path, &sealed(vault, bytes)?)
}

pub(crate) fn open_vectors(path: &Path, vault: &Vault) -> Result<Generation, String> {
    match vault.is_on() {
        true => Generation::from_bytes(&unsealed(path, vault)?, path).map_err(without_path),
        false => Generation::open(path).map_err(without_path),
    }
}

/// Who is told says the path.
fn without_path(error: GenerationError) -> String {
    match error {
        GenerationError::Damaged { reason, .. } => reason.to_owned(),
        error => error.to_string(),
    }
}

/// Builds a graph (on so many threads; 0: all) and writes it.
pub(crate) fn write_vectors(
    path: &Path,
    vault: &Vault,
    snapshot: &Snapshot,
    label: u64,
    threads: usize,
    progress: codriver_vectors::Progress<'_>,
) -> Result<Generation, MemoryError> {
    let explain = |error| match error {
        GenerationError::Stopped => MemoryError::Stopped,
        error => MemoryError::Index(error.to_string()),
    };
    if vault.is_on() {
        let bytes = snapshot.build(label, threads, progress, |built| built.bytes()).map_err(explain)?;
        write(path, &sealed(vault, bytes)?)?;
    } else {
        snapshot.build(label, threads, progress, |built| built.write(path)).map_err(explain)?;
    }
    open_vectors(path, vault).map_err(MemoryError::Index)
}

/// Of the vectors of one model.
pub(crate) fn vectors_file(folder: &Path, model: &str) -> PathBuf {
    let readable: String =
        model.chars().map(|character| if character.is_alphanumeric() { character } else { '-' }).take(40).collect();
    let unique: String = digest(model).chars().take(8).collect();
    folder.join(format!("vectors-{readable}-{unique}"))
}

fn unsealed(path: &Path, vault: &Vault) -> Result<Vec<u8>, String> {
    let sealed = fs_err::read(path).map_err(|error| error.to_string())?;
    vault.open(&sealed, SEALED_AS).map_err(|error| error.to_string())
}

fn sealed(vault: &Vault, bytes: Vec<u8>) -> Result<Vec<u8>, MemoryError> {
    match vault.is_on() {
        true => vault.seal(&bytes, SEALED_AS).map_err(|error| MemoryError::Index(error.to_string())),
        false => Ok(bytes),
    }
}

/// What index files are bound to; which index it is, their own beginnings say.
const SEALED_AS: &[u8] = b"collection index";

/// Beside its place first, so that a reader finds the old file or the new one.
fn write(path: &Path, bytes: &[u8]) -> Result<(), MemoryError> {
    use std::io::Write as _;
    let part = path.with_extension("part");
    let written = || {
        let mut file = crate::backup::private(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs_err::rename(&part, path)
    };
    written().map_err(|error: std::io::Error| MemoryError::Unwritable {
        path: path.display().to_string(),
        reason: error.to_string(),
    })
}
