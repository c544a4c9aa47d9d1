//! What notebooks that run side by side see of each other: the holder merges the others'
//! journals as they grow, the others read the facts the holder knows.

use std::collections::HashSet;
use std::time::SystemTime;

use crate::error::MemoryError;
use crate::event::{Entry, Event, fingerprint};
use crate::journal;
use crate::known_facts;
use crate::memory::State;
use crate::records::{Mode, Scope};

/// What this process has seen of the others.
#[derive(Default)]
pub(crate) struct Seen {
    /// Of all journals together, when they were last merged.
    journal_bytes: u64,
    facts_written: Option<SystemTime>,
    /// Fingerprints of the facts that came from the holder.
    from_holder: HashSet<String>,
    /// Fingerprints of what was forgotten here, until the holder hears of it.
    forgotten: HashSet<String>,
}

impl Seen {
    pub fn fact_forgotten(&mut self, text: &str) {
        self.forgotten.insert(fingerprint(text));
    }

    pub fn fact_remembered(&mut self, text: &str) {
        self.forgotten.remove(&fingerprint(text));
    }
}

impl State {
    /// Takes in what other processes wrote since the last look. What cannot be read now is
    /// left for the next time.
    pub fn refresh(&mut self) {
        let outcome = match self.mode {
            Mode::Durable => self.merge_journals(),
            Mode::Shared { .. } => self.take_facts_of_holder(),
            Mode::InMemory => Ok(()),
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "what other notebooks remembered was not taken in");
        }
    }

    fn merge_journals(&mut self) -> Result<(), MemoryError> {
        let Some(database) = &self.database else { return Ok(()) };
        let bytes = journal::total_bytes(database)?;
        if bytes == self.seen.journal_bytes {
            return Ok(());
        }
        self.pending_journals = journal::merge_all(database, &mut self.store)?;
        self.seen.journal_bytes = journal::total_bytes(database)?.min(bytes);
        self.index = None;
        self.publish_facts()
    }

    fn take_facts_of_holder(&mut self) -> Result<(), MemoryError> {
        let Some(database) = &self.database else { return Ok(()) };
        let written = known_facts::written(database);
        if written == self.seen.facts_written {
            return Ok(());
        }
        let published = known_facts::read(database);
        let text = |entry: &Entry| match &entry.event {
            Event::FactRemembered { text, .. } => Some(fingerprint(text)),
            _ => None,
        };
        let fingerprints: HashSet<String> = published.iter().filter_map(text).collect();
        let own: HashSet<String> = self.store.facts(Scope::Global)?.iter().map(|fact| fingerprint(&fact.text)).collect();
        let gone = self.seen.from_holder.difference(&fingerprints);
        let mut entries: Vec<Entry> =
            gone.map(|fingerprint| Entry::now(Event::FactForgotten { fingerprint: fingerprint.clone() })).collect();
        let new = |entry: &Entry| {
            text(entry).is_some_and(|fingerprint| !own.contains(&fingerprint) && !self.seen.forgotten.contains(&fingerprint))
        };
        entries.extend(published.into_iter().filter(new));
        if !entries.is_empty() {
            self.store.commit(&entries)?;
            self.index = None;
        }
        self.seen.from_holder = fingerprints;
        self.seen.facts_written = written;
        Ok(())
    }
}
