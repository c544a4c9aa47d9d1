//! What search looks at: documents, their words and their vectors. A cache of the databases,
//! built at the first search and kept up with afterwards.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use chrono::{DateTime, Utc};
use codriver_vectors::{Admit, Generation, GenerationError, Snapshot, Vectors};

use crate::event::digest;
use crate::index::ranking::{Relevance, diversified, weight};
use crate::index::words::each_word;
use crate::records::{Hit, Scope, SearchOptions};

pub(crate) mod archive;
pub(crate) mod fusion;
pub(crate) mod lexical;
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

/// Candidates that words and meaning each give, at least.
const CANDIDATES: usize = 200;

#[derive(Default)]
pub(crate) struct Index {
    /// Whose vectors these are.
    pub model: Option<String>,
    /// `None` where a document was removed.
    slots: Vec<Option<Slot>>,
    /// Word -> slots it occurs in, with how often. Removed slots stay until the next rebuild.
    postings: HashMap<String, Vec<(u32, u32)>>,
    alive: usize,
    total_length: u64,
    /// Which slots have a content.
    places: HashMap<u64, Vec<u32>>,
    /// By content; made with the first.
    vectors: Option<Vectors>,
    /// Contents that the embedder was asked for and gave nothing usable.
    unusable: HashSet<u64>,
    /// Slots whose contents may be without vectors, in order.
    waiting: Vec<u32>,
    /// Where a graph over the vectors comes from, while one is built.
    graph: Graph,
}

/// Comparing every vector takes long once there are many; a graph is built beside the searches, which go on without.
#[derive(Default)]
enum Graph {
    #[default]
    Idle,
    Building(Receiver<Generation>),
    /// Not tried again: searches stay exact.
    Failed,
}

struct Slot {
    document: Document,
    content: String,
    length: u32,
}

impl Index {
    pub fn insert(&mut self, document: Document) {
        let slot = self.slots.len() as u32;
        let text = document.content();
        let mut counts: HashMap<String, u32> = HashMap::new();
        let mut length = 0;
        each_word(&text, |word| {
            match counts.get_mut(word) {
                Some(count) => *count += 1,
                None => drop(counts.insert(word.to_owned(), 1)),
            }
            length += 1;
        });
        for (word, count) in counts {
            self.postings.entry(word).or_default().push((slot, count));
        }
        let content = digest(&text);
        self.places.entry(key(&content)).or_default().push(slot);
        self.waiting.push(slot);
        self.alive += 1;
        self.total_length += u64::from(length);
        self.slots.push(Some(Slot { document, content, length }));
    }

    /// Removes the documents that match; the words of removed ones are cleared out when they
    /// are a third of all.
    pub fn remove(&mut self, matches: impl Fn(&Document) -> bool) {
        for (position, slot) in self.slots.iter_mut().enumerate() {
            if slot.as_ref().is_some_and(|slot| matches(&slot.document))
                && let Some(removed) = slot.take()
            {
                self.alive -= 1;
                self.total_length -= u64::from(removed.length);
                let content = key(&removed.content);
                if let Some(places) = self.places.get_mut(&content) {
                    places.retain(|place| *place as usize != position);
                    if places.is_empty() {
                        self.places.remove(&content);
                    }
                }
            }
        }
        if self.slots.len() > 64 && self.alive * 3 < self.slots.len() * 2 {
            let (model, vectors, graph) = (self.model.take(), self.vectors.take(), std::mem::take(&mut self.graph));
            let unusable = std::mem::take(&mut self.unusable);
            let slots = std::mem::replace(self, Self { model, vectors, unusable, graph, ..Self::default() }).slots;
            slots.into_iter().flatten().for_each(|slot| self.insert(slot.document));
        }
    }

    /// Contents that the embedder was not asked for yet, newest first.
    pub fn without_vectors(&mut self, limit: usize) -> Vec<(Scope, String, String)> {
        self.tend_graph();
        let (mut seen, mut found, mut kept) = (HashSet::new(), Vec::new(), Vec::new());
        while found.len() < limit
            && let Some(position) = self.waiting.pop()
        {
            let Some(slot) = self.slots.get(position as usize).and_then(Option::as_ref) else { continue };
            let content = key(&slot.content);
            if self.unusable.contains(&content) || self.vectors.as_ref().is_some_and(|vectors| vectors.get(content).is_some()) {
                continue;
            }
            // It waits until there is a vector: the embedder may fail.
            kept.push(position);
            if seen.insert(content) {
                found.push((slot.document.scope, slot.content.clone(), slot.document.content()));
            }
        }
        self.waiting.extend(kept.into_iter().rev());
        found
    }

