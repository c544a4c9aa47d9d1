//! The facts the holder of the database knows, in a file beside it, so that a second process
//! can recall them too. A cache: rewritten from the database, never read back into it.

use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

use fs_err::OpenOptions;
use serde::{Deserialize, Serialize};

use crate::event::{Entry, Event, FactDetails};
use crate::journal::{beside, replace};
use crate::records::{Fact, FactId};
use crate::vault::Vault;

/// What the file is bound to where it is encrypted.
const ASSOCIATED: &[u8] = b"known facts";

#[derive(Serialize, Deserialize)]
struct KnownFact {
    id: FactId,
    text: String,
    source: String,
    at: i64,
    #[serde(default)]
    details: FactDetails,
}

/// Replaces the file as a whole, so that a reader never sees half of it. Gives its length.
pub(crate) fn write(database: &Path, vault: &Vault, facts: &[Fact]) -> Option<u64> {
    let attempt = || {
        let mut bytes = Vec::new();
        for fact in facts {
            serde_json::to_writer(&mut bytes, &KnownFact::from(fact))?;
            bytes.push(b'\n');
        }
        replace(&beside(database, "facts.jsonl"), vault, &bytes, ASSOCIATED)
    };
    let written: std::io::Result<u64> = attempt();
    written.inspect_err(|error| tracing::warn!(%error, "other notebooks will not see the newest facts")).ok()
}

/// Adds one fact to a file of which this process wrote `length` bytes; gives how many there are then. `None` where that
/// cannot be: then it is replaced. A reader leaves out a line that is not whole yet, and looks again.
pub(crate) fn append(database: &Path, vault: &Vault, fact: &Fact, length: u64) -> Option<u64> {
    if vault.is_on() {
        return None;
    }
    let mut line = serde_json::to_vec(&KnownFact::from(fact)).ok()?;
    line.push(b'\n');
    let mut file = OpenOptions::new().append(true).open(beside(database, "facts.jsonl")).ok()?;
    if file.metadata().ok()?.len() != length {
        return None;
    }
    file.write_all(&line).ok()?;
    Some(length + line.len() as u64)
}

/// When the file was last replaced.
pub(crate) fn written(database: &Path) -> Option<SystemTime> {
    fs_err::metadata(beside(database, "facts.jsonl")).and_then(|metadata| metadata.modified()).ok()
}

/// The facts as changes to an empty database; nothing where there is no such file.
pub(crate) fn read(database: &Path, vault: &Vault) -> Vec<Entry> {
    let bytes = fs_err::read(beside(database, "facts.jsonl")).unwrap_or_default();
    let plain = vault.open(&bytes, ASSOCIATED).unwrap_or_default();
    let facts = plain.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<KnownFact>(line).ok());
    let entry = |fact: KnownFact| {
        let event = Event::FactRemembered { id: fact.id, text: fact.text, source: fact.source, details: fact.details };
        Entry { at: fact.at, event }
    };
    facts.map(entry).collect()
}

impl From<&Fact> for KnownFact {
    fn from(fact: &Fact) -> Self {
        let (text, source) = (fact.text.clone(), fact.source.clone());
        Self {
            id: fact.id.clone(),
            text,
            source,
            at: fact.created_at.timestamp_micros(),
            details: FactDetails::of(fact),
        }
    }
}
