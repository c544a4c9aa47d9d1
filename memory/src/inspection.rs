//! All of memory looked at from outside, whoever uses it: what it holds, and whether it is sound.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, Local, Utc};

use crate::backup::{automatic, check, modified};
use crate::collections::Finding;
use crate::error::MemoryError;
use crate::index::files::open_vectors;
use crate::index::kept;
use crate::journal::{self, beside};
use crate::memory::Memory;
use crate::snapshot::Snapshot;
use crate::store::{lock, log_of};
use crate::vault::{MasterKey, Vault, VaultFile, unlock};

/// What memory holds, of all projects.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Holdings {
    pub path: String,
    /// Of the database and its log.
    pub bytes: u64,
    pub encrypted: bool,
    /// The process that writes it now, if there is one.
    pub used_by: Option<String>,
    /// Those that hold.
    pub facts: usize,
    pub conversations: usize,
    pub turns: usize,
    pub messages: usize,
    pub tool_runs: usize,
    pub documents: usize,
    /// Pieces of documents.
    pub pieces: usize,
    pub vectors: usize,
    /// Automatic backups, and the newest.
    pub backups: usize,
    pub last_backup: Option<PathBuf>,
    pub last_backup_at: Option<DateTime<Utc>>,
}

impl Memory {
    /// What the memory at `path` holds, with what other processes have not merged yet. Nothing is changed.
    pub fn holdings(path: &Path, key: Option<&MasterKey>) -> Result<Holdings, MemoryError> {
        let database = lock::prepare_folder(path)?;
        let snapshot = Snapshot::take(&database, key)?;
        let store = snapshot.open()?;
        let length = |path: &Path| fs_err::metadata(path).map_or(0, |metadata| metadata.len());
        let backups = automatic(&database);
        Ok(Holdings {
            path: database.display().to_string(),
            bytes: length(&database) + length(&log_of(&database)),
            encrypted: store.vault().is_on(),
            used_by: snapshot.used_by.clone(),
            facts: store.count_facts()?,
            conversations: store.count("conversations")?,
            turns: store.count("turns")?,
            messages: store.count("messages")?,
            tool_runs: store.count("tool_runs")?,
            documents: store.document_names()?.len(),
            pieces: store.count("chunks")?,
            vectors: store.count("embeddings")?,
            backups: backups.len(),
            last_backup_at: backups.last().and_then(modified).map(DateTime::from),
            last_backup: backups.last().cloned(),
        })
    }

    /// Reads the memory at `path` to the end: every column of every table, so that DuckDB compares every block with
    /// its checksum; what is sealed, with the key; journals; the files of indexes; the newest backup. Where another
    /// process writes it, a copy of this moment is read. Nothing is changed.
    pub fn check(path: &Path, key: Option<&MasterKey>) -> Result<Vec<Finding>, MemoryError> {
        let database = lock::prepare_folder(path)?;
        let mut findings = Vec::new();
        let vault = match check_tables(&database, key, &mut findings) {
            Ok(vault) => vault,
            Err(
                error @ (MemoryError::Unreadable { .. }
                | MemoryError::UnreadableLog { .. }
                | MemoryError::Database { .. }),
            ) => {
                findings.push(Finding::unsound("database", error.reason()));
                VaultFile::read(&database)?.map_or_else(|| Ok(Vault::off()), |file| unlock(&database, &file, key))?
            }
            Err(error) => return Err(error),
        };
        let database_is_sound = findings.iter().all(|finding| finding.sound);
        check_journals(&database, &vault, &mut findings)?;
        check_indexes(&database, &vault, &mut findings);
        check_backups(&database, key, database_is_sound, &mut findings);
        Ok(findings)
    }
}

fn check_tables(database: &Path, key: Option<&MasterKey>, findings: &mut Vec<Finding>) -> Result<Vault, MemoryError> {
    let snapshot = Snapshot::take(database, key)?;
    let mut store = snapshot.open()?;
    let vault = store.vault().clone();
    let mut read = Vec::new();
    for table in store.table_names()? {
        let name = table.replace('_', " ");
        match store.check_table(&table) {
            Ok((0, 0)) => {}
            Ok((rows, 0)) => read.push(format!("{rows} {name}")),
            Ok((rows, closed)) => findings.push(Finding::unsound(
                "database",
                format!("{closed} of {rows} {name} cannot be opened: changed, or sealed with another key"),
            )),
            Err(error) => {
                findings.push(Finding::unsound("database", format!("{name} cannot be read: {}", error.reason())));
                // DuckDB may have given it up.
                drop(store);
                store = snapshot.open()?;
            }
        }
    }
    let sealed = if vault.is_on() { ", and opens with the key" } else { "" };
    let copy = snapshot.used_by.as_ref().map(|holder| format!("; a copy made just now, since {holder} writes it"));
    let what = if read.is_empty() { "nothing in it".to_owned() } else { read.join(", ") };
    let detail = format!("{what}: all of it was read{sealed}{}", copy.unwrap_or_default());
    findings.insert(0, Finding::sound("database", detail));
    Ok(vault)
}

