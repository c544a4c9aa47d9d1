//! Searching a collection: by words, by meaning, by both.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::atomic::{self, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};

use crate::collections::database::Database;
use crate::collections::filter::{Allowed, Condition};
use crate::collections::index::Ranks;
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
        let ranks = self.indexes.ranks(&database)?;
        let vectors = embedder.map(|embedder| self.vectors(&database, embedder)).transpose()?;
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
            let embedded = embedder.map(|embedder| embedder.embed(batch).map_err(MemoryError::Embedder)).transpose()?;
            let (lexical, vectors, allowed) = (lexical.as_ref(), vectors.as_deref(), allowed.as_ref());
            let search = Search { lexical, vectors, allowed, ranks: &ranks, asked };
            found.extend(search.all(batch, embedded.as_deref())?);
        }
        progress(queries.len(), queries.len());
        named(&self.database()?, found, asked.texts)
    }

    /// Whether the last search found index files that are missing, damaged or old; [`Collection::refresh`] mends them.
    pub fn wants_refresh(&self) -> bool {
        self.indexes.stale()
    }

    fn vectors(&self, database: &Database, embedder: &dyn Embedder) -> Result<Arc<DocumentVectors>, MemoryError> {
        let vectors = self.indexes.vectors(database, embedder.name())?;
        if vectors.is_empty() && database.count()? > 0 {
            let others = database.models()?.into_iter().map(|(model, _)| model).collect();
            return Err(MemoryError::NotEmbedded {
                collection: self.name().to_owned(),
                model: embedder.name().to_owned(),
                others,
            });
        }
        Ok(vectors)
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
