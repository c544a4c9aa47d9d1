//! `codriver memory backup`, `restore`, `encrypt`, `decrypt` and `key`: the file itself.

use std::cell::OnceCell;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use codriver_inference::store::size_text;
use codriver_memory::{KEY_VARIABLE, MasterKey, Memory, MemoryError, Others, Redactor};
use fs_err::os::unix::fs::OpenOptionsExt as _;

use super::collections_here;
use crate::session::folders::data_folder;
use crate::session::{History, MEMORY};

#[derive(Debug, Args)]
pub struct BackupArguments {
    /// Where the copy goes [default: memory-DATE.duckdb in this folder]
    file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RestoreArguments {
    /// What `backup` wrote, or one of the daily backups beside the database
    file: PathBuf,
}

#[derive(Debug, Args)]
pub struct EncryptArguments {
    /// A file with the key, made with a random one if it is not there; without it, the key is
    /// that of CODRIVER_MEMORY_KEY
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct KeyArguments {
    /// Puts the key of CODRIVER_MEMORY_KEY into the system keyring
    #[arg(long, conflicts_with = "new_key_file")]
    keep: bool,
    /// Changes the key: to that of a file, made with a random one if it is not there
    #[arg(long, value_name = "FILE")]
    new_key_file: Option<PathBuf>,
}

/// What `backup` writes.
pub const COPIES: &str =
    "Collections, where there are any, are copied to the folder FILE.collections beside it; `restore` puts both back.
The daily backups that notebooks make hold what is remembered, without collections. What is encrypted is encrypted in
the copies, too.";

/// While notebooks use it, too.
pub fn backup(arguments: &BackupArguments) -> anyhow::Result<ExitCode> {
    let name = || PathBuf::from(format!("memory-{}.duckdb", chrono::Local::now().format("%Y-%m-%d-%H%M%S")));
    let file = arguments.file.clone().unwrap_or_else(name);
    let collections = collections_here();
    let (has_memory, has_collections) = (database().is_file(), !collections.list()?.is_empty());
    if !has_memory && !has_collections {
        nothing_yet()?;
    }
    for taken in [&file, &copies_of_collections(&file)] {
        if taken.exists() {
            bail!("{} is there already; choose another name", taken.display());
        }
    }
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        return Err(MemoryError::NoFolder { path: folder.display().to_string() }.into());
    }
    if has_memory {
        let bytes = Memory::open(&database(), None)?.backup(&file)?;
        eprintln!("{}: what is remembered, {}", file.display(), size_text(bytes));
    }
    let mut all = true;
    let folder = copies_of_collections(&file);
    for (name, copied) in collections.back_up(&folder)? {
        match copied {
            Ok(bytes) => eprintln!("{}: collection {name}, {}", folder.display(), size_text(bytes)),
            Err(error) => {
                all = false;
                eprintln!("codriver: collection {name} is not in the backup: {error}");
            }
        }
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub fn restore(arguments: &RestoreArguments) -> anyhow::Result<ExitCode> {
    let (file, folder) = (&arguments.file, copies_of_collections(&arguments.file));
    if !file.is_file() && !folder.is_dir() {
        bail!("there is no file {}", file.display());
    }
    if file.is_file() {
        let aside = Memory::open(&database(), None)?.restore(file)?;
        eprintln!("memory is as it was in {}; what it was before lies in {}", file.display(), aside.display());
    }
    if folder.is_dir() {
        let (names, aside) = collections_here().restore(&folder)?;
        let before = aside.map(|aside| format!("; what there was before lies in {}", aside.display()));
        eprintln!("collections are as in {}: {}{}", folder.display(), names.join(", "), before.unwrap_or_default());
    }
    Ok(ExitCode::SUCCESS)
}

/// Collections first: run again after a crash, it goes through all of it again.
pub fn encrypt(arguments: &EncryptArguments) -> anyhow::Result<ExitCode> {
    let (database, collections) = (database(), collections_here());
    if !database.is_file() && collections.list()?.is_empty() {
        nothing_yet()?;
    }
    let key = match &arguments.key_file {
        Some(file) => key_of_file(file)?,
        None => MasterKey::from_environment()?.with_context(|| {
            format!(
                "no key: set {KEY_VARIABLE} to a passphrase or to 64 hexadecimal digits, or name a file with --key-file"
            )
        })?,
    };
    let old = MasterKey::from_environment()?;
    let sealed = collections.encrypt(old.as_ref(), &key)?;
    if database.is_file() {
        with_history(|others| Memory::encrypt(&database, old.as_ref(), &key, others))?;
    }
    eprintln!(
        "{}{} encrypted. Without the key nobody reads it again, you neither: keep it. \
         Codriver takes it from {KEY_VARIABLE}, or from the system keyring (codriver memory key --keep)",
        if database.is_file() { database.display().to_string() } else { "everything".to_owned() },
        and(&sealed)
    );
    Ok(ExitCode::SUCCESS)
}

pub fn decrypt() -> anyhow::Result<ExitCode> {
    let (database, collections) = (database(), collections_here());
    if !database.is_file() && collections.list()?.is_empty() {
        nothing_yet()?;
    }
    let opened = collections.decrypt(None)?;
    if database.is_file() {
        with_history(|others| Memory::decrypt(&database, None, others))?;
    }
    let name = if database.is_file() { database.display().to_string() } else { "everything".to_owned() };
    eprintln!("{name}{} not encrypted any more", and(&opened));
    Ok(ExitCode::SUCCESS)
}

pub fn key(arguments: &KeyArguments) -> anyhow::Result<ExitCode> {
    let (database, collections) = (database(), collections_here());
    if !database.is_file() && collections.list()?.is_empty() {
        nothing_yet()?;
    }
    match &arguments.new_key_file {
        Some(file) => {
            let path = database.is_file().then_some(database.as_path());
            Memory::change_key(path, &collections, None, &key_of_file(file)?)?;
            eprintln!(
                "memory{} open with the key in {} from now on; backups keep the old one",
                match collections.list()?.len() {
                    0 => String::new(),
                    count => format!(" and {count} collections"),
                },
                file.display()
            );
        }
        None if arguments.keep => {
            let key = MasterKey::from_environment()?.with_context(|| format!("no key to keep: set {KEY_VARIABLE}"))?;
            if database.is_file() {
                Memory::keep_key(&database, &key)?;
            }
            collections.keep_key(&key)?;
            eprintln!("the system keyring has the key; on Linux, until the machine restarts");
        }
        None => bail!("what to do with the key is missing: --keep, or --new-key-file FILE"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Seals memory otherwise, and the history of cells with it.
fn with_history(work: impl FnOnce(Others<'_>) -> Result<(), MemoryError>) -> Result<(), MemoryError> {
    let (folder, redactor) = (data_folder(), Redactor::with_environment());
    let sealed_now = OnceCell::new();
    work(&|old, new| {
        let unwritable = |error: std::io::Error| MemoryError::Unwritable {
            path: folder.join("history.jsonl").display().to_string(),
            reason: error.to_string(),
        };
        History::prepare(&folder, old, new, &redactor).map_err(unwritable)?;
        sealed_now.set(new.clone()).unwrap_or_default();
        Ok(())
    })?;
    if let Some(vault) = sealed_now.into_inner() {
        // The prepared file takes its place.
        History::open(&folder, vault, Arc::new(redactor));
    }
    Ok(())
}

/// ` and the collections a, b are`
fn and(collections: &[String]) -> String {
    if collections.is_empty() {
        " is".to_owned()
    } else {
        format!(" and the collections {} are", collections.join(", "))
    }
}

fn copies_of_collections(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".collections");
    PathBuf::from(name)
}

pub(super) fn database() -> PathBuf {
    data_folder().join(MEMORY)
}

fn nothing_yet() -> anyhow::Result<()> {
    bail!("there is no memory yet, and no collection: {} is missing", database().display())
}

/// The key in a file; a file that is not there is made, for this user alone, with a random key.
fn key_of_file(file: &Path) -> anyhow::Result<MasterKey> {
    match fs_err::read_to_string(file) {
        Ok(text) => Ok(text.parse()?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = MasterKey::random();
            let mut made = fs_err::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
            made.write_all(key.to_text().as_bytes())?;
            made.write_all(b"\n")?;
            made.sync_all()?;
            Ok(key)
        }
        Err(error) => Err(error.into()),
    }
}
