//! Searching a collection: by words, by meaning, by both.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::atomic::{self, AtomicUsize};
use std::sync::{Mutex, PoisonError};

use crate::collections::database::Database;
use crate::collections::filter::{Allowed, Condition};
use crate::collections::index::{Ranks, Staleness};
use crate::collections::windows::DocumentVectors;
use crate::collections::{Collection, Progress, Record};
use crate::embedder::Embedder;
use crate::error::MemoryError;
use crate::index::fusion::{CANDIDATES, Fused, WordHits, fuse};
use crate::index::lexical::{View, WordStatistics};

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
    /// Only documents whose metadata meets all of these.
    pub filter: Vec<Condition>,
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
    /// What [`rerank`](crate::rerank) gave it.
    pub reranker: Option<f32>,
    /// Where texts were asked for.
    pub record: Option<Record>,
}

/// Why a search by meaning, or by both, was one by words, in whole or in part; and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Shortfall {
    #[error(
        "found by words alone: there is no embedding model. `codriver model pull sentence-transformers/all-MiniLM-L6-v2` (or name a \
         folder in CODRIVER_EMBEDDING_MODEL), then `codriver memory rebuild --collection {collection}` embeds the documents"
    )]
    NoEmbedder { collection: String },
    #[error(
        "{} of the {documents} documents of {collection} have no vectors of {model} yet and are found by words alone{}; \
         `codriver memory rebuild --collection {collection}` embeds them",
        if missing == documents { "all".to_owned() } else { missing.to_string() },
        if others.is_empty() { String::new() } else { format!(" (there are vectors of {})", others.join(", ")) }
    )]
    Unembedded { collection: String, model: String, missing: usize, documents: usize, others: Vec<String> },
    #[error("found by words alone: the embedding model failed: {reason}")]
    Failed { reason: String },
}

/// Queries embedded at once.
const BATCH: usize = 128;

impl Collection {
    /// The best for each of `queries`, best first; for an empty one, none. Meaning needs the embedder whose vectors the
    /// collection has; [`Mode::Hybrid`] does with words where it has to, and [`Collection::shortfall`] says so.
    pub fn search(
        &self,
        queries: &[&str],
        embedder: Option<&dyn Embedder>,
        asked: &CollectionQuery,
        progress: Progress<'_>,
    ) -> Result<Vec<Vec<CollectionHit>>, MemoryError> {
        if embedder.is_none() && matches!(asked.mode, Mode::Vector | Mode::Exact) {
            return Err(MemoryError::NoEmbedder);
        }
        let embedder = embedder.filter(|_| asked.mode != Mode::Lexical);
        let database = self.database()?;
        let ranks = self.indexes.ranks(&database)?;
        let vectors = embedder.map(|embedder| self.indexes.vectors(&database, embedder.name())).transpose()?;
        let mut shortfall = match (embedder, &vectors) {
            (Some(embedder), Some(vectors)) => self.unembedded(&database, embedder, vectors, asked.mode)?,
            _ if asked.mode == Mode::Hybrid => Some(Shortfall::NoEmbedder { collection: self.name().to_owned() }),
            _ => None,
        };
        let vectors = vectors.filter(|vectors| !vectors.is_empty());
        let lexical =
            matches!(asked.mode, Mode::Hybrid | Mode::Lexical).then(|| self.indexes.lexical(&database)).transpose()?;
        let allowed = (!asked.filter.is_empty()).then(|| Allowed::read(&database, &asked.filter)).transpose()?;
        let allowed = match &vectors {
            Some(vectors) => allowed.map(|allowed| allowed.among(vectors)),
            None => allowed,
        };
        // Whoever writes need not wait for a long batch.
        drop(database);
        let lexical = lexical.map(|lexical| lexical.view()).transpose()?;
        let mut found = Vec::with_capacity(queries.len());
        for batch in queries.chunks(BATCH) {
            if !progress(found.len(), queries.len()) {
                return Err(MemoryError::Stopped);
            }
            let embedder = embedder.filter(|_| vectors.is_some());
            let embedded = match embedder.map(|embedder| embedder.embed(batch)).transpose() {
                Err(reason) if asked.mode == Mode::Hybrid => {
                    shortfall = Some(Shortfall::Failed { reason });
                    None
                }
                embedded => embedded.map_err(MemoryError::Embedder)?,
            };
            let vectors = vectors.as_deref().filter(|_| embedded.is_some());
            let (lexical, allowed) = (lexical.as_ref(), allowed.as_ref());
            let search = Search { lexical, vectors, allowed, ranks: &ranks, asked };
            found.extend(search.all(batch, embedded.as_deref())?);
        }
        progress(queries.len(), queries.len());
        *self.shortfall.lock().unwrap_or_else(PoisonError::into_inner) = shortfall;
        named(&self.database()?, found, asked.texts)
    }

