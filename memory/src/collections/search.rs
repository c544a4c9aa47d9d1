//! Searching a collection: by words, by meaning, by both.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use codriver_vectors::{Admit, Vectors};

use crate::collections::database::Database;
use crate::collections::{Collection, Metadata, Progress, Record};
use crate::embedder::Embedder;
use crate::error::MemoryError;
use crate::index::fusion::{CANDIDATES, Fused, fuse};
use crate::index::lexical::{Lexical, WordHits};

/// How a search compares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Words and meaning, fused.
    #[default]
    Hybrid,
    /// Meaning, by the vectors' graph.
    Vector,
    /// Words.
    Lexical,
    /// Meaning, every vector compared.
    Exact,
}

/// What all of some queries have in common.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CollectionQuery {
    pub mode: Mode,
    /// How many to find.
    pub k: usize,
    /// Only documents whose metadata has these values.
    pub filter: Vec<(String, String)>,
    /// With the documents' texts, not their identifiers only.
    pub texts: bool,
}

/// Something found in a collection.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectionHit {
    pub id: String,
    pub score: f32,
    pub cosine: Option<f32>,
    pub bm25: Option<f32>,
    /// Where texts were asked for.
    pub record: Option<Record>,
}

/// Queries embedded at once.
const BATCH: usize = 128;

impl Collection {
    /// The best for each of `queries`, best first. Meaning needs the embedder whose vectors the collection has.
    pub fn search(
        &self,
        queries: &[&str],
        embedder: Option<&dyn Embedder>,
        asked: &CollectionQuery,
        progress: Progress<'_>,
    ) -> Result<Vec<Vec<CollectionHit>>, MemoryError> {
        let by_meaning = asked.mode != Mode::Lexical;
        let embedder = match (by_meaning, embedder) {
            (false, _) => None,
            (true, Some(embedder)) => Some(embedder),
            (true, None) => return Err(MemoryError::NoEmbedder),
        };
        let database = self.database()?;
        let vectors = embedder.map(|embedder| self.vectors(&database, embedder)).transpose()?;
        let lexical = matches!(asked.mode, Mode::Hybrid | Mode::Lexical).then(|| self.indexes.lexical(&database)).transpose()?;
        let allowed = (!asked.filter.is_empty()).then(|| Allowed::read(&database, &asked.filter)).transpose()?;
        // Whoever writes need not wait for a long batch.
        drop(database);
        let mut found = Vec::with_capacity(queries.len());
        for batch in queries.chunks(BATCH) {
            if !progress(found.len(), queries.len()) {
                return Err(MemoryError::Stopped);
            }
            let embedded = embedder.map(|embedder| embedder.embed(batch).map_err(MemoryError::Embedder)).transpose()?;
            let search = Search { lexical: lexical.as_deref(), vectors: vectors.as_deref(), allowed: allowed.as_ref(), asked };
            found.extend(search.all(batch, embedded.as_deref())?);
        }
        progress(queries.len(), queries.len());
        named(&self.database()?, found, asked.texts)
    }

    /// Whether the last search found index files that are missing, damaged or old; [`Collection::refresh`] mends them.
    pub fn wants_refresh(&self) -> bool {
        self.indexes.stale()
    }

    fn vectors(&self, database: &Database, embedder: &dyn Embedder) -> Result<std::sync::Arc<Vectors>, MemoryError> {
        let vectors = self.indexes.vectors(database, embedder.name())?;
        if vectors.is_empty() && database.count()? > 0 {
            let others = database.models()?.into_iter().map(|(model, _)| model).collect();
            return Err(MemoryError::NotEmbedded { collection: self.name().to_owned(), model: embedder.name().to_owned(), others });
        }
        Ok(vectors)
    }
}

struct Search<'a> {
    lexical: Option<&'a Lexical>,
    vectors: Option<&'a Vectors>,
    allowed: Option<&'a Allowed>,
    asked: &'a CollectionQuery,
}

