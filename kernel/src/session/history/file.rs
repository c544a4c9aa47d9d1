//! The history on disk: a JSON object a line, appended with `O_APPEND` in one write each, so that two kernels can share
//! it. A line that cannot be read (a torn write after a crash) is skipped.
//!
//! Inputs are without secrets, and sealed where memory is encrypted. A file of before that is written anew when it is
//! opened; who appends holds a shared lock on the file, who replaces it one alone.

use std::io::{Error, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use codriver_memory::{Redactor, Vault};
use fs_err::os::unix::fs::OpenOptionsExt;
use fs_err::{File, OpenOptions};
use serde::{Deserialize, Serialize};

use super::HistoryEntry;

/// The first in which inputs are without secrets.
const FORMAT: u32 = 2;

/// A cell longer than this is kept for this session, and only its head in the file.
const LONGEST_STORED_INPUT: usize = 256 * 1024;

pub(super) struct HistoryFile {
    path: PathBuf,
    vault: Vault,
    redactor: Arc<Redactor>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(default)]
    format: u32,
    session: u64,
    line: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
}

impl HistoryFile {
    /// The file in `folder` and what it holds.
    pub fn open(folder: &Path, vault: Vault, redactor: Arc<Redactor>) -> std::io::Result<(Self, Vec<HistoryEntry>)> {
        fs_err::create_dir_all(folder)?;
        let file = Self { path: folder.join("history.jsonl"), vault, redactor };
        file.take_prepared()?;
        let mut held = file.lines()?;
        if held.iter().all(|line| line.format >= FORMAT && line.sealed.is_some() == file.vault.is_on()) {
            make_private(&file.path)?;
        } else {
            file.write_anew()?;
            held = file.lines()?;
        }
        let entries = held.iter().filter_map(|line| opened(line, &file.vault)).collect();
        Ok((file, entries))
    }

    /// On disk when it returns.
    pub fn append(&self, entry: &HistoryEntry) -> std::io::Result<()> {
        let mut bytes = written(entry, &self.vault, &self.redactor)?;
        // The line break in front ends a line that another process left torn.
        bytes.insert(0, b'\n');
        bytes.push(b'\n');
        loop {
            let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
            lock(file.lock_shared())?;
            // It may have been replaced before the lock.
            if is_at(&file, &self.path) {
                return file.write_all(&bytes);
            }
        }
    }

