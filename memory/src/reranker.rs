//! What memory asks of a cross-encoder: a model that reads a question and a text together, which costs more than comparing
//! vectors and tells more (Nogueira and Cho, "Passage Re-ranking with BERT", 2019). So it reads only the best of what words
//! and vectors found, and decides their order.

use std::sync::Arc;

use crate::collections::CollectionHit;
use crate::memory::Memory;
use crate::records::Hit;

/// Reads a question and a text together.
pub trait Reranker: Send + Sync {
    /// As people are told of it.
    fn name(&self) -> &str;

    /// How well each text answers the question, in order: higher is better, on a scale of the model's own. A reason where
    /// it cannot be told, or not in a time that a search may take.
    fn score(&self, question: &str, texts: &[&str]) -> Result<Vec<f32>, String>;
}

/// How many of the best are read, at most.
pub const RERANKED: usize = 50;

/// No model's window is longer, in bytes: the rest need not be cut into tokens.
const LONGEST: usize = 32 * 1024;

impl Memory {
    /// The best of what search finds is ordered by this from now on; by nothing, where a reason is given why there is none.
    pub fn use_reranker(&self, reranker: Result<Arc<dyn Reranker>, String>) {
        self.replace_reranker(reranker);
    }

    /// The reranker's name, or why there is none or it failed the last time; `None` where nobody wants one.
    pub fn reranking(&self) -> Option<Result<String, String>> {
        let reranker = self.reranker()?;
        let failure = self.reranker_failure();
        Some(match (reranker, failure) {
            (Err(reason), _) | (Ok(_), Some(reason)) => Err(reason),
            (Ok(reranker), None) => Ok(reranker.name().to_owned()),
        })
    }

    /// Whether more should be found than is asked for, to be read.
    pub(crate) fn candidates(&self, k: usize) -> usize {
        if matches!(self.reranker(), Some(Ok(_))) { k.max(RERANKED) } else { k }
    }

    /// In the reranker's order, where there is one; else, and where it fails, as they are.
    pub(crate) fn reranked(&self, query: &str, hits: &mut [Hit]) {
        let Some(Ok(reranker)) = self.reranker() else { return };
        let failure = rerank(&*reranker, query, hits).err();
        if let Some(reason) = &failure {
            tracing::warn!("search goes on without the reranker: {reason}");
        }
        self.note_reranker_failure(failure);
    }
}

/// Something found that can be read.
pub trait Readable {
    fn content(&self) -> String;
    /// What it is ordered by, and what the reranker said of it.
    fn scores(&mut self) -> (&mut f32, &mut Option<f32>);
    /// What the reranker said; nothing is below that.
    fn reranker(&self) -> f32;
}

impl Readable for Hit {
    fn content(&self) -> String {
        if self.title.is_empty() { self.text.clone() } else { format!("{}\n{}", self.title, self.text) }
    }

    fn scores(&mut self) -> (&mut f32, &mut Option<f32>) {
        (&mut self.score, &mut self.reranker)
    }

    fn reranker(&self) -> f32 {
        self.reranker.unwrap_or(f32::NEG_INFINITY)
    }
}

impl Readable for CollectionHit {
    fn content(&self) -> String {
        self.record.as_ref().map(|record| record.content()).unwrap_or_default()
    }

    fn scores(&mut self) -> (&mut f32, &mut Option<f32>) {
        (&mut self.score, &mut self.reranker)
    }

    fn reranker(&self) -> f32 {
        self.reranker.unwrap_or(f32::NEG_INFINITY)
    }
}

/// Puts the first [`RERANKED`] of what was found (best first, with its texts) in the reranker's order; what it gives the
/// same score keeps its order. The scores that they had are dealt out anew, the highest to the first: they say how well the
/// best, the second best and so on meet the query, on the scale that they had. Where the reranker fails, all stays as it is.
pub fn rerank<T: Readable>(reranker: &dyn Reranker, question: &str, found: &mut [T]) -> Result<(), String> {
    let read = found.len().min(RERANKED);
    let Some(found) = found.get_mut(..read).filter(|found| !found.is_empty()) else { return Ok(()) };
    let contents: Vec<String> = found.iter().map(T::content).collect();
    let texts: Vec<&str> = contents.iter().map(|text| &text[..text.floor_char_boundary(LONGEST)]).collect();
    let scores = reranker.score(question, &texts)?;
    if scores.len() != found.len() || scores.iter().any(|score| !score.is_finite()) {
        return Err(format!("{} did not give every text a score", reranker.name()));
    }
    let mut dealt: Vec<f32> = found.iter_mut().map(|found| *found.scores().0).collect();
    dealt.sort_unstable_by(|one, other| other.total_cmp(one));
    for (found, score) in found.iter_mut().zip(scores) {
        *found.scores().1 = Some(score);
    }
    found.sort_by(|one, other| other.reranker().total_cmp(&one.reranker()));
    for (found, score) in found.iter_mut().zip(dealt) {
        *found.scores().0 = score;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::Record;

    /// Likes long texts; fails where there is an empty one.
    struct Length;

    impl Reranker for Length {
        fn name(&self) -> &str {
            "length"
        }

        fn score(&self, _: &str, texts: &[&str]) -> Result<Vec<f32>, String> {
            let length = |text: &&str| {
                if text.trim().is_empty() { Err("nothing to read".to_owned()) } else { Ok(text.len() as f32) }
            };
            texts.iter().map(length).collect()
        }
    }

    fn hits(texts: &[&str]) -> Vec<CollectionHit> {
        let record = |text: &str| Record {
            id: text.to_owned(),
            title: String::new(),
            text: text.to_owned(),
            metadata: Default::default(),
        };
        let hit = |(rank, text): (usize, &&str)| {
            let score = 1.0 - rank as f32 / 100.0;
            CollectionHit {
                id: (*text).to_owned(),
                score,
                cosine: None,
                bm25: None,
                reranker: None,
                record: Some(record(text)),
            }
        };
        texts.iter().enumerate().map(hit).collect()
    }

    #[test]
    fn the_reranker_decides_the_order_of_the_best() {
        let mut found = hits(&["a", "ccc", "bb", "ddd"]);
        rerank(&Length, "question", &mut found).unwrap();
        let ids: Vec<&str> = found.iter().map(|hit| hit.id.as_str()).collect();
        assert_eq!(ids, ["ccc", "ddd", "bb", "a"]);
        let scores: Vec<f32> = found.iter().map(|hit| hit.score).collect();
        assert_eq!(scores, [1.0, 0.99, 0.98, 0.97]);
        assert_eq!(found[2].reranker, Some(2.0));
    }

    #[test]
    fn only_the_best_are_read_and_a_failure_changes_nothing() {
        let long: Vec<String> = (0..RERANKED + 5).map(|number| "x".repeat(number + 1)).collect();
        let long: Vec<&str> = long.iter().map(String::as_str).collect();
        let mut found = hits(&long);
        rerank(&Length, "question", &mut found).unwrap();
        assert_eq!(
            (found[0].id.len(), found[RERANKED - 1].id.len(), found[RERANKED].id.len()),
            (RERANKED, 1, RERANKED + 1)
        );
        assert_eq!(found[RERANKED].reranker, None);
        assert!(found.windows(2).all(|pair| pair[0].score >= pair[1].score));
        let before = hits(&["a", " ", "bb"]);
        let mut found = before.clone();
        assert_eq!(rerank(&Length, "question", &mut found), Err("nothing to read".to_owned()));
        assert_eq!(found, before);
        assert_eq!(rerank(&Length, "question", &mut found[..0]), Ok(()));
    }
}
