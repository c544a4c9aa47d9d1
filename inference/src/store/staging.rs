//! The folder in which a pull gathers its files, and how they get from there into the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::StoreError;
use super::download::partial;
use super::record::{self, PulledFile, Record};
use super::selection::is_gguf;

/// Clears what an earlier pull left that this one can't use, and notes what is to come.
pub(super) fn prepare(staging: &Path, record: &Record) -> Result<(), StoreError> {
    let before = Record::read(staging).map(|record| record.files).unwrap_or_default();
    for path in files_below(staging)? {
        let of_use = record.files.iter().any(|(name, file)| {
            let target = staging.join(name);
            (path == target && before.get(name) == Some(file)) || path == partial(&target, &file.checksum)
        });
        if !of_use {
            fs_err::remove_file(path)?;
        }
    }
    record.write(staging)
}

/// Takes the files that did not change from the folder that is to be replaced.
pub(super) fn reuse(folder: &Path, staging: &Path, record: &Record) -> Result<(), StoreError> {
    let before = Record::read(folder).map(|record| record.files).unwrap_or_default();
    for (name, file) in &record.files {
        let (old, new) = (folder.join(name), staging.join(name));
        let same = before.get(name) == Some(file) && !file.checksum.is_empty();
        if !same || new.exists() || !fs_err::metadata(&old).is_ok_and(|found| found.len() == file.bytes) {
            continue;
        }
        make_parent(&new)?;
        // Not every file system can link.
        if fs_err::hard_link(&old, &new).is_err() {
            fs_err::copy(&old, &new)?;
        }
    }
    Ok(())
}

/// Puts a finished folder in the place of the one that was there. Killed at any point, it leaves
/// what the next pull needs to end it.
pub(super) fn swap(staging: &Path, folder: &Path, record: Record) -> Result<(), StoreError> {
    let mut old = staging.as_os_str().to_owned();
    old.push(".old");
    let old = PathBuf::from(old);
    let before = Record::read(folder).or_else(|| Record::read(&old)).map(|record| record.files).unwrap_or_default();
    with_ggufs(record, &before).write(staging)?;
    make_parent(folder)?;
    if folder.exists() {
        if old.exists() {
            keep_others(&old, folder)?;
        }
        fs_err::rename(folder, &old)?;
    }
    fs_err::rename(staging, folder)?;
    if old.exists() {
        keep_others(&old, folder)?;
    }
    Ok(())
}

/// Moves GGUF files of the same repository, and what the user put there, to the new folder; what
/// is left of the old one goes.
fn keep_others(old: &Path, folder: &Path) -> Result<(), StoreError> {
    let before = Record::read(old).map(|record| record.files).unwrap_or_default();
    for path in files_below(old)? {
        let Ok(name) = path.strip_prefix(old) else { continue };
        let text = name.to_string_lossy();
        let superseded = before.contains_key(text.as_ref()) && !is_gguf(&text);
        if !superseded && text != record::FILE && !folder.join(name).exists() {
            make_parent(&folder.join(name))?;
            fs_err::rename(&path, folder.join(name))?;
        }
    }
    Ok(fs_err::remove_dir_all(old)?)
}

/// Puts finished GGUF files beside what their folder holds.
pub(super) fn move_files(staging: &Path, folder: &Path, record: Record) -> Result<(), StoreError> {
    for name in record.files.keys() {
        make_parent(&folder.join(name))?;
        fs_err::rename(staging.join(name), folder.join(name))?;
    }
    let merged = match Record::read(folder) {
        Some(mut before) => {
            before.files.extend(record.files);
            before
        }
        None => record,
    };
    merged.write(folder)?;
    Ok(fs_err::remove_dir_all(staging)?)
}

/// All files below a folder; links are not followed.
pub(super) fn files_below(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    Ok(files)
}

fn with_ggufs(mut record: Record, before: &BTreeMap<String, PulledFile>) -> Record {
    let ggufs = before.iter().filter(|(name, _)| is_gguf(name));
    for (name, file) in ggufs {
        record.files.entry(name.clone()).or_insert_with(|| file.clone());
    }
    record
}

fn make_parent(path: &Path) -> Result<(), StoreError> {
    match path.parent() {
        Some(parent) => Ok(fs_err::create_dir_all(parent)?),
        None => Ok(()),
    }
}