    /// Whether the last search found index files that are missing, damaged or old; [`Collection::refresh`] mends them.
    pub fn wants_refresh(&self) -> bool {
        self.staleness().is_some()
    }

    /// What was the matter with the index files at the last search.
    pub fn staleness(&self) -> Option<Staleness> {
        self.indexes.stale()
    }

    /// Why the last search was one by words, in whole or in part, where more was asked for.
    pub fn shortfall(&self) -> Option<Shortfall> {
        self.shortfall.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn unembedded(
        &self,
        database: &Database,
        embedder: &dyn Embedder,
        vectors: &DocumentVectors,
        mode: Mode,
    ) -> Result<Option<Shortfall>, MemoryError> {
        if vectors.missing() == 0 {
            return Ok(None);
        }
        let (collection, model) = (self.name().to_owned(), embedder.name().to_owned());
        let others = database.models()?.into_iter().map(|(model, _)| model).filter(|other| *other != model).collect();
        if vectors.is_empty() && mode != Mode::Hybrid {
            return Err(MemoryError::NotEmbedded { collection, model, others });
        }
        let (missing, documents) = (vectors.missing(), database.count()?);
        Ok(Some(Shortfall::Unembedded { collection, model, missing, documents, others }))
    }
}

struct Search<'a> {
    lexical: Option<&'a View>,
    vectors: Option<&'a DocumentVectors>,
    allowed: Option<&'a Allowed>,
    ranks: &'a Ranks,
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
                        let position = next.fetch_add(1, atomic::Ordering::Relaxed);
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
        if query.trim().is_empty() {
            return Ok(Vec::new());
        }
        let k = self.asked.k;
        let order = |one: u64, other: u64| self.ranks.of(one).cmp(&self.ranks.of(other));
        let admit = |slot: u64| self.allowed.is_none_or(|allowed| allowed.contains(slot));
        let by_words = |k: usize| match self.lexical {
            Some(lexical) => words_of(lexical, query, k, &admit, &order),
            None => Ok(WordHits::default()),
        };
        let Some(vectors) = self.vectors else {
            let words = by_words(k)?;
            return Ok(words
                .hits
                .iter()
                .map(|hit| Fused { key: hit.key, score: hit.bm25, cosine: None, bm25: Some(hit.bm25) })
                .collect());
        };
        let by_meaning = |exactly: bool| {
            let near = vectors.nearest(vector, k, exactly, self.allowed, self.ranks).into_iter();
            near.map(|near| Fused { key: near.key, score: near.cosine, cosine: Some(near.cosine), bm25: None })
                .collect()
        };
        Ok(match self.asked.mode {
            Mode::Exact => by_meaning(true),
            Mode::Vector => by_meaning(false),
            Mode::Hybrid | Mode::Lexical => {
                let candidates = CANDIDATES.max(2 * k);
                let near = vectors.nearest(vector, candidates, false, self.allowed, self.ranks);
                let length = |key| self.lexical.and_then(|lexical| length_of(lexical, key));
                let mut fused = fuse(&by_words(candidates)?, &near, &vectors.cosines(vector), &length, &order);
                fused.truncate(k);
                fused
            }
        })
    }
}

fn words_of(
    lexical: &View,
    query: &str,
    k: usize,
    admit: &dyn Fn(u64) -> bool,
    order: &dyn Fn(u64, u64) -> Ordering,
) -> tantivy::Result<WordHits> {
    let mut statistics = WordStatistics::of(query);
    lexical.count(&mut statistics)?;
    let hits = lexical.search(&statistics, k, &|row| admit(row.key()).then(|| row.length()), order)?;
    let ideal = statistics.ideal();
    let of_numbers = statistics.words.keys().filter(|word| is_number(word)).map(|word| statistics.rarity(word));
    let numbers = of_numbers.sum::<f32>() / ideal.max(f32::MIN_POSITIVE);
    let count = statistics.words.values().map(|(count, _)| count).sum();
    Ok(WordHits { hits, ideal, numbers, count })
}

/// Whether a word tells one of many alike: words with a digit or two (`3d`, `mp3`, `utf8`) have a meaning of their own.
fn is_number(word: &str) -> bool {
    word.bytes().filter(u8::is_ascii_digit).count() >= 3
}

/// How many words a document has.
fn length_of(lexical: &View, key: u64) -> Option<u32> {
    let mut length = None;
    lexical.each_of_key(key, &mut |row| length = Some(row.length())).ok()?;
    length
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
        Some(CollectionHit { id, score: fused.score, cosine: fused.cosine, bm25: fused.bm25, reranker: None, record })
    };
    Ok(found.into_iter().map(|hits| hits.into_iter().filter_map(hit).collect()).collect())
}
