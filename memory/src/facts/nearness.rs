//! Whether a fact says in other words what another one says. Vectors tell, and nobody waits long for them: where the
//! embedder takes its time, a fact is kept by what its words say, and looked at again when its vector is there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::embedder::Embedder;
use crate::embedding::embed;
use crate::error::MemoryError;
use crate::event::{Entry, Event, FactDetails, digest};
use crate::facts::known::Reading;
use crate::facts::statement::Relation;
use crate::memory::Memory;
use crate::records::{Fact, FactId, Scope, SearchOptions};
use crate::sharing::key_of;
use crate::state::State;

/// So long a fact waits for its vector before it is kept.
const PATIENCE: Duration = Duration::from_secs(1);

/// Facts closer than this are one, if their words agree too.
const SAME_MEANING: f32 = 0.92;

/// How many facts of close meaning are looked at.
const NEIGHBOURS: usize = 5;

/// A fact's vector, and who made it.
pub(super) struct FactVector {
    embedder: Arc<dyn Embedder>,
    vector: Option<Vec<f32>>,
}

/// Says that an embedder is asked, as long as it lives.
struct Asking(Arc<AtomicBool>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Memory {
    /// A fact's vector, if it comes soon; `None` without an embedder. One that has not answered yet is not asked for more.
    pub(super) fn vector_soon(&self, text: &str) -> Option<FactVector> {
        let embedder = self.embedder()?;
        let late = FactVector { embedder: Arc::clone(&embedder), vector: None };
        let begin = Instant::now();
        while self.asking.swap(true, Ordering::SeqCst) {
            if begin.elapsed() > PATIENCE {
                return Some(late);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let asking = Asking(Arc::clone(&self.asking));
        let (text, (sender, receiver)) = (text.to_owned(), channel());
        let ask = move || {
            let vectors = embed(&*embedder, &[&text]);
            drop(asking);
            // Nobody waits for it where it took too long.
            drop(sender.send(vectors));
        };
        let spawned = std::thread::Builder::new().name("codriver-fact".to_owned()).spawn(ask);
        let vectors = spawned.ok().and_then(|_| receiver.recv_timeout(PATIENCE.saturating_sub(begin.elapsed())).ok());
        let vectors = vectors.and_then(|vectors| vectors.inspect_err(|error| tracing::warn!(%error)).ok());
        Some(FactVector { vector: vectors.and_then(|mut vectors| vectors.pop()), ..late })
    }
}

impl State {
    /// Facts whose meaning is close to that of a new one.
    pub(super) fn neighbours(&mut self, text: &str, vector: Option<&FactVector>) -> HashSet<String> {
        let Some(FactVector { embedder, vector: Some(vector) }) = vector else { return HashSet::new() };
        self.near_facts(&**embedder, text, vector).unwrap_or_else(|error| {
            tracing::warn!(%error);
            HashSet::new()
        })
    }

    fn near_facts(
        &mut self,
        embedder: &dyn Embedder,
        text: &str,
        vector: &[f32],
    ) -> Result<HashSet<String>, MemoryError> {
        if self.known()?.facts.is_empty() {
            return Ok(HashSet::new());
        }
        let options = SearchOptions { kinds: vec!["fact"], ..SearchOptions::default() };
        let hits = self.find(Some(embedder), text, Some(vector), NEIGHBOURS, &options)?;
        Ok(hits
            .into_iter()
            .filter(|hit| hit.cosine.is_some_and(|cosine| cosine >= SAME_MEANING))
            .map(|hit| hit.id)
            .collect())
    }

    /// After a fact was kept: its vector is, too, or is waited for. What was kept is kept either way.
    pub(super) fn keep_vector_of(&mut self, id: &FactId, text: &str, scope: Scope, vector: Option<FactVector>) {
        let Some(FactVector { embedder, vector }) = vector else { return };
        let content = digest(text);
        let kept = match vector {
            Some(vector) => self.keep_vectors(&*embedder, std::iter::once(((scope, content, text.to_owned()), vector))),
            None => {
                self.undecided.insert(content, id.clone());
                Ok(())
            }
        };
        kept.unwrap_or_else(|error| tracing::warn!(%error));
    }

    /// Vectors came: facts that were kept before theirs take the place of what they say in other words.
    pub fn decide_late(&mut self, embedder: &dyn Embedder, contents: &[String]) -> Result<(), MemoryError> {
        for id in contents.iter().filter_map(|content| self.undecided.remove(content)).collect::<Vec<_>>() {
            let known = self.known()?;
            let Some(fact) = known.get(&id) else { continue };
            let vector = self.index_for(Some(embedder))?.vector(&digest(&fact.text)).map(<[f32]>::to_vec);
            let Some(vector) = vector else { continue };
            let neighbours = self.near_facts(embedder, &fact.text, &vector)?;
            let reading = Reading::of(&fact.text);
            let repeated = known.candidates(&reading, &neighbours).filter(|(old, said)| {
                old.id != fact.id
                    && (old.scope, &old.project) == (fact.scope, &fact.project)
                    && old.created_at <= fact.created_at
                    && says_the_same(&fact.text, &reading.relation(said), old, &neighbours)
            });
            let repeated: Vec<Fact> = repeated.map(|(old, _)| old.clone()).collect();
            if repeated.is_empty() {
                continue;
            }
            let details = FactDetails { supersedes: repeated.iter().map(key_of).collect(), ..FactDetails::of(fact) };
            let event = Event::FactRemembered { id, text: fact.text.clone(), source: fact.source.clone(), details };
            self.record_in(fact.scope, Entry::now(event))?;
            if !fact.pinned && repeated.iter().any(|old| old.pinned) {
                self.record_in(fact.scope, Entry::now(Event::FactPinned { fact: key_of(fact), pinned: true }))?;
            }
            for old in &repeated {
                self.seen.fact_forgotten(key_of(old));
                self.fact_gone(old)?;
            }
        }
        Ok(())
    }
}

/// By what it says of what, or by its meaning: then most words, every number and every name have to agree too.
pub(super) fn says_the_same(text: &str, relation: &Relation, old: &Fact, neighbours: &HashSet<String>) -> bool {
    match relation {
        Relation::Same => true,
        Relation::Contradiction(_) => false,
        Relation::Unrelated => neighbours.contains(old.id.as_str()) && words_agree(text, &old.text),
    }
}

fn words_agree(one: &str, other: &str) -> bool {
    let words = |text: &str| -> HashMap<String, bool> {
        let words = text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty());
        // The first word has a capital whatever it is.
        let strict = |(position, word): (usize, &str)| {
            let special = word.chars().any(|character| character.is_ascii_digit())
                || (position > 0 && word.chars().next().is_some_and(char::is_uppercase));
            (word.to_lowercase(), special)
        };
        words.enumerate().map(strict).collect()
    };
    const DENIALS: [&str; 6] = ["not", "no", "never", "without", "t", "longer"];
    let (one, other) = (words(one), words(other));
    let missing = |from: &HashMap<String, bool>, of: &HashMap<String, bool>| {
        from.iter().any(|(word, special)| (*special || DENIALS.contains(&word.as_str())) && !of.contains_key(word))
    };
    let common = one.keys().filter(|word| other.contains_key(*word)).count();
    let all = one.len() + other.len() - common;
    !missing(&one, &other) && !missing(&other, &one) && common * 2 >= all
}
