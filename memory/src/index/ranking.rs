//! The arithmetic of search.

use chrono::{DateTime, Utc};

use crate::index::Document;
use crate::records::Scope;

/// Of BM25: how soon repetition stops counting, how much length counts.
const K1: f32 = 1.2;
const B: f32 = 0.75;

/// A document and how well it meets a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Relevance {
    pub slot: u32,
    pub cosine: Option<f32>,
    pub bm25: Option<f32>,
    /// What the document itself adds or takes away: see [`weight`].
    pub weight: f32,
    /// Of both, weighed.
    pub score: f32,
}

/// Half of what was recent about something is gone after so many days.
const HALF_LIFE_DAYS: f32 = 30.0;

/// What a document counts beside how well it meets a query: near 1, so that it decides among what is alike and never
/// makes the unrelated related. Nearer scopes count more, what was said long ago less, what is important or pinned
/// more.
pub(crate) fn weight(document: &Document, now: DateTime<Utc>) -> f32 {
    let scope = match document.scope {
        Scope::Session => 1.04,
        _ if document.project.is_some() => 1.02,
        _ => 1.0,
    };
    let age = document.created_at.map_or(0.0, |at| (now - at).num_seconds().max(0) as f32 / 86_400.0);
    // Facts and documents hold until they are replaced; what was said fades.
    let fading = if document.kind == "message" { 0.15 } else { 0.03 };
    let recency = 1.0 - fading * (1.0 - (-age / HALF_LIFE_DAYS).exp2());
    let importance = 1.0 + 0.2 * (document.importance.clamp(0.0, 1.0) - Document::USUAL);
    let pinned = if document.pinned { 1.15 } else { 1.0 };
    scope * recency * importance * pinned
}

/// From this cosine on two texts say nearly the same.
const ALIKE: f32 = 0.85;

/// The best `k` of `ranked` (best first), each next one the best after what it repeats of those before it is taken off
/// (maximal marginal relevance; Carbonell and Goldstein, 1998).
pub(crate) fn diversified<'v>(
    ranked: Vec<Relevance>,
    k: usize,
    vector: &dyn Fn(u32) -> Option<&'v [f32]>,
) -> Vec<Relevance> {
    // What is far behind cannot come forward.
    let mut left: Vec<(Relevance, f32)> =
        ranked.into_iter().take(4 * k.min(1 << 20)).map(|relevance| (relevance, 1.0)).collect();
    let mut chosen: Vec<Relevance> = Vec::with_capacity(k.min(left.len()));
    while chosen.len() < k && !left.is_empty() {
        let mut best = 0;
        let mut best_score = f32::MIN;
        for (position, (relevance, novelty)) in left.iter().enumerate() {
            // The order is that of the scores: nothing after this can be better.
            if relevance.score <= best_score {
                break;
            }
            if relevance.score * novelty > best_score {
                (best, best_score) = (position, relevance.score * novelty);
            }
        }
        let (next, _) = left.remove(best);
        if let Some(own) = vector(next.slot) {
            for (relevance, novelty) in &mut left {
                let alike = vector(relevance.slot).map_or(0.0, |other| codriver_vectors::dot(own, other));
                *novelty = novelty.min(1.0 - 0.5 * ((alike - ALIKE) / (1.0 - ALIKE)).clamp(0.0, 1.0));
            }
        }
        chosen.push(next);
    }
    chosen
}

/// Never negative, however common the word.
pub(crate) fn inverse_document_frequency(documents: usize, containing: usize) -> f32 {
    let (documents, containing) = (documents as f32, containing as f32);
    (((documents - containing).max(0.0) + 0.5) / (containing + 0.5)).ln_1p()
}

/// A word's count in a document of `length` words, saturated and set against the average.
pub(crate) fn saturation(count: u32, length: u32, average_length: f32) -> f32 {
    let count = count as f32;
    let relative_length = length as f32 / average_length.max(1.0);
    count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * relative_length))
}

#[cfg(test)]
mod tests {
    use super::{Relevance, diversified, inverse_document_frequency, saturation};

    #[test]
    fn bm25_by_hand() {
        // ln(1 + (10 - 2 + 0.5) / (2 + 0.5)) and 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 2))
        assert!((inverse_document_frequency(10, 2) - 4.4_f32.ln()).abs() < 1e-6);
        assert!((saturation(2, 10, 5.0) - 4.4 / 4.1).abs() < 1e-6);
        assert!(inverse_document_frequency(1, 1) > 0.0);
    }

    #[test]
    fn what_repeats_a_better_one_comes_after_what_does_not() {
        let vectors = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]];
        let ranked = |scores: [f32; 4]| -> Vec<Relevance> {
            (0..)
                .zip(scores)
                .map(|(slot, score)| Relevance { slot, cosine: None, bm25: None, weight: 1.0, score })
                .collect()
        };
        let order = |ranked: Vec<Relevance>, k: usize| -> Vec<u32> {
            diversified(ranked, k, &|slot| vectors.get(slot as usize).map(|vector| &vector[..]))
                .iter()
                .map(|found| found.slot)
                .collect()
        };
        assert_eq!(order(ranked([0.9, 0.8, 0.7, 0.6]), 4), [0, 2, 3, 1]);
        assert_eq!(order(ranked([0.9, 0.8, 0.3, 0.2]), 3), [0, 1, 2]);
        assert_eq!(order(ranked([0.9, 0.8, 0.7, 0.6]), 2), [0, 2]);
        assert_eq!(order(Vec::new(), 2), [0; 0]);
    }
}
