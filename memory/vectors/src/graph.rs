//! The graph while it is built, by several threads at once (HNSW, algorithms 1 and 4).

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use crate::distance::Line;
use crate::quantized::Query;
use crate::search::{Found, Graph, Scratch};

/// Neighbours of a node on the levels above the bottom, and of a new node on any.
pub(crate) const NEIGHBOURS: usize = 16;

/// Neighbours of a node on the bottom.
pub(crate) const NEIGHBOURS_BELOW: usize = 2 * NEIGHBOURS;

/// Candidates among which a new node's neighbours are chosen.
const CONSTRUCTION: usize = 200;

/// No node, in a list of neighbours that is not full.
pub(crate) const NONE: u32 = u32::MAX;

const LOCKS: usize = 1 << 14;

pub(crate) struct Builder {
    /// Lines of a row.
    width: usize,
    pub rows: Vec<Line>,
    pub scales: Vec<f32>,
    /// Each node's neighbours on the bottom.
    pub below: Vec<AtomicU32>,
    /// Where a node's neighbours on the levels above begin in `above`, in lists; the last is their end.
    pub starts: Vec<u32>,
    pub above: Vec<AtomicU32>,
    entry: RwLock<Option<(u32, usize)>>,
    /// A list of neighbours is changed under the lock of its node, and read without one.
    locks: Vec<Mutex<()>>,
}

impl Builder {
    /// A graph over rows, of which `finished` nodes have their neighbours already.
    pub fn new(width: usize, rows: Vec<Line>, scales: Vec<f32>, finished: Option<&dyn FinishedGraph>) -> Self {
        let nodes = scales.len();
        // The last is the end of what is finished and the beginning of the first new node's.
        let mut starts = finished.map_or_else(|| vec![0], |finished| finished.starts().to_vec());
        let mut lists = starts.last().copied().unwrap_or_default();
        for node in starts.len() - 1..nodes {
            lists += level_of(node as u32) as u32;
            starts.push(lists);
        }
        let empty = |lists: usize, each: usize| (0..lists * each).map(|_| AtomicU32::new(NONE)).collect::<Vec<_>>();
        let builder = Self {
            width,
            rows,
            scales,
            below: empty(nodes, NEIGHBOURS_BELOW),
            above: empty(lists as usize, NEIGHBOURS),
            starts,
            entry: RwLock::new(finished.and_then(FinishedGraph::entry)),
            locks: (0..LOCKS).map(|_| Mutex::new(())).collect(),
        };
        if let Some(finished) = finished {
            for (slot, neighbour) in builder.below.iter().zip(finished.below()) {
                slot.store(*neighbour, Ordering::Relaxed);
            }
            for (slot, neighbour) in builder.above.iter().zip(finished.above()) {
                slot.store(*neighbour, Ordering::Relaxed);
            }
        }
        builder
    }

