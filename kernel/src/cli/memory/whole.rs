//! All of memory as `verify`, `stats` and `rebuild` see it, beside the collections.

use chrono::{DateTime, Local};
use codriver_inference::store::size_text;
use codriver_memory::{Finding, Holdings, Memory, MemoryError};

use super::keeping::database;
use super::progress::Display;

/// What reading all of it found; nothing where there is no memory yet.
pub(super) fn findings() -> Vec<Finding> {
    let database = database();
    if !database.is_file() {
        return Vec::new();
    }
    Memory::check(&database, None)
        .unwrap_or_else(|error| vec![Finding::unsound("database", format!("not read: {error}"))])
}

/// `None` where there is no memory yet.
pub(super) fn holdings() -> Option<Result<Holdings, MemoryError>> {
    let database = database();
    database.is_file().then(|| Memory::holdings(&database, None))
}

pub(super) fn text(holdings: &Holdings) -> String {
    let Holdings { facts, conversations, turns, messages, tool_runs, documents, pieces, vectors, .. } = holdings;
    let encrypted = if holdings.encrypted { ", encrypted" } else { "" };
    let backup = match (&holdings.last_backup, holdings.last_backup_at) {
        (Some(file), Some(at)) => {
            format!("{}, {} ({} are kept)", local(at), file.display(), holdings.backups)
        }
        _ => "none yet; notebooks make one a day, `codriver memory backup` makes one now".to_owned(),
    };
    let rows = [
        ("memory", holdings.path.clone()),
        ("size", format!("{}{encrypted}", size_text(holdings.bytes))),
        ("used by", holdings.used_by.clone().unwrap_or_else(|| "nobody".to_owned())),
        ("facts", facts.to_string()),
        ("conversations", format!("{conversations} with {turns} turns, {messages} messages, {tool_runs} tool runs")),
        ("documents", format!("{documents} in {pieces} pieces")),
        ("vectors", vectors.to_string()),
        ("last backup", backup),
    ];
    rows.iter().map(|(name, value)| format!("{name:14} {value}\n")).collect()
}

/// False where a notebook has it.
pub(super) fn rebuild(display: &Display) -> anyhow::Result<bool> {
    let database = database();
    if !database.is_file() {
        return Ok(true);
    }
    let memory = Memory::open(&database, None)?;
    memory.take_notices().iter().for_each(|notice| display.say(notice));
    match display.under_bar("indexing memory", |progress| memory.rebuild_indexes(progress)) {
        Err(error @ MemoryError::Busy { .. }) => {
            eprintln!("codriver: memory's indexes stay as they are: {error}");
            Ok(false)
        }
        outcome => {
            outcome?;
            display.say("memory: the indexes are built anew");
            Ok(true)
        }
    }
}

fn local(at: DateTime<chrono::Utc>) -> String {
    at.with_timezone(&Local).format("%Y-%m-%d %H:%M").to_string()
}
