//! One order of two: what was found by words and what was found by meaning.
//!
//! A convex combination (Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", 2023) of scores
//! that mean the same for every query: the cosine, and BM25 as a share of what a document with all of the query's words
//! would have. Where few of the words are anywhere, words count little by themselves; scores set against the best that
//! was found, or ranks, would give the best of nothing full weight.

use std::collections::HashMap;

use codriver_vectors::Neighbour;

use crate::index::lexical::WordHits;

/// Candidates that each side gives, at least.
pub(crate) const CANDIDATES: usize = 200;

/// How much meaning counts, of 1. Chosen on seven collections (documentation, code, packages' descriptions), each better
/// than its better half with anything from 0.6 to 0.8.
const MEANING: f32 = 0.7;

/// A document with its scores by method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fused {
    pub key: u64,
    pub score: f32,
    pub cosine: Option<f32>,
    pub bm25: Option<f32>,
}

/// Everything that either side found, best first. `cosine_of` says the cosine of what words alone found.
pub(crate) fn fuse(words: &WordHits, near: &[Neighbour], cosine_of: &dyn Fn(u64) -> Option<f32>) -> Vec<Fused> {
    let mut scores: HashMap<u64, (Option<f32>, Option<f32>)> =
        near.iter().map(|near| (near.key, (Some(near.cosine), None))).collect();
    for hit in &words.hits {
        scores.entry(hit.key).or_insert_with(|| (cosine_of(hit.key), None)).1 = Some(hit.bm25);
    }
    let mut fused: Vec<Fused> = scores
        .into_iter()
        .map(|(key, (cosine, bm25))| {
            let share = bm25.map_or(0.0, |bm25| bm25 / words.ideal.max(f32::MIN_POSITIVE));
            let score = MEANING * cosine.unwrap_or(0.0).max(0.0) + (1.0 - MEANING) * share;
            Fused { key, score, cosine, bm25 }
        })
        .collect();
    fused.sort_unstable_by(|one, other| other.score.total_cmp(&one.score).then(one.key.cmp(&other.key)));
    fused
}
