//! One order of two: what was found by words and what was found by meaning.
//!
//! A convex combination (Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", 2023) of scores
//! that mean the same for every query: the cosine, and BM25 as a share of what a document with all of the query's words
//! would have. Where few of the words are anywhere, words count little by themselves; scores set against the best that
//! was found, or ranks, would give the best of nothing full weight.
//!
//! What these are known to be wrong about is told from the query and what was found, without judgements:
//!
//! - Numbers and identifiers. What a query says with three digits or more (`CVE-2023-38470`, `E0382`, `2.7.18`) an
//!   embedding model takes for one of many alike. The greater the share of such words, by rarity, the less meaning counts.
//! - Length of the query. No document has most of a paragraph's words; what the best of them has says more of what can be
//!   had than the ideal does. The longer the query, the more BM25 is set against that.
//! - Length of documents. The vectors of short texts lie closer to those of short queries, whatever they say: remarks,
//!   bare titles (Thakur et al., "Systematic Evaluation of Neural Retrieval Models on the Touché 2020 Argument Retrieval
//!   Subset of BEIR", 2024). Among the documents that the words chose, which BM25 has weighed by length already, the cosine
//!   should not depend on length; where it falls with length all the same, that slope is taken out, as pivoted
//!   normalization does (Singhal, Buckley and Mitra, 1996).
//!
//! Measured by `tests/python/eval_retrieval.py`, on collections that this was tuned with and on others that it was not.
//! There no confidence told from a query's own scores (the best, the gap behind it, their spread, how far both agree) was
//! found to say which half is right: none correlates with it by more than 0.15.

use std::cmp::Ordering;
use std::collections::HashMap;

use codriver_vectors::Neighbour;

use crate::index::lexical::WordHit;

/// Candidates that each side gives, at least.
pub(crate) const CANDIDATES: usize = 200;

/// How much meaning counts, of 1. Where vectors are the better half, 0.7 is a little better; where they are by far the
/// worse one, 0.6 is.
const MEANING: f32 = 0.65;

/// And how much where the query is nothing but numbers and identifiers.
const MEANING_OF_NUMBERS: f32 = 0.02;

/// With so many words (those that are searched for, each as often as it is said) a query begins to be long, and with so
/// many it is.
const LONG: [f32; 2] = [8.0, 64.0];

/// Of the best by words, so many tell how the cosine falls with length.
const PIVOT: usize = 100;

/// From so few nothing can be told.
const PIVOT_FROM: usize = 20;

/// How much a slope from so many counts half.
const DOUBT: f32 = 30.0;

/// What was found by words.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct WordHits {
    /// Best first, with how many words they have.
    pub hits: Vec<WordHit<u32>>,
    /// The score of a document of average length that has each of the query's words once.
    pub ideal: f32,
    /// How much of that is of numbers and identifiers, from 0 to 1.
    pub numbers: f32,
    /// How many words the query has.
    pub count: u32,
}

impl WordHits {
    /// The score that a document can be expected to have at best: the ideal, for long queries the best that was found,
    /// in between the geometric mean of these, weighed.
    fn reachable(&self) -> f32 {
        let [short, long] = LONG;
        let length = ((self.count as f32 / short).ln() / (long / short).ln()).clamp(0.0, 1.0);
        self.hits.first().map_or(self.ideal, |best| self.ideal.powf(1.0 - length) * best.bm25.powf(length))
    }
}

/// A document with its scores by method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fused {
    pub key: u64,
    pub score: f32,
    pub cosine: Option<f32>,
    pub bm25: Option<f32>,
}

/// Everything that either side found, best first. `cosine_of` says the cosine of what words alone found, `length_of` how
/// many words there are in what meaning alone found, `order` which of equals comes first.
pub(crate) fn fuse(
    words: &WordHits,
    near: &[Neighbour],
    cosine_of: &dyn Fn(u64) -> Option<f32>,
    length_of: &dyn Fn(u64) -> Option<u32>,
    order: &dyn Fn(u64, u64) -> Ordering,
) -> Vec<Fused> {
    let mut scores: HashMap<u64, (Option<f32>, Option<f32>, Option<u32>)> =
        near.iter().map(|near| (near.key, (Some(near.cosine), None, None))).collect();
    for hit in &words.hits {
        let found = scores.entry(hit.key).or_insert_with(|| (cosine_of(hit.key), None, None));
        (found.1, found.2) = (Some(hit.bm25), Some(hit.read));
    }
    let pivot = words.hits.iter().take(PIVOT).filter_map(|hit| Some((hit.read, scores.get(&hit.key)?.0?)));
    let pivot = Pivot::of(&pivot.collect::<Vec<_>>());
    let reachable = words.reachable().max(f32::MIN_POSITIVE);
    // The words beside a number (`bug 1023759`) say little: meaning gives way sooner than by their share.
    let meaning = MEANING_OF_NUMBERS + (MEANING - MEANING_OF_NUMBERS) * (1.0 - words.numbers.clamp(0.0, 1.0)).powi(3);
    let mut fused: Vec<Fused> = scores
        .into_iter()
        .map(|(key, (cosine, bm25, length))| {
            let share = bm25.map_or(0.0, |bm25| bm25 / reachable);
            let length = || length.or_else(|| length_of(key));
            // What has no vector yet counts by its words.
            let near = cosine.map_or(share, |cosine| cosine.max(0.0) + pivot.correction(length));
            Fused { key, score: meaning * near + (1.0 - meaning) * share, cosine, bm25 }
        })
        .collect();
    fused.sort_unstable_by(|one, other| other.score.total_cmp(&one.score).then_with(|| order(one.key, other.key)));
    fused
}

