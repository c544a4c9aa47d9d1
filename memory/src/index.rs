//! What search looks at: documents, their words and their vectors. A cache of the databases,
//! built at the first search and kept up with afterwards.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use crate::event::digest;
use crate::index::ranking::{Ranked, best};
use crate::index::words::words;
use crate::records::{Hit, Scope, SearchOptions};

pub(crate) mod ranking;
pub(crate) mod words;

/// Something that can be found.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub kind: &'static str,
    pub scope: Scope,
    pub id: String,
    pub origin: String,
    pub title: String,
    pub text: String,
    /// When it was said, learned or read; `None` where that is not known.
    pub created_at: Option<DateTime<Utc>>,
    /// From 0 to 1; [`Document::USUAL`] where nobody said.
    pub importance: f32,
    /// Always worth finding.
    pub pinned: bool,
    /// Whose it is, where it is a project's.
    pub project: Option<String>,
}

impl Document {
    /// The importance of what nobody weighed.
    pub const USUAL: f32 = 0.5;

    /// What is compared with a query. A message's title is only who said it.
    pub fn content(&self) -> String {
        if self.kind == "chunk" { format!("{}\n{}", self.title, self.text).trim_start().to_owned() } else { self.text.clone() }
    }
}

#[derive(Default)]
pub(crate) struct Index {
    /// Whose vectors these are.
    pub model: Option<String>,
    /// `None` where a document was removed.
    slots: Vec<Option<Slot>>,
    /// Word -> slots it occurs in, with how often. Removed slots stay until the next rebuild.
    postings: HashMap<String, Vec<(usize, u32)>>,
    alive: usize,
    total_length: u64,
    /// By content. `None`: the embedder was asked and gave nothing usable.
    vectors: HashMap<String, Option<Vec<f32>>>,
}

struct Slot {
    document: Document,
    content: String,
    length: u32,
}

impl Index {
    pub fn insert(&mut self, document: Document) {
        let slot = self.slots.len();
        let content = document.content();
        let mut counts: HashMap<String, u32> = HashMap::new();
        let mut length = 0;
        for word in words(&content) {
            *counts.entry(word).or_default() += 1;
            length += 1;
        }
        for (word, count) in counts {
            self.postings.entry(word).or_default().push((slot, count));
        }
        self.alive += 1;
        self.total_length += u64::from(length);
        self.slots.push(Some(Slot { document, content: digest(&content), length }));
    }

    /// Removes the documents that match; the words of removed ones are cleared out when they
    /// are a third of all.
    pub fn remove(&mut self, matches: impl Fn(&Document) -> bool) {
        for slot in &mut self.slots {
            if slot.as_ref().is_some_and(|slot| matches(&slot.document)) {
                self.alive -= 1;
                self.total_length -= slot.take().map_or(0, |slot| u64::from(slot.length));
            }
        }
        if self.slots.len() > 64 && self.alive * 3 < self.slots.len() * 2 {
            let (model, vectors) = (self.model.take(), std::mem::take(&mut self.vectors));
            let slots = std::mem::replace(self, Self { model, vectors, ..Self::default() }).slots;
            slots.into_iter().flatten().for_each(|slot| self.insert(slot.document));
        }
    }

    /// Contents that the embedder was not asked for yet, newest first.
    pub fn without_vectors(&self, limit: usize) -> Vec<(Scope, String, String)> {
        let mut seen = HashSet::new();
        let missing = self.slots.iter().rev().flatten().filter(|slot| !self.vectors.contains_key(&slot.content));
        missing
            .filter(|slot| seen.insert(&slot.content))
            .take(limit)
            .map(|slot| (slot.document.scope, slot.content.clone(), slot.document.content()))
            .collect()
    }

    /// False if it had one.
    pub fn set_vector(&mut self, content: String, vector: &[f32]) -> bool {
        self.vectors.insert(content, ranking::unit(vector)).is_none()
    }

    /// Of all documents, by digest.
    pub fn contents(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().flatten().map(|slot| slot.content.as_str())
    }

    pub fn remove_vectors(&mut self, contents: &[String]) {
        for content in contents {
            self.vectors.remove(content);
        }
    }

    /// The best `k` documents for a query, best first; newer ones first among equals.
    pub fn search(&self, query: &str, query_vector: Option<&[f32]>, k: usize, options: &SearchOptions) -> Vec<Hit> {
        let bm25 = self.bm25(&words(query));
        let query_vector = query_vector.and_then(ranking::unit);
        let admitted = |slot: &&Slot| options.admits(slot.document.kind, &slot.document.origin);
        let ranked = self.slots.iter().enumerate().filter_map(|(position, slot)| {
            let slot = slot.as_ref().filter(admitted)?;
            let vector = self.vectors.get(&slot.content).and_then(Option::as_deref);
            let cosine = query_vector.as_deref().zip(vector).and_then(|(one, other)| ranking::cosine(one, other));
            let words = bm25.scores.get(&position).copied();
            let share = words.map_or(0.0, |score| (score / bm25.ideal).min(1.0));
            let score = if query_vector.is_some() { (share + cosine.unwrap_or(0.0).max(0.0)) / 2.0 } else { share };
            (score > 0.0).then_some(Ranked { position, score, cosine, bm25: words })
        });
        let mut seen = HashSet::new();
        let hit = |ranked: Ranked| {
            let slot = self.slots.get(ranked.position)?.as_ref()?;
            // The same text may be remembered for the session and for good, or be said twice.
            seen.insert((slot.document.kind, &slot.content)).then(|| Hit {
                id: slot.document.id.clone(),
                kind: slot.document.kind,
                scope: slot.document.scope,
                origin: slot.document.origin.clone(),
                title: slot.document.title.clone(),
                text: slot.document.text.clone(),
                score: ranked.score,
                cosine: ranked.cosine,
                bm25: ranked.bm25,
            })
        };
        best(ranked.collect()).into_iter().filter_map(hit).take(k).collect()
    }

    fn bm25(&self, query: &[String]) -> Bm25 {
        let average_length = self.total_length as f32 / self.alive.max(1) as f32;
        let mut scores: HashMap<usize, f32> = HashMap::new();
        let mut ideal = 0.0;
        for word in query.iter().collect::<HashSet<_>>() {
            let postings = self.postings.get(word).map(Vec::as_slice).unwrap_or_default();
            let occurrences: Vec<(usize, u32, u32)> = postings
                .iter()
                .filter_map(|(slot, count)| Some((*slot, *count, self.slots.get(*slot)?.as_ref()?.length)))
                .collect();
            // A word that is nowhere counts as a rare one: a query it belongs to is not wholly met.
            let rarity = ranking::inverse_document_frequency(self.alive, occurrences.len().max(1));
            ideal += rarity;
            for (slot, count, length) in occurrences {
                *scores.entry(slot).or_default() += rarity * ranking::saturation(count, length, average_length);
            }
        }
        Bm25 { scores, ideal }
    }
}

struct Bm25 {
    /// By slot.
    scores: HashMap<usize, f32>,
    /// Of a document of average length with each word of the query once.
    ideal: f32,
}