    /// Gives the nodes from `first` on their neighbours. False when it was stopped.
    pub fn insert_from(&self, first: usize, threads: usize, progress: &(dyn Fn(usize) -> bool + Sync)) -> bool {
        let (next, stopped) = (AtomicUsize::new(first), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    let mut scratch = (Scratch::default(), Query::default());
                    while !stopped.load(Ordering::Relaxed) {
                        let node = next.fetch_add(1, Ordering::Relaxed);
                        if node >= self.scales.len() {
                            break;
                        }
                        self.insert(node as u32, &mut scratch.0, &mut scratch.1);
                        if node.is_multiple_of(256) && !progress(node) {
                            stopped.store(true, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        !stopped.load(Ordering::Relaxed)
    }

    fn insert(&self, node: u32, scratch: &mut Scratch, other: &mut Query) {
        let level = self.level(node);
        let Some((entry, top)) = self.enter_empty(node, level) else { return };
        scratch.query.set_row(self.row(node), self.scale(node));
        let mut entries = vec![scratch.descend(self, entry, top, level.min(top))];
        for level in (0..=level.min(top)).rev() {
            let mut candidates = scratch.on_level(self, &entries, level, CONSTRUCTION, None);
            candidates.retain(|candidate| candidate.node != node);
            let chosen = self.choose(&candidates, NEIGHBOURS, other);
            {
                let _held = self.lock(node);
                self.write(node, level, chosen.iter().map(|chosen| chosen.node));
            }
            for neighbour in &chosen {
                self.link_back(neighbour.node, node, neighbour.cosine, level, other);
            }
            entries = candidates;
        }
        if level > top {
            let mut entry = self.entry.write().unwrap_or_else(PoisonError::into_inner);
            if entry.is_none_or(|(_, top)| level > top) {
                *entry = Some((node, level));
            }
        }
    }

    /// The present entry; `None` after the first node became it.
    fn enter_empty(&self, node: u32, level: usize) -> Option<(u32, usize)> {
        if let Some(entry) = *self.entry.read().unwrap_or_else(PoisonError::into_inner) {
            return Some(entry);
        }
        let mut entry = self.entry.write().unwrap_or_else(PoisonError::into_inner);
        let before = *entry;
        if before.is_none() {
            *entry = Some((node, level));
        }
        before
    }

    /// Of candidates, best first, those that lie in a direction of their own: nearer to the node than to any chosen
    /// before them.
    fn choose(&self, candidates: &[Found], most: usize, query: &mut Query) -> Vec<Found> {
        let mut chosen: Vec<Found> = Vec::with_capacity(most);
        let mut nodes: Vec<u32> = Vec::with_capacity(most);
        for candidate in candidates {
            if chosen.len() == most {
                break;
            }
            query.set_row(self.row(candidate.node), self.scale(candidate.node));
            let mut alone = true;
            query.compare(&self.rows, &self.scales, &nodes, |_, cosine| alone &= cosine <= candidate.cosine);
            if alone {
                chosen.push(*candidate);
                nodes.push(candidate.node);
            }
        }
        chosen
    }

    fn link_back(&self, node: u32, new: u32, cosine: f32, level: usize, query: &mut Query) {
        let _held = self.lock(node);
        let list = self.list(node, level);
        if list.iter().any(|slot| slot.load(Ordering::Relaxed) == new) {
            return;
        }
        if let Some(free) = list.iter().find(|slot| slot.load(Ordering::Relaxed) == NONE) {
            free.store(new, Ordering::Relaxed);
            return;
        }
        let present: Vec<u32> = list.iter().map(|slot| slot.load(Ordering::Relaxed)).collect();
        query.set_row(self.row(node), self.scale(node));
        let mut candidates = vec![Found { node: new, cosine }];
        query.compare(&self.rows, &self.scales, &present, |node, cosine| candidates.push(Found { node, cosine }));
        candidates.sort_unstable_by(|one, other| other.cosine.total_cmp(&one.cosine));
        let chosen = self.choose(&candidates, list.len(), query);
        self.write(node, level, chosen.iter().map(|chosen| chosen.node));
    }

    fn write(&self, node: u32, level: usize, neighbours: impl Iterator<Item = u32>) {
        let neighbours = neighbours.chain(std::iter::repeat(NONE));
        for (slot, neighbour) in self.list(node, level).iter().zip(neighbours) {
            slot.store(neighbour, Ordering::Relaxed);
        }
    }

    fn list(&self, node: u32, level: usize) -> &[AtomicU32] {
        let node = node as usize;
        if level == 0 {
            return self.below.get(node * NEIGHBOURS_BELOW..(node + 1) * NEIGHBOURS_BELOW).unwrap_or_default();
        }
        list_above(&self.starts, &self.above, node, level)
    }

    fn lock(&self, node: u32) -> MutexGuard<'_, ()> {
        self.locks[node as usize % LOCKS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn row(&self, node: u32) -> &[Line] {
        &self.rows[node as usize * self.width..(node as usize + 1) * self.width]
    }

    fn level(&self, node: u32) -> usize {
        match self.starts.get(node as usize..node as usize + 2) {
            Some([start, end]) => (end - start) as usize,
            _ => 0,
        }
    }

    fn scale(&self, node: u32) -> f32 {
        self.scales[node as usize]
    }
}

impl Graph for Builder {
    fn rows(&self) -> (&[Line], &[f32]) {
        (&self.rows, &self.scales)
    }

    fn entry(&self) -> Option<(u32, usize)> {
        *self.entry.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn neighbours(&self, node: u32, level: usize, neighbours: &mut Vec<u32>) {
        neighbours.clear();
        let list = self.list(node, level).iter().map(|slot| slot.load(Ordering::Relaxed));
        neighbours.extend(list.take_while(|neighbour| *neighbour != NONE));
    }
}

/// A graph whose lists can be taken over.
pub(crate) trait FinishedGraph {
    fn entry(&self) -> Option<(u32, usize)>;
    fn below(&self) -> &[u32];
    fn starts(&self) -> &[u32];
    fn above(&self) -> &[u32];
}

/// The neighbours of a node on a level above the bottom; empty where the node does not reach.
pub(crate) fn list_above<'a, T>(starts: &[u32], above: &'a [T], node: usize, level: usize) -> &'a [T] {
    let Some([start, end]) = starts.get(node..node + 2) else { return &[] };
    let list = *start as usize + level - 1;
    if list >= *end as usize {
        return &[];
    }
    above.get(list * NEIGHBOURS..(list + 1) * NEIGHBOURS).unwrap_or_default()
}

/// A new node's highest level: as drawn from an exponential distribution, but the same at every build.
fn level_of(node: u32) -> usize {
    // SplitMix64 (Steele, Lea and Flood, 2014).
    let mut mixed = u64::from(node).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let uniform = ((mixed >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
    (-uniform.ln() / (NEIGHBOURS as f64).ln()) as usize
}