impl Search<'_> {
    /// On all processors.
    fn all(&self, queries: &[&str], embedded: Option<&[Vec<f32>]>) -> Result<Vec<Vec<Fused>>, MemoryError> {
        let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(queries.len())));
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(queries.len());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let position = next.fetch_add(1, Ordering::Relaxed);
                        let Some(query) = queries.get(position) else { break };
                        let vector = embedded.and_then(|vectors| vectors.get(position)).map(Vec::as_slice);
                        let found = self.one(query, vector.unwrap_or_default());
                        results.lock().unwrap_or_else(PoisonError::into_inner).push((position, found));
                    }
                });
            }
        });
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_unstable_by_key(|(position, _)| *position);
        results.into_iter().map(|(_, found)| found).collect()
    }

    fn one(&self, query: &str, vector: &[f32]) -> Result<Vec<Fused>, MemoryError> {
        let k = self.asked.k;
        let admit = self.allowed.map(|allowed| move |key: u64| allowed.contains(key));
        let by_words = |k: usize| match self.lexical {
            Some(lexical) => {
                let admit = admit.as_ref().map(|admit| admit as &dyn Fn(u64) -> bool);
                lexical.search(query, k, admit).map_err(|error| MemoryError::Index(error.to_string()))
            }
            None => Ok(WordHits::default()),
        };
        let Some(vectors) = self.vectors else {
            let words = by_words(k)?;
            return Ok(words.hits.iter().map(|hit| Fused { key: hit.key, score: hit.bm25, cosine: None, bm25: Some(hit.bm25) }).collect());
        };
        let admitted = match (self.allowed, &admit) {
            (Some(allowed), Some(admit)) => allowed.admit(vectors, admit),
            _ => Admit::All,
        };
        let by_meaning = |neighbours: Vec<codriver_vectors::Neighbour>| {
            let fused = |near: codriver_vectors::Neighbour| Fused { key: near.key, score: near.cosine, cosine: Some(near.cosine), bm25: None };
            neighbours.into_iter().map(fused).collect()
        };
        Ok(match self.asked.mode {
            Mode::Exact => by_meaning(vectors.exact(vector, k, &admitted)),
            Mode::Vector => by_meaning(vectors.search(vector, k, 0, &admitted)),
            Mode::Hybrid | Mode::Lexical => {
                let candidates = CANDIDATES.max(2 * k);
                let near = vectors.search(vector, candidates, 0, &admitted);
                let mut fused = fuse(&by_words(candidates)?, &near, &vectors.cosines(vector));
                fused.truncate(k);
                fused
            }
        })
    }
}

/// The slots that a filter lets through.
struct Allowed {
    bits: Vec<u64>,
    slots: Vec<u64>,
}

impl Allowed {
    fn read(database: &Database, filter: &[(String, String)]) -> Result<Self, MemoryError> {
        let mut slots = Vec::new();
        database.each_metadata(&mut |slot, metadata| {
            let metadata: Metadata = serde_json::from_str(metadata).unwrap_or_default();
            let fits = |(name, wanted): &(String, String)| match metadata.get(name) {
                Some(serde_json::Value::String(value)) => value == wanted,
                Some(serde_json::Value::Array(values)) => values.iter().any(|value| plain(value) == *wanted),
                Some(value) => plain(value) == *wanted,
                None => false,
            };
            if filter.iter().all(fits) {
                slots.push(slot);
            }
        })?;
        let mut bits = vec![0; slots.iter().max().map_or(0, |last| *last as usize / 64 + 1)];
        for slot in &slots {
            bits[*slot as usize / 64] |= 1 << (slot % 64);
        }
        Ok(Self { bits, slots })
    }

    fn contains(&self, slot: u64) -> bool {
        self.bits.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// Few are compared one by one: a walk would pass by too many others.
    fn admit<'a>(&'a self, vectors: &Vectors, admit: &'a dyn Fn(u64) -> bool) -> Admit<'a> {
        let share = self.slots.len() as f32 / vectors.len().max(1) as f32;
        match share < 0.1 || self.slots.len() < codriver_vectors::EXACT_BELOW {
            true => Admit::Keys(&self.slots),
            false => Admit::Share(admit, share),
        }
    }
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Slots become identifiers and, where asked for, records.
fn named(database: &Database, found: Vec<Vec<Fused>>, texts: bool) -> Result<Vec<Vec<CollectionHit>>, MemoryError> {
    let slots: Vec<u64> = found.iter().flatten().map(|fused| fused.key).collect();
    let mut records: HashMap<u64, Record> = HashMap::new();
    if texts {
        records = database.records(&slots)?;
    }
    let few = slots.len() <= 2000;
    let names = if texts { HashMap::new() } else { database.identifiers(few.then_some(slots.as_slice()))? };
    let hit = |fused: Fused| {
        let record = records.get(&fused.key).cloned();
        let id = record.as_ref().map(|record| record.id.clone()).or_else(|| names.get(&fused.key).cloned())?;
        Some(CollectionHit { id, score: fused.score, cosine: fused.cosine, bm25: fused.bm25, record })
    };
    Ok(found.into_iter().map(|hits| hits.into_iter().filter_map(hit).collect()).collect())
}
