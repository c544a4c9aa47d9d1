//! Vectors that come and go: a generation, what was added since, and what was removed since.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::best::Best;
use crate::distance::{dot, unit};
use crate::generation::{Built, Generation, GenerationError, Progress};
use crate::search::Found;

/// So many are compared one by one, exactly: a graph would not be faster.
pub const EXACT_BELOW: usize = 10_000;

/// In the place of the key of what was removed and is still part of a graph.
const NO_KEY: u64 = u64::MAX;

/// Something near, with its true cosine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    pub key: u64,
    pub cosine: f32,
}

/// What a search may find.
pub enum Admit<'a> {
    All,
    /// These keys, few enough to be compared one by one.
    Keys(&'a [u64]),
    /// What this admits: about this share of all.
    Share(&'a dyn Fn(u64) -> bool, f32),
}

/// Vectors of one length by key. Positions count through the generation first, then what came after it.
pub struct Vectors {
    dimensions: usize,
    base: Option<Arc<Generation>>,
    base_places: OnceLock<Places>,
    fresh_keys: Vec<u64>,
    fresh: Vec<f32>,
    fresh_places: HashMap<u64, u32>,
    /// One bit a position.
    removed: Vec<u64>,
    removed_count: usize,
}

/// Where the keys of a generation are.
enum Places {
    /// In order, as most are.
    Sorted,
    Listed(HashMap<u64, u32>),
}

impl Vectors {
    pub fn new(dimensions: usize) -> Self {
        Self {
            dimensions,
            base: None,
            base_places: OnceLock::new(),
            fresh_keys: Vec::new(),
            fresh: Vec::new(),
            fresh_places: HashMap::new(),
            removed: Vec::new(),
            removed_count: 0,
        }
    }

    pub fn with_base(base: Generation) -> Self {
        let mut vectors = Self::new(base.dimensions());
        let removed: Vec<usize> =
            base.keys().iter().enumerate().filter(|(_, key)| **key == NO_KEY).map(|(position, _)| position).collect();
        vectors.base = Some(Arc::new(base));
        removed.into_iter().for_each(|position| vectors.mark_removed(position));
        vectors
    }

    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// How many can be found.
    pub fn len(&self) -> usize {
        self.positions() - self.removed_count
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of them are not in the generation's graph.
    pub fn fresh(&self) -> usize {
        self.fresh_keys.len()
    }

    /// How many are removed and still take room.
    pub fn removed(&self) -> usize {
        self.removed_count
    }

    pub fn base(&self) -> Option<&Generation> {
        self.base.as_deref()
    }

    /// Whether a new generation would pay: much is not in the graph, or a quarter of it is removed.
    pub fn wants_generation(&self) -> bool {
        self.len() >= EXACT_BELOW
            && (self.fresh() >= EXACT_BELOW.max(self.base_len() / 20) || self.removed_count * 4 >= self.positions())
    }

    /// Keeps a vector, in place of what had its key (any but the largest number). False for one of another length or
    /// without direction, after which nothing has the key.
    pub fn insert(&mut self, key: u64, vector: &[f32]) -> bool {
        self.remove(key);
        let Some(vector) = self.query(vector).filter(|_| key != NO_KEY) else { return false };
        self.fresh_places.insert(key, self.positions() as u32);
        self.fresh_keys.push(key);
        self.fresh.extend(vector);
        true
    }

    /// False where nothing had the key.
    pub fn remove(&mut self, key: u64) -> bool {
        let Some(position) = self.position(key) else { return false };
        self.fresh_places.remove(&key);
        self.mark_removed(position as usize);
        true
    }

    fn mark_removed(&mut self, position: usize) {
        let words = (position / 64 + 1).max(self.removed.len());
        self.removed.resize(words, 0);
        if let Some(word) = self.removed.get_mut(position / 64) {
            *word |= 1 << (position % 64);
        }
        self.removed_count += 1;
    }

    /// The vector of a key, at length one.
    pub fn get(&self, key: u64) -> Option<&[f32]> {
        self.vector(self.position(key)? as usize)
    }

    /// The cosines of keys with a vector; of those that have none, and for a vector without direction, `None`.
    pub fn cosines(&self, vector: &[f32]) -> impl Fn(u64) -> Option<f32> + '_ {
        let query = self.query(vector);
        move |key| Some(dot(query.as_deref()?, self.get(key)?).clamp(-1.0, 1.0))
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = u64> {
        (0..self.positions()).filter(|position| !self.is_removed(*position)).filter_map(|position| self.key(position))
    }

    /// The `k` nearest, best first. `wide` is how many candidates a walk keeps (0: chosen from `k`): more find more
    /// of the true nearest, in more time. Fewer than [`EXACT_BELOW`] are compared one by one. Of equals, the smaller key
    /// comes first.
    pub fn search(&self, vector: &[f32], k: usize, wide: usize, admit: &Admit<'_>) -> Vec<Neighbour> {
        self.search_by(vector, k, wide, admit, &|key| key)
    }

    /// [`Vectors::search`] where, of equals, that one comes first for whose key `order` is less.
    pub fn search_by(
        &self,
        vector: &[f32],
        k: usize,
        wide: usize,
        admit: &Admit<'_>,
        order: &dyn Fn(u64) -> u64,
    ) -> Vec<Neighbour> {
        let Some(vector) = self.query(vector) else { return Vec::new() };
        let base = self.base.as_ref().filter(|_| self.len() >= EXACT_BELOW);
        let (Some(base), true) = (base, !matches!(admit, Admit::Keys(_)) && k > 0) else {
            return self.exact_by(&vector, k, admit, order);
        };
        let wide = if wide == 0 { default_width(k, base.len()) } else { wide.max(k) };
        let found = match admit {
            Admit::Share(admit, share) => {
                let wide = (wide as f32 / share.clamp(0.05, 1.0)) as usize;
                let admitted = |node: u32| {
                    !self.is_removed(node as usize) && base.keys().get(node as usize).is_some_and(|key| admit(*key))
                };
                base.nearest(&vector, wide, Some(&admitted))
            }
            _ if self.removed_count == 0 => base.nearest(&vector, wide, None),
            _ => base.nearest(&vector, wide, Some(&|node| !self.is_removed(node as usize))),
        };
        let mut best = Best::new(k);
        let order = |position: usize| self.key(position).map_or(u64::MAX, order);
        // The walk's own cosines are rounded: those near the border are compared anew.
        for Found { node, .. } in found.into_iter().take(2 * k + 24) {
            if let Some(own) = base.vector(node as usize) {
                best.offer(node as usize, dot(&vector, own), &order);
            }
        }
        self.scan(&vector, self.base_len()..self.positions(), admit, &mut best, &order);
        self.neighbours(best)
    }

    /// The `k` nearest, each compared. Of equals, the smaller key comes first.
    pub fn exact(&self, vector: &[f32], k: usize, admit: &Admit<'_>) -> Vec<Neighbour> {
        self.exact_by(vector, k, admit, &|key| key)
    }

    /// [`Vectors::exact`] where, of equals, that one comes first for whose key `order` is less.
    pub fn exact_by(&self, vector: &[f32], k: usize, admit: &Admit<'_>, order: &dyn Fn(u64) -> u64) -> Vec<Neighbour> {
        let Some(vector) = self.query(vector) else { return Vec::new() };
        let mut best = Best::new(k);
        let order = |position: usize| self.key(position).map_or(u64::MAX, order);
        if let Admit::Keys(keys) = admit {
            for position in keys.iter().filter_map(|key| self.position(*key)) {
                if let Some(own) = self.vector(position as usize) {
                    best.offer(position as usize, dot(&vector, own), &order);
                }
            }
        } else {
            self.scan(&vector, 0..self.positions(), admit, &mut best, &order);
        }
        self.neighbours(best)
    }

    /// What is needed to build a new generation elsewhere, while this goes on being searched and changed.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_of(&|_| true)
    }

    /// [`Vectors::snapshot`] of those whose keys are let through.
    pub fn snapshot_of(&self, admit: &dyn Fn(u64) -> bool) -> Snapshot {
        // With few removed the graph is only continued; they stay in it, and stay removed.
        let base = self.base.clone().filter(|_| self.removed_count * 4 < self.positions());
        let continued = base.as_ref().map_or(0, |base| base.len());
        let mut keys: Vec<u64> = base.as_ref().map_or_else(Vec::new, |base| base.keys().to_vec());
        for (_, key) in
            keys.iter_mut().enumerate().filter(|(position, key)| self.is_removed(*position) || !admit(**key))
        {
            *key = NO_KEY;
        }
        let mut vectors = Vec::new();
        for position in continued..self.positions() {
            if let (Some(key), Some(vector)) = (self.key(position).filter(|key| admit(*key)), self.vector(position)) {
                keys.push(key);
                vectors.extend_from_slice(vector);
            }
        }
        Snapshot { dimensions: self.dimensions, base, keys, vectors }
    }

    /// Goes over to a generation that was built from a snapshot of this; what changed since the snapshot stays changed.
    pub fn adopt(&mut self, base: Generation) {
        let before = std::mem::replace(self, Self::with_base(base));
        let gone: Vec<u64> = self.keys().filter(|key| before.get(*key).is_none()).collect();
        for key in gone {
            self.remove(key);
        }
        for (key, vector) in before.keys().filter_map(|key| Some((key, before.get(key)?))) {
            // Equal to the bit, unless it was replaced.
            if self.get(key) != Some(vector) {
                self.insert(key, vector);
            }
        }
    }

    fn query(&self, vector: &[f32]) -> Option<Vec<f32>> {
        unit(vector).filter(|vector| vector.len() == self.dimensions)
    }

    fn scan(
        &self,
        vector: &[f32],
        positions: std::ops::Range<usize>,
        admit: &Admit<'_>,
        best: &mut Best,
        order: &impl Fn(usize) -> u64,
    ) {
        for position in positions {
            let admitted = match admit {
                Admit::Share(admit, _) => self.key(position).is_some_and(admit),
                _ => true,
            };
            if admitted && let Some(own) = self.vector(position) {
                best.offer(position, dot(vector, own), order);
            }
        }
    }

    fn neighbours(&self, best: Best) -> Vec<Neighbour> {
        let found = best.into_sorted().into_iter();
        found
            .filter_map(|(cosine, position)| {
                Some(Neighbour { key: self.key(position)?, cosine: cosine.clamp(-1.0, 1.0) })
            })
            .collect()
    }

    fn base_len(&self) -> usize {
        self.base.as_ref().map_or(0, |base| base.len())
    }

    fn positions(&self) -> usize {
        self.base_len() + self.fresh_keys.len()
    }

    fn position(&self, key: u64) -> Option<u32> {
        if let Some(position) = self.fresh_places.get(&key) {
            return Some(*position);
        }
        let base = self.base.as_ref()?;
        let places = self.base_places.get_or_init(|| match base.keys().is_sorted() {
            true => Places::Sorted,
            false => Places::Listed(base.keys().iter().copied().zip(0..).collect()),
        });
        let position = match places {
            Places::Sorted => base.keys().binary_search(&key).ok().map(|position| position as u32),
            Places::Listed(places) => places.get(&key).copied(),
        };
        position.filter(|position| !self.is_removed(*position as usize))
    }

    fn key(&self, position: usize) -> Option<u64> {
        let base = self.base_len();
        match position < base {
            true => self.base.as_ref()?.keys().get(position).copied(),
            false => self.fresh_keys.get(position - base).copied(),
        }
    }

    fn vector(&self, position: usize) -> Option<&[f32]> {
        if self.is_removed(position) {
            return None;
        }
        let base = self.base_len();
        if position < base {
            return self.base.as_ref()?.vector(position);
        }
        let start = (position - base).checked_mul(self.dimensions)?;
        self.fresh.get(start..start + self.dimensions)
    }

    fn is_removed(&self, position: usize) -> bool {
        self.removed.get(position / 64).is_some_and(|word| word >> (position % 64) & 1 == 1)
    }
}

/// Measured (`cargo xtask bench memory`): finds more than 97 of 100, among a hundred thousand clustered vectors as
/// among a million.
fn default_width(k: usize, count: usize) -> usize {
    (k + k / 2).max((0.35 * (count as f64).sqrt()) as usize).max(200)
}

/// Vectors as they were at one moment.
pub struct Snapshot {
    dimensions: usize,
    base: Option<Arc<Generation>>,
    keys: Vec<u64>,
    /// Of the keys after the generation's.
    vectors: Vec<f32>,
}

impl Snapshot {
    /// Those that can be found.
    pub fn keys(&self) -> impl Iterator<Item = u64> {
        self.keys.iter().copied().filter(|key| *key != NO_KEY)
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Builds the graph on so many threads (0: on all processors) and gives it to `write`. `label` is what the
    /// generation will be known by.
    pub fn build<T>(
        &self,
        label: u64,
        threads: usize,
        progress: Progress<'_>,
        write: impl FnOnce(&Built<'_>) -> Result<T, GenerationError>,
    ) -> Result<T, GenerationError> {
        let continued = self.base.as_ref().map_or(0, |base| base.len());
        let vector = |position: usize| match &self.base {
            Some(base) if position < continued => base.vector(position).unwrap_or_default(),
            _ => {
                let start = (position - continued) * self.dimensions;
                self.vectors.get(start..start + self.dimensions).unwrap_or_default()
            }
        };
        write(&Built::build(self.dimensions, &self.keys, &vector, self.base.as_deref(), label, threads, progress)?)
    }
}