    /// How many contents have a vector or can have none, of how many.
    pub fn coverage(&self) -> (usize, usize) {
        let done = |content: &&u64| {
            self.unusable.contains(content) || self.vectors.as_ref().is_some_and(|vectors| vectors.get(**content).is_some())
        };
        (self.places.keys().filter(done).count(), self.places.len())
    }

    /// That of a content, by digest.
    pub fn vector(&self, content: &str) -> Option<&[f32]> {
        self.vectors.as_ref()?.get(key(content))
    }

    /// False if it had one.
    pub fn set_vector(&mut self, content: String, vector: &[f32]) -> bool {
        let content = key(&content);
        let vectors = match &mut self.vectors {
            Some(vectors) if !vectors.is_empty() || vectors.dimensions() == vector.len() => vectors,
            vectors => vectors.insert(Vectors::new(vector.len())),
        };
        if self.unusable.contains(&content) || vectors.get(content).is_some() {
            return false;
        }
        if !vectors.insert(content, vector) {
            self.unusable.insert(content);
        }
        true
    }

    /// Of all documents, by digest.
    pub fn contents(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().flatten().map(|slot| slot.content.as_str())
    }

    pub fn remove_vectors(&mut self, contents: &[String]) {
        for content in contents.iter().map(|content| key(content)) {
            self.unusable.remove(&content);
            if let Some(vectors) = &mut self.vectors {
                vectors.remove(content);
            }
        }
    }

