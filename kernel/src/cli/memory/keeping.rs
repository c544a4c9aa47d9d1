//! `codriver memory backup`, `restore`, `encrypt`, `decrypt` and `key`: the file itself.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use codriver_inference::store::size_text;
use codriver_memory::{KEY_VARIABLE, MasterKey, Memory};
use fs_err::os::unix::fs::OpenOptionsExt as _;

use crate::session::folders::data_folder;

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

/// While notebooks use it, too.
pub fn backup(arguments: &BackupArguments) -> anyhow::Result<ExitCode> {
    let name = || PathBuf::from(format!("memory-{}.duckdb", chrono::Local::now().format("%Y-%m-%d-%H%M%S")));
    let file = arguments.file.clone().unwrap_or_else(name);
    if file.exists() {
        bail!("{} is there already; choose another name", file.display());
    }
    let bytes = Memory::open(&existing()?, None)?.backup(&file)?;
    eprintln!("{}: {}", file.display(), size_text(bytes));
    Ok(ExitCode::SUCCESS)
}

pub fn restore(arguments: &RestoreArguments) -> anyhow::Result<ExitCode> {
    if !arguments.file.is_file() {
        bail!("there is no file {}", arguments.file.display());
    }
    let aside = Memory::open(&database(), None)?.restore(&arguments.file)?;
    eprintln!("memory is as it was in {}; what it was before lies in {}", arguments.file.display(), aside.display());
    Ok(ExitCode::SUCCESS)
}

pub fn encrypt(arguments: &EncryptArguments) -> anyhow::Result<ExitCode> {
    let database = existing()?;
    let key = match &arguments.key_file {
        Some(file) => key_of_file(file)?,
        None => MasterKey::from_environment()?.with_context(|| {
            format!(
                "no key: set {KEY_VARIABLE} to a passphrase or to 64 hexadecimal digits, or name a file with --key-file"
            )
        })?,
    };
    Memory::encrypt(&database, MasterKey::from_environment()?.as_ref(), &key)?;
    eprintln!(
        "{} is encrypted. Without the key nobody reads it again, you neither: keep it. \
         Codriver takes it from {KEY_VARIABLE}, or from the system keyring (codriver memory key --keep)",
        database.display()
    );
    Ok(ExitCode::SUCCESS)
}

pub fn decrypt() -> anyhow::Result<ExitCode> {
    let database = existing()?;
    Memory::decrypt(&database, None)?;
    eprintln!("{} is not encrypted any more", database.display());
    Ok(ExitCode::SUCCESS)
}

pub fn key(arguments: &KeyArguments) -> anyhow::Result<ExitCode> {
    let database = existing()?;
    match &arguments.new_key_file {
        Some(file) => {
            Memory::change_key(&database, None, &key_of_file(file)?)?;
            eprintln!(
                "{} opens with the key in {} from now on; backups keep the old one",
                database.display(),
                file.display()
            );
        }
        None if arguments.keep => {
            let key = MasterKey::from_environment()?.with_context(|| format!("no key to keep: set {KEY_VARIABLE}"))?;
            Memory::keep_key(&database, &key)?;
            eprintln!("the system keyring has the key; on Linux, until the machine restarts");
        }
        None => bail!("what to do with the key is missing: --keep, or --new-key-file FILE"),
    }
    Ok(ExitCode::SUCCESS)
}

fn database() -> PathBuf {
    data_folder().join("memory.duckdb")
}

fn existing() -> anyhow::Result<PathBuf> {
    let database = database();
    if !database.is_file() {
        bail!("there is no memory yet: {} is missing", database.display());
    }
    Ok(database)
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
