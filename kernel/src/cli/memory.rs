//! `codriver memory`: collections of documents, and what is remembered, from a terminal.

mod collections;
mod import;
mod keeping;
mod progress;
mod search;
mod whole;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use codriver_memory::{Collections, Embedder, MemoryError};

use crate::agent::open_embedder;
use crate::cli::print;
use crate::session::folders::data_folder;

#[derive(Debug, Args)]
pub struct MemoryArguments {
    #[command(subcommand)]
    command: MemoryCommand,
}

#[derive(Debug, Subcommand)]
enum MemoryCommand {
    /// Keep documents in a collection; run again, it goes on where it was stopped
    #[command(after_help = import::LINES)]
    Import(import::ImportArguments),
    /// Find documents of a collection
    #[command(after_help = search::EXAMPLES)]
    Search(search::SearchArguments),
    /// Print the documents of a collection as `import` reads them
    Export(collections::ExportArguments),
    /// List the collections
    List(collections::ListArguments),
    /// Delete a collection
    Remove(collections::RemoveArguments),
    /// Say what a collection, or all of memory, holds
    Stats(collections::StatsArguments),
    /// Read everything and say what is damaged: memory, also while a notebook uses it, and collections
    Verify(collections::VerifyArguments),
    /// Build the indexes of memory and collections anew from their databases, and embed what of collections has no
    /// vector yet
    Rebuild(collections::RebuildArguments),
    /// Copy what is remembered to a file, also while notebooks use it
    #[command(after_help = keeping::COPIES)]
    Backup(keeping::BackupArguments),
    /// Go back to a backup; what there is now is set aside
    Restore(keeping::RestoreArguments),
    /// Encrypt what was said and read, collections and the history of cells, with a key of yours
    Encrypt(keeping::EncryptArguments),
    /// Write it in the clear again
    Decrypt,
    /// Keep the key in the system keyring, or change it
    Key(keeping::KeyArguments),
}

/// Does what `codriver memory` was asked for.
pub fn memory(arguments: &MemoryArguments) -> anyhow::Result<ExitCode> {
    let outcome = match &arguments.command {
        MemoryCommand::Import(arguments) => import::import(arguments),
        MemoryCommand::Search(arguments) => search::search(arguments),
        MemoryCommand::Export(arguments) => collections::export(arguments),
        MemoryCommand::List(arguments) => collections::list(arguments),
        MemoryCommand::Remove(arguments) => collections::remove(arguments),
        MemoryCommand::Stats(arguments) => collections::stats(arguments),
        MemoryCommand::Verify(arguments) => collections::verify(arguments),
        MemoryCommand::Rebuild(arguments) => collections::rebuild(arguments),
        MemoryCommand::Backup(arguments) => keeping::backup(arguments),
        MemoryCommand::Restore(arguments) => keeping::restore(arguments),
        MemoryCommand::Encrypt(arguments) => keeping::encrypt(arguments),
        MemoryCommand::Decrypt => keeping::decrypt(),
        MemoryCommand::Key(arguments) => keeping::key(arguments),
    };
    match outcome {
        Err(error) if matches!(error.downcast_ref(), Some(MemoryError::Stopped)) => {
            eprintln!("codriver: {error}");
            Ok(ExitCode::from(130))
        }
        outcome => outcome,
    }
}

/// A file of JSON lines that was named on the command line.
fn open_lines(file: &Path) -> anyhow::Result<fs_err::File> {
    if file.is_dir() {
        bail!("{} is a folder; name a file of JSON lines, or `-` for standard input", file.display());
    }
    if !file.exists() {
        bail!("there is no file {}; name a file of JSON lines, or `-` for standard input", file.display());
    }
    fs_err::File::open(file).with_context(|| format!("{} cannot be read", file.display()))
}

fn collections_here() -> Collections {
    Collections::at(data_folder().join("collections"))
}

/// The embedding model that memory uses; `None` where there is none.
fn embedder() -> anyhow::Result<Option<Arc<dyn Embedder>>> {
    open_embedder().transpose().map_err(|reason| anyhow!("the embedding model cannot be used: {reason}"))
}
