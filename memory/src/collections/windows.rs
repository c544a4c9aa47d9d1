//! Documents longer than a model reads at once: a vector for each window of the text, and the nearest of them counts.
//!
//! What a document begins with says most of what it is about, and a window alone may be near to anything. So a later
//! window counts together with the first, which weighs twice: over fourteen collections that beats the first alone, the
//! nearest window alone, and the mean of all (`tests/python/eval_retrieval.py`).

use std::collections::HashSet;

use codriver_vectors::{Admit, Neighbour, Vectors};

use crate::collections::filter::Allowed;
use crate::collections::index::Ranks;
use crate::embedder::Embedder;

/// Windows that a document has at most: what comes after them is found by its words.
pub(super) const MOST: u64 = 64;

/// How much the first window weighs beside a later one.
const FIRST: f32 = 2.0;

/// A document's texts to be embedded.
pub(super) fn windows(embedder: &dyn Embedder, text: &str) -> Vec<String> {
    let mut windows = embedder.windows(text);
    windows.truncate(MOST as usize);
    if windows.is_empty() { vec![text.to_owned()] } else { windows }
}

/// A document's vectors, of those of its windows, one after the other.
pub(super) fn together(windows: &[Vec<f32>]) -> Vec<f32> {
    let Some(first) = windows.first() else { return Vec::new() };
    let at_length_one = |vector: &[f32]| codriver_vectors::unit(vector).unwrap_or_default();
    let start = at_length_one(first);
    let later = windows.iter().skip(1).map(|window| {
        let window = at_length_one(window);
        start.iter().zip(&window).map(|(first, later)| FIRST * first + later).collect::<Vec<f32>>()
    });
    std::iter::once(first.clone()).chain(later.filter(|vector| vector.len() == first.len())).flatten().collect()
}

/// The vectors of documents, by slot and window.
pub(super) struct DocumentVectors {
    vectors: Vectors,
    documents: usize,
    missing: usize,
}

impl DocumentVectors {
    /// Where so many other documents were not embedded yet.
    pub fn new(vectors: Vectors, missing: usize) -> Self {
        let documents = vectors.keys().filter(|key| key % MOST == 0).count();
        Self { vectors, documents, missing }
    }

    pub fn missing(&self) -> usize {
        self.missing
    }

    pub fn all(&self) -> &Vectors {
        &self.vectors
    }

    pub fn documents(&self) -> usize {
        self.documents
    }

    pub fn is_empty(&self) -> bool {
        self.documents == 0
    }

    /// The `k` nearest documents, best first.
    pub fn nearest(
        &self,
        vector: &[f32],
        k: usize,
        exactly: bool,
        allowed: Option<&Allowed>,
        ranks: &Ranks,
    ) -> Vec<Neighbour> {
        let admit = |key: u64| allowed.is_none_or(|allowed| allowed.contains(key / MOST));
        let admitted = match allowed {
            Some(allowed) => allowed.admit(self, &admit),
            None => Admit::All,
        };
        let order = |key: u64| ranks.of(key / MOST);
        let mut wanted = (k as f32 * self.vectors.len() as f32 / self.documents.max(1) as f32).ceil() as usize;
        loop {
            let near = match exactly {
                true => self.vectors.exact_by(vector, wanted, &admitted, &order),
                false => self.vectors.search_by(vector, wanted, 0, &admitted, &order),
            };
            let (found, mut best) = (near.len(), Vec::with_capacity(k));
            let mut seen = HashSet::new();
            for near in near {
                let slot = near.key / MOST;
                if seen.insert(slot) {
                    best.push(Neighbour { key: slot, cosine: near.cosine });
                }
            }
            // Windows of a few long documents may have taken all the places.
            if best.len() >= k || found < wanted || wanted >= self.vectors.len() {
                best.truncate(k);
                return best;
            }
            wanted *= 2;
        }
    }

    /// The cosines of documents with a vector.
    pub fn cosines(&self, vector: &[f32]) -> impl Fn(u64) -> Option<f32> + '_ {
        let cosine = self.vectors.cosines(vector);
        move |slot| keys(&self.vectors, slot).filter_map(&cosine).max_by(f32::total_cmp)
    }
}

/// Those that a document has.
pub(super) fn keys(vectors: &Vectors, slot: u64) -> impl Iterator<Item = u64> + '_ {
    (slot * MOST..(slot + 1) * MOST).take_while(|key| vectors.get(*key).is_some())
}