    /// None where there is no file.
    fn lines(&self) -> std::io::Result<Vec<Line>> {
        match fs_err::read(&self.path) {
            Ok(bytes) => Ok(lines(&bytes).collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Every line as it is written now, in the place of the file.
    fn write_anew(&self) -> std::io::Result<()> {
        let file = File::open(&self.path)?;
        lock(file.lock())?;
        if !is_at(&file, &self.path) {
            // Another kernel has done it.
            return Ok(());
        }
        let new = self.path.with_extension("jsonl.new");
        convert(&self.path, &new, &self.vault, &self.vault, &self.redactor)?;
        fs_err::rename(&new, &self.path)
    }

    /// Takes what [`prepare`] wrote for this vault. What it wrote for another is of a change that did not come to pass.
    fn take_prepared(&self) -> std::io::Result<()> {
        let Some(folder) = self.path.parent() else { return Ok(()) };
        let wanted = prepared(folder, &self.vault);
        if wanted.exists() {
            fs_err::rename(&wanted, &self.path)?;
        }
        for entry in fs_err::read_dir(folder)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("history.jsonl.for-") {
                fs_err::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// The file in `folder`, sealed with `new`, beside itself.
pub(super) fn prepare(folder: &Path, old: &Vault, new: &Vault, redactor: &Redactor) -> std::io::Result<()> {
    let path = folder.join("history.jsonl");
    if path.exists() { convert(&path, &prepared(folder, new), old, new, redactor) } else { Ok(()) }
}

fn prepared(folder: &Path, vault: &Vault) -> PathBuf {
    folder.join(format!("history.jsonl.for-{}", vault.key_id().unwrap_or("everyone")))
}

/// A line that does not open stays as it is: another key may.
fn convert(from: &Path, to: &Path, old: &Vault, new: &Vault, redactor: &Redactor) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    for line in lines(&fs_err::read(from)?) {
        bytes.extend(match opened(&line, old) {
            Some(entry) => written(&entry, new, redactor)?,
            None => serde_json::to_vec(&line)?,
        });
        bytes.push(b'\n');
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to)?;
    file.write_all(&bytes)?;
    file.sync_all()
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = Line> {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}

fn opened(line: &Line, vault: &Vault) -> Option<HistoryEntry> {
    let input = match (&line.input, &line.sealed) {
        (Some(input), _) => input.clone(),
        (None, Some(sealed)) if vault.is_on() => {
            vault.open_text("history", &place(line.session, line.line), sealed.clone()).ok()?
        }
        _ => return None,
    };
    Some(HistoryEntry { session: line.session, line: line.line, input })
}

fn written(entry: &HistoryEntry, vault: &Vault, redactor: &Redactor) -> std::io::Result<Vec<u8>> {
    let HistoryEntry { session, line, input } = entry;
    let clean = redactor.redact(input);
    let clean = head(&clean, LONGEST_STORED_INPUT);
    let sealed = vault.is_on().then(|| vault.seal_text("history", &place(*session, *line), clean));
    let sealed = sealed.transpose().map_err(Error::other)?.map(std::borrow::Cow::into_owned);
    let input = sealed.is_none().then(|| clean.to_owned());
    Ok(serde_json::to_vec(&Line { format: FORMAT, session: *session, line: *line, input, sealed })?)
}

/// What a sealed input is bound to.
fn place(session: u64, line: u32) -> String {
    format!("{session}:{line}")
}

/// Whether `path` still leads to this file.
fn is_at(file: &File, path: &Path) -> bool {
    let (own, found) = (file.metadata(), fs_err::metadata(path));
    own.is_ok_and(|own| found.is_ok_and(|found| (own.ino(), own.dev()) == (found.ino(), found.dev())))
}

/// A file system without locks does without.
fn lock(outcome: std::io::Result<()>) -> std::io::Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
        outcome => outcome,
    }
}

fn make_private(path: &Path) -> std::io::Result<()> {
    match fs_err::metadata(path) {
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        }
        _ => Ok(()),
    }
}

/// At most `limit` bytes, cut at a character.
fn head(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::sync::Arc;

    use codriver_memory::{MasterKey, Memory, MemoryOptions, Redactor, Vault};

    use super::prepare;
    use crate::session::History;

    fn inputs(folder: &Path, vault: &Vault) -> Vec<String> {
        let history = History::open(folder, vault.clone(), Arc::new(Redactor::new()));
        history.tail(99).into_iter().map(|entry| entry.input).collect()
    }

    fn text(folder: &Path) -> String {
        assert_eq!(std::fs::metadata(folder.join("history.jsonl")).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::read_to_string(folder.join("history.jsonl")).unwrap()
    }

    fn vault() -> Vault {
        let folder = tempfile::tempdir().unwrap();
        let options =
            MemoryOptions { key: Some(MasterKey::random()), ..MemoryOptions::new(folder.path().join("m.duckdb")) };
        Memory::open_with(options).unwrap().vault()
    }

    #[test]
    fn a_clear_file_of_before_loses_its_secrets_and_is_sealed_and_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let key = format!("sk-proj-{}", "Ab3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA3bC5dE7f");
        let line = format!(
            "{{\"session\":7,\"line\":3,\"input\":\"let key = \\\"{key}\\\"; print(zebra)\"}}\n{{\"session\": 1, \"li"
        );
        std::fs::write(folder.join("history.jsonl"), line).unwrap();
        std::fs::set_permissions(folder.join("history.jsonl"), std::fs::Permissions::from_mode(0o644)).unwrap();
        let read = inputs(folder, &Vault::off());
        assert_eq!(read.len(), 1);
        assert!(!text(folder).contains(&key) && text(folder).contains("print(zebra)"), "{}", text(folder));
        assert!(read[0].contains("let key = ") && read[0].contains("[redacted"), "{read:?}");

        // With a key, what is there is sealed at the next opening, and what comes too.
        let (first, second) = (vault(), vault());
        assert_eq!(inputs(folder, &first), read);
        assert!(!text(folder).contains("zebra"), "{}", text(folder));
        let mut history = History::open(folder, first.clone(), Arc::new(Redactor::new()));
        history.append(1, &format!("ocelot {key}"));
        assert_eq!(history.tail(1)[0].input, format!("ocelot {key}"), "whole in this session");
        assert!(!text(folder).contains("ocelot"), "{}", text(folder));
        let both = inputs(folder, &first);
        assert!(both.len() == 2 && both[1].starts_with("ocelot [redacted"), "{both:?}");
        // Another key does not open it, and takes nothing away.
        assert_eq!(inputs(folder, &second), [""; 0]);
        assert_eq!(inputs(folder, &Vault::off()), [""; 0]);
        assert_eq!(inputs(folder, &first), both);

        // Another key, a change that did not come to pass, and none.
        prepare(folder, &first, &second, &Redactor::new()).unwrap();
        assert_eq!(inputs(folder, &first), both);
        assert_eq!(inputs(folder, &second), [""; 0], "it was taken back");
        prepare(folder, &first, &second, &Redactor::new()).unwrap();
        assert_eq!(inputs(folder, &second), both);
        prepare(folder, &second, &Vault::off(), &Redactor::new()).unwrap();
        assert_eq!(inputs(folder, &Vault::off()), both);
        assert!(text(folder).contains("zebra"));
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1);
    }
}
