//! What was run, in this session and in earlier ones.
//!
//! One file per user, shared by its kernels.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use codriver_memory::{Redactor, Vault};
use globset::GlobBuilder;

mod file;

use file::HistoryFile;

/// The inputs of this session and of those before it.
pub struct History {
    file: Option<HistoryFile>,
    session: u64,
    earlier: Vec<HistoryEntry>,
    current: Vec<HistoryEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    pub session: u64,
    pub line: u32,
    pub input: String,
}

/// Entries of earlier sessions that are read at the start; older ones stay in the file.
const EARLIER_ENTRIES: usize = 10_000;

impl History {
    /// For a session that leaves nothing behind.
    pub fn in_memory() -> Self {
        Self { file: None, session: 1, earlier: Vec::new(), current: Vec::new() }
    }

    /// Reads the file in `folder`; one that is missing or unreadable is an empty history. Its lines are sealed as memory
    /// is; a file that is not is written anew.
    pub fn open(folder: &Path, vault: Vault, redactor: Arc<Redactor>) -> Self {
        let (file, mut earlier) = match HistoryFile::open(folder, vault, redactor) {
            Ok(opened) => opened,
            Err(error) => {
                tracing::warn!("history is not kept: {error}");
                return Self::in_memory();
            }
        };
        let last = earlier.iter().map(|entry| entry.session).max().unwrap_or(0);
        if earlier.len() > EARLIER_ENTRIES {
            earlier.drain(..earlier.len() - EARLIER_ENTRIES);
        }
        // Two kernels may start from the same file: the clock keeps their numbers apart, and
        // never behind what is there.
        let clock = u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or(0);
        Self { file: Some(file), session: clock.max(last + 1), earlier, current: Vec::new() }
    }

    /// Writes a second file, sealed with `new`, beside the one in `folder`, which is sealed with `old`: the next that
    /// opens the history with `new` takes it.
    pub fn prepare(folder: &Path, old: &Vault, new: &Vault, redactor: &Redactor) -> std::io::Result<()> {
        file::prepare(folder, old, new, redactor)
    }

    /// The number of this session.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// Remembers one input, on disk before it returns: there without secrets.
    pub fn append(&mut self, line: u32, input: &str) {
        let entry = HistoryEntry { session: self.session, line, input: input.to_owned() };
        if let Some(file) = &self.file
            && let Err(error) = file.append(&entry)
        {
            tracing::warn!("history entry not written: {error}");
        }
        self.current.push(entry);
    }

    /// The last `count` inputs, oldest first.
    pub fn tail(&self, count: usize) -> Vec<HistoryEntry> {
        let mut entries: Vec<_> = self.newest_first().take(count).cloned().collect();
        entries.reverse();
        entries
    }

    /// Lines `start..stop` of a session: 0 is this one, negative numbers count back from it.
    pub fn range(&self, session: i64, start: u32, stop: Option<u32>) -> Vec<HistoryEntry> {
        let Some(session) = self.resolve_session(session) else { return Vec::new() };
        self.earlier
            .iter()
            .chain(&self.current)
            .filter(|entry| entry.session == session)
            .filter(|entry| entry.line >= start && stop.is_none_or(|stop| entry.line < stop))
            .cloned()
            .collect()
    }

    /// Inputs that match a glob as a whole, oldest first; the newest `count` of them.
    pub fn search(&self, pattern: &str, count: Option<usize>, unique: bool) -> Vec<HistoryEntry> {
        let Ok(glob) = GlobBuilder::new(pattern).literal_separator(false).build() else { return Vec::new() };
        let matcher = glob.compile_matcher();
        let mut seen = HashSet::new();
        let mut entries: Vec<_> = self
            .newest_first()
            .filter(|entry| matcher.is_match(&entry.input))
            .filter(|entry| !unique || seen.insert(entry.input.as_str()))
            .take(count.unwrap_or(usize::MAX))
            .cloned()
            .collect();
        entries.reverse();
        entries
    }

    fn newest_first(&self) -> impl Iterator<Item = &HistoryEntry> {
        self.current.iter().rev().chain(self.earlier.iter().rev())
    }

    fn resolve_session(&self, session: i64) -> Option<u64> {
        if session > 0 {
            return u64::try_from(session).ok();
        }
        if session == 0 {
            return Some(self.session);
        }
        let mut sessions: Vec<u64> = self.earlier.iter().map(|entry| entry.session).collect();
        sessions.dedup();
        let back = usize::try_from(session.unsigned_abs()).ok()?;
        sessions.len().checked_sub(back).and_then(|index| sessions.get(index).copied())
    }
}