fn check_journals(database: &Path, vault: &Vault, findings: &mut Vec<Finding>) -> Result<(), MemoryError> {
    for path in journal::find(database)? {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let checked = match journal::check(&path, vault) {
            Ok(checked) => checked,
            // It was merged meanwhile.
            Err(_) if !path.exists() => continue,
            Err(error) => {
                findings.push(Finding::unsound("journal", error.to_string()));
                continue;
            }
        };
        let journal::Checked { changes, damaged, locked } = checked;
        findings.push(match damaged + locked {
            0 => Finding::sound(
                "journal",
                format!("{name}: {changes} changes, merged by the notebook that holds the file"),
            ),
            _ => Finding::unsound(
                "journal",
                format!(
                    "{name}: {damaged} lines are damaged and {locked} sealed with another key; the other {changes} are \
                     kept, and the file is set aside when it is merged"
                ),
            ),
        });
    }
    Ok(())
}

fn check_indexes(database: &Path, vault: &Vault, findings: &mut Vec<Finding>) {
    const AGAIN: &str = "`codriver memory rebuild` makes it anew; nothing is lost";
    let folder = beside(database, "index");
    findings.push(match kept::check(&folder, vault) {
        None => Finding::sound("words", "not in a file yet: indexed at each start, while they are few".to_owned()),
        Some(Ok(texts)) => Finding::sound("words", format!("{texts} texts")),
        Some(Err(reason)) => Finding::unsound("words", format!("{} is damaged ({reason}). {AGAIN}", folder.display())),
    });
    for file in fs_err::read_dir(&folder).into_iter().flatten().flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        if name.starts_with("vectors-") && !name.ends_with(".part") {
            findings.push(match open_vectors(&file.path(), vault) {
                Ok(generation) => Finding::sound("vectors", format!("{} in {name}", generation.len())),
                Err(reason) => {
                    Finding::unsound("vectors", format!("{} is damaged ({reason}). {AGAIN}", file.path().display()))
                }
            });
        }
    }
}

/// The newest one; where the database is damaged, the newest one that is whole, which is what to do next.
fn check_backups(database: &Path, key: Option<&MasterKey>, database_is_sound: bool, findings: &mut Vec<Finding>) {
    let mut whole = None;
    for backup in automatic(database).into_iter().rev() {
        let made: DateTime<Local> = modified(&backup).unwrap_or(SystemTime::UNIX_EPOCH).into();
        let shown = format!("{} of {}", backup.display(), made.format("%Y-%m-%d %H:%M"));
        match check(&backup, database, key) {
            Ok(()) => {
                findings.push(Finding::sound("backup", format!("{shown} can be restored")));
                whole = Some(backup);
            }
            // The key was changed since, which is no damage.
            Err(MemoryError::WrongKey { .. } | MemoryError::KeyMissing { .. }) if database_is_sound => {
                findings.push(Finding::sound("backup", format!("{shown} opens with the key that memory had then")));
            }
            Err(error) => {
                findings.push(Finding::unsound("backup", format!("{shown} is of no use: {}", error.reason())))
            }
        }
        if database_is_sound || whole.is_some() {
            break;
        }
    }
    if database_is_sound {
        return;
    }
    let next = match whole {
        Some(backup) => format!(
            "end the notebooks, then go back to the newest backup that is whole: codriver memory restore '{}'. What is \
             there now is set aside, nothing is deleted",
            backup.display()
        ),
        None => format!(
            "no daily backup can be restored. If you have one elsewhere: end the notebooks, move the damaged file aside \
             (mv '{0}' '{0}.damaged') and run codriver memory restore FILE",
            database.display()
        ),
    };
    findings.push(Finding::unsound("next step", next));
}