/// How cosines fall with length.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pivot {
    /// In cosine, for each time that the length grows by e. Never above 0.
    slope: f32,
    /// The mean logarithm of lengths, where nothing is corrected.
    centre: f32,
}

impl Pivot {
    /// By least squares, of lengths and cosines.
    fn of(found: &[(u32, f32)]) -> Self {
        let count = found.len() as f32;
        let centre = found.iter().map(|(length, _)| logarithm(*length)).sum::<f32>() / count.max(1.0);
        let mean = found.iter().map(|(_, cosine)| cosine).sum::<f32>() / count.max(1.0);
        let (mut spread, mut together) = (0.0, 0.0);
        for (length, cosine) in found {
            let off = logarithm(*length) - centre;
            spread += off * off;
            together += off * (cosine - mean);
        }
        if found.len() < PIVOT_FROM || spread < 1e-3 * count {
            return Self { slope: 0.0, centre };
        }
        let slope = together / spread * count / (count + DOUBT);
        Self { slope: slope.min(0.0), centre }
    }

    fn correction(self, length: impl FnOnce() -> Option<u32>) -> f32 {
        if self.slope == 0.0 {
            return 0.0;
        }
        length().map_or(0.0, |length| -self.slope * (logarithm(length) - self.centre))
    }
}

fn logarithm(length: u32) -> f32 {
    (length.max(1) as f32).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(key: u64, bm25: f32, length: u32) -> WordHit<u32> {
        WordHit { key, bm25, read: length }
    }

    fn order(words: &WordHits, near: &[(u64, f32)]) -> Vec<u64> {
        let cosines: HashMap<u64, f32> = near.iter().copied().collect();
        let near: Vec<Neighbour> = near.iter().map(|(key, cosine)| Neighbour { key: *key, cosine: *cosine }).collect();
        let fused = fuse(words, &near, &|key| cosines.get(&key).copied(), &|_| None, &|one, other| one.cmp(&other));
        fused.into_iter().map(|fused| fused.key).collect()
    }

    #[test]
    fn both_count_and_what_both_find_comes_first() {
        let words = WordHits { hits: vec![hit(1, 8.0, 50), hit(2, 6.0, 50)], ideal: 10.0, numbers: 0.0, count: 3 };
        assert_eq!(order(&words, &[(2, 0.6), (3, 0.7), (1, 0.1)]), [2, 3, 1]);
        assert_eq!(order(&WordHits::default(), &[(2, 0.6), (3, 0.7)]), [3, 2]);
        assert_eq!(order(&words, &[]), [1, 2]);
    }

    #[test]
    fn numbers_are_found_by_words() {
        let near = [(1, 0.40), (2, 0.68), (3, 0.66)];
        let hits = vec![hit(1, 9.0, 50), hit(2, 4.0, 50), hit(3, 4.0, 50)];
        assert_eq!(order(&WordHits { hits: hits.clone(), ideal: 10.0, numbers: 0.0, count: 3 }, &near), [2, 1, 3]);
        assert_eq!(order(&WordHits { hits, ideal: 10.0, numbers: 0.8, count: 3 }, &near), [1, 2, 3]);
    }

    #[test]
    fn what_can_be_had_of_a_long_query_is_what_the_best_has() {
        let words =
            |count: u32| WordHits { hits: vec![hit(1, 10.0, 50), hit(2, 5.0, 50)], ideal: 40.0, numbers: 0.0, count };
        let reachable = [0, 1, 8, 64, 500].map(|count| words(count).reachable());
        // The fourth and the fifth to rounding; 22.6 words are half way between 8 and 64.
        assert_eq!(reachable.map(f32::round), [40.0, 40.0, 40.0, 10.0, 10.0]);
        assert!((19.0..21.0).contains(&words(23).reachable()));
        // The second is nearer by 0.06: that is little beside half of what the best has, and much beside an eighth of the ideal.
        let near = [(1, 0.5), (2, 0.6)];
        assert_eq!((order(&words(3), &near)[0], order(&words(80), &near)[0]), (2, 1));
    }

    #[test]
    fn what_is_short_is_not_near_for_that() {
        // Cosines that fall by 0.1 each time the length doubles, but for one long document that stands out of that.
        let mut near: Vec<(u64, f32)> = (0..100).map(|key| (key, 0.9 - 0.1 * (key % 6) as f32)).collect();
        let mut hits: Vec<WordHit<u32>> = (0..100).map(|key| hit(key, 5.0, 8 << (key % 6))).collect();
        near[5].1 += 0.3;
        assert_eq!(order(&WordHits { hits: hits.clone(), ideal: 10.0, numbers: 0.0, count: 3 }, &near)[0], 5);
        // Where all are of one length, there is nothing to correct.
        hits.iter_mut().for_each(|hit| hit.read = 64);
        assert_eq!(order(&WordHits { hits, ideal: 10.0, numbers: 0.0, count: 3 }, &near)[0], 0);
    }

    #[test]
    fn a_slope_by_hand() {
        // cosine = 1 - 0.1 ln(length), 60 times: -0.1 * 60 / 90
        let found: Vec<(u32, f32)> = (1..=60).map(|length| (length, 1.0 - 0.1 * (length as f32).ln())).collect();
        assert!((Pivot::of(&found).slope + 0.1 * 60.0 / 90.0).abs() < 1e-5);
        let rising: Vec<(u32, f32)> = found.iter().map(|(length, cosine)| (*length, -cosine)).collect();
        assert_eq!(Pivot::of(&rising).slope, 0.0);
        assert_eq!(Pivot::of(&found[..10]).slope, 0.0);
    }
}