    /// Goes over to a graph that is finished, and begins one where it would pay.
    fn tend_graph(&mut self) {
        let Some(vectors) = &mut self.vectors else { return };
        match &self.graph {
            Graph::Building(graph) => match graph.try_recv() {
                Ok(generation) => {
                    vectors.adopt(generation);
                    self.graph = Graph::Idle;
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => self.graph = Graph::Failed,
            },
            Graph::Idle if vectors.wants_generation() => {
                let snapshot = vectors.snapshot();
                let (sender, receiver) = channel();
                let build = move || match in_memory(&snapshot) {
                    // Nobody waits for it where memory was closed meanwhile.
                    Ok(generation) => drop(sender.send(generation)),
                    Err(error) => tracing::warn!(%error, "every vector is compared at each search"),
                };
                let spawned = std::thread::Builder::new().name("codriver-vectors".to_owned()).spawn(build);
                self.graph = spawned.map_or(Graph::Failed, |_| Graph::Building(receiver));
            }
            Graph::Idle | Graph::Failed => {}
        }
    }

    /// The best `k` documents for a query, best first; newer ones first among equals, and what says nearly the same as
    /// a better one later.
    pub fn search(&self, query: &str, query_vector: Option<&[f32]>, k: usize, options: &SearchOptions) -> Vec<Hit> {
        let candidates = CANDIDATES.max(4 * k);
        let admitted = |slot: u32| {
            let slot = self.slots.get(slot as usize).and_then(Option::as_ref);
            slot.is_some_and(|slot| options.admits(slot.document.kind, &slot.document.origin))
        };
        let words = self.bm25(query, candidates, &admitted);
        let near = self.near(query_vector, candidates, &admitted);
        let cosines = self.vectors.as_ref().zip(query_vector).map(|(vectors, vector)| vectors.cosines(vector));
        let mut found: HashMap<u32, Relevance> = HashMap::new();
        for (slot, cosine) in near {
            found.insert(slot, Relevance { slot, cosine: Some(cosine), bm25: None, score: 0.0, weight: 1.0 });
        }
        for (slot, bm25) in words.scores {
            let cosine = || cosines.as_ref().and_then(|cosine| cosine(key(&self.slot(slot)?.content)));
            found.entry(slot).or_insert_with(|| Relevance { slot, cosine: cosine(), bm25: None, score: 0.0, weight: 1.0 }).bm25 = Some(bm25);
        }
        let now = Utc::now();
        let mut ranked: Vec<Relevance> = found.into_values().collect();
        for relevance in &mut ranked {
            let share = relevance.bm25.map_or(0.0, |score| (score / words.ideal).min(1.0));
            // What has no vector yet counts by its words.
            let base = relevance.cosine.map_or(share, |meaning| (share + meaning.max(0.0)) / 2.0);
            relevance.weight = self.slot(relevance.slot).map_or(1.0, |slot| weight(&slot.document, now));
            relevance.score = (base * relevance.weight).min(1.0);
        }
        ranked.retain(|relevance| relevance.score > 0.0);
        ranked.sort_by(|one, other| other.score.total_cmp(&one.score).then(other.slot.cmp(&one.slot)));
        let mut seen = HashSet::new();
        // The same text may be remembered for the session and for good, or be said twice.
        ranked.retain(|relevance| self.slot(relevance.slot).is_some_and(|slot| seen.insert((slot.document.kind, &slot.content))));
        let vector = |slot: u32| self.vectors.as_ref()?.get(key(&self.slot(slot)?.content));
        diversified(ranked, k, &vector).into_iter().filter_map(|relevance| self.hit(&relevance)).collect()
    }

    fn hit(&self, relevance: &Relevance) -> Option<Hit> {
        let document = &self.slot(relevance.slot)?.document;
        Some(Hit {
            id: document.id.clone(),
            kind: document.kind,
            scope: document.scope,
            origin: document.origin.clone(),
            title: document.title.clone(),
            text: document.text.clone(),
            score: relevance.score,
            weight: relevance.weight,
            cosine: relevance.cosine,
            bm25: relevance.bm25,
        })
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// Slots near a vector, with their cosines.
    fn near(&self, vector: Option<&[f32]>, count: usize, admitted: &dyn Fn(u32) -> bool) -> Vec<(u32, f32)> {
        let (Some(vectors), Some(vector)) = (&self.vectors, vector) else { return Vec::new() };
        let admit = |content: u64| self.places.get(&content).is_some_and(|places| places.iter().any(|place| admitted(*place)));
        let near = vectors.search(vector, count, 0, &Admit::Share(&admit, 1.0));
        let places = |near: codriver_vectors::Neighbour| {
            let places = self.places.get(&near.key).map(Vec::as_slice).unwrap_or_default();
            places.iter().filter(|place| admitted(**place)).map(move |place| (*place, near.cosine))
        };
        near.into_iter().flat_map(places).collect()
    }

    fn bm25(&self, query: &str, count: usize, admitted: &dyn Fn(u32) -> bool) -> Bm25 {
        let average_length = self.total_length as f32 / self.alive.max(1) as f32;
        let mut query_words: HashSet<String> = HashSet::new();
        each_word(query, |word| {
            query_words.insert(word.to_owned());
        });
        let mut scores = vec![0.0f32; if query_words.is_empty() { 0 } else { self.slots.len() }];
        let mut ideal = 0.0;
        for word in &query_words {
            let postings = self.postings.get(word).map(Vec::as_slice).unwrap_or_default();
            let containing = postings.iter().filter(|(slot, _)| self.slot(*slot).is_some()).count();
            // A word that is nowhere counts as a rare one: a query it belongs to is not wholly met.
            let rarity = ranking::inverse_document_frequency(self.alive, containing.max(1));
            ideal += rarity;
            for (slot, count) in postings {
                if let (Some(Some(at)), Some(score)) = (self.slots.get(*slot as usize), scores.get_mut(*slot as usize)) {
                    *score += rarity * ranking::saturation(*count, at.length, average_length);
                }
            }
        }
        let mut best: Vec<(u32, f32)> =
            (0..).zip(scores).filter(|(slot, score)| *score > 0.0 && admitted(*slot)).collect();
        if best.len() > count {
            best.select_nth_unstable_by(count, |one, other| other.1.total_cmp(&one.1).then(other.0.cmp(&one.0)));
            best.truncate(count);
        }
        Bm25 { scores: best, ideal }
    }
}

/// On one thread: a person may be working on the others.
fn in_memory(snapshot: &Snapshot) -> Result<Generation, GenerationError> {
    let bytes = snapshot.build(0, 1, &|_| true, |built| built.bytes())?;
    Generation::from_bytes(&bytes, Path::new("the vectors in memory"))
}

/// A content's number among vectors: the beginning of its digest.
fn key(digest: &str) -> u64 {
    digest.get(..16).and_then(|start| u64::from_str_radix(start, 16).ok()).unwrap_or_default()
}

struct Bm25 {
    /// Slots with their scores.
    scores: Vec<(u32, f32)>,
    /// Of a document of average length with each word of the query once.
    ideal: f32,
}
