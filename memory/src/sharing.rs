//! What notebooks that run side by side see of each other: the holder merges the others'
//! journals as they grow, the others read the facts the holder knows.

use std::collections::HashSet;
use std::time::SystemTime;

use crate::error::MemoryError;
use crate::event::{Entry, Event, FactKey};
use crate::journal;
use crate::known_facts;
use crate::records::{Fact, FactPlace, Mode};
use crate::state::State;

/// What this process has seen of the others.
#[derive(Default)]
pub(crate) struct Seen {
    /// Of all journals together, when they were last merged.
    journal_bytes: u64,
    facts_written: Option<SystemTime>,
    /// Facts that came from the holder.
    from_holder: HashSet<FactKey>,
    /// What was forgotten here, until the holder hears of it.
    forgotten: HashSet<FactKey>,
}

impl Seen {
    pub fn fact_forgotten(&mut self, fact: FactKey) {
        self.forgotten.insert(fact);
    }

    pub fn is_of_holder(&self, fact: &FactKey) -> bool {
        self.from_holder.contains(fact)
    }

    pub fn fact_remembered(&mut self, fact: &FactKey) {
        self.forgotten.remove(fact);
    }
}

/// What a fact is known by in all processes.
pub(crate) fn key_of(fact: &Fact) -> FactKey {
    FactKey::new(&fact.text, FactPlace::new(fact.scope, &fact.project))
}

impl State {
    /// Takes in what other processes wrote since the last look. What cannot be read now is
    /// left for the next time.
    pub fn refresh(&mut self) {
        let outcome = match self.mode {
            Mode::Durable => self.merge_journals(),
            Mode::Shared { .. } => {
                self.take_over().and_then(|holds| if holds { Ok(()) } else { self.take_facts_of_holder() })
            }
            Mode::InMemory => Ok(()),
        };
        self.take_vectors_of_holder_quietly();
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
        self.set_index_aside();
        self.publish_facts()
    }

    fn take_facts_of_holder(&mut self) -> Result<(), MemoryError> {
        let Some(database) = &self.database else { return Ok(()) };
        let written = known_facts::written(database);
        if written == self.seen.facts_written {
            return Ok(());
        }
        let published = known_facts::read(database, &self.vault);
        let key = |entry: &Entry| match &entry.event {
            Event::FactRemembered { text, details, .. } => Some(FactKey::new(text, details.place.clone())),
            _ => None,
        };
        let keys: HashSet<FactKey> = published.iter().filter_map(key).collect();
        let own: HashSet<FactKey> = self.store.facts()?.iter().map(key_of).collect();
        let gone = self.seen.from_holder.difference(&keys);
        let mut entries: Vec<Entry> =
            gone.map(|fact| Entry::now(Event::FactForgotten { fact: fact.clone() })).collect();
        let new =
            |entry: &Entry| key(entry).is_some_and(|key| !own.contains(&key) && !self.seen.forgotten.contains(&key));
        entries.extend(published.into_iter().filter(new));
        if !entries.is_empty() {
            self.store.commit(&entries)?;
            self.set_index_aside();
        }
        self.seen.from_holder = keys;
        self.seen.facts_written = written;
        Ok(())
    }
}
