//! The walk: from an entry at the top of the graph to the nearest at the bottom (HNSW, algorithms 2 and 5).

use crate::distance::Line;
use crate::quantized::Query;

/// A graph that can be walked, finished or being built. Nodes are numbered from 0, levels from 0 at the bottom.
pub(crate) trait Graph {
    /// Rows of 8 bits and their scales.
    fn rows(&self) -> (&[Line], &[f32]);

    /// Where a walk begins, and on which level; `None` in an empty graph.
    fn entry(&self) -> Option<(u32, usize)>;

    /// Puts the neighbours of a node into `neighbours`, in place of what was there.
    fn neighbours(&self, node: u32, level: usize, neighbours: &mut Vec<u32>);
}

/// A node and its cosine with what is searched for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Found {
    pub node: u32,
    pub cosine: f32,
}

/// What a walk needs beside the graph; kept from one to the next.
#[derive(Default)]
pub(crate) struct Scratch {
    pub query: Query,
    visited: Visited,
    neighbours: Vec<u32>,
    pool: Vec<Candidate>,
    admitted: Vec<Found>,
}

#[derive(Clone, Copy)]
struct Candidate {
    cosine: f32,
    node: u32,
    expanded: bool,
}

/// One bit a node, of which only the touched are cleared.
#[derive(Default)]
struct Visited {
    words: Vec<u64>,
    touched: Vec<u32>,
}

impl Visited {
    fn start(&mut self, nodes: usize) {
        for word in self.touched.drain(..) {
            self.words[word as usize] = 0;
        }
        if self.words.len() < nodes.div_ceil(64) {
            self.words.resize(nodes.div_ceil(64), 0);
        }
    }

    /// True the first time; false for a node that does not exist.
    #[inline(always)]
    fn insert(&mut self, node: u32) -> bool {
        let Some(word) = self.words.get_mut(node as usize / 64) else { return false };
        let bit = 1 << (node % 64);
        if *word & bit != 0 {
            return false;
        }
        if *word == 0 {
            self.touched.push(node / 64);
        }
        *word |= bit;
        true
    }
}

impl Scratch {
    /// The best of `wide` candidates near what `self.query` was set to, best first, among those that `admit` lets
    /// through. The walk goes through the others too.
    pub fn nearest(&mut self, graph: &impl Graph, wide: usize, admit: Option<&dyn Fn(u32) -> bool>) -> Vec<Found> {
        let Some((entry, level)) = graph.entry() else { return Vec::new() };
        let entry = self.descend(graph, entry, level, 0);
        self.on_level(graph, &[entry], 0, wide, admit)
    }

    /// Walks greedily from the entry's level down to the one above `level`.
    pub fn descend(&mut self, graph: &impl Graph, entry: u32, from: usize, level: usize) -> Found {
        let (table, scales) = graph.rows();
        let mut best = Found { node: entry, cosine: f32::MIN };
        self.query.compare(table, scales, &[entry], |_, cosine| best.cosine = cosine);
        for level in (level + 1..=from).rev() {
            loop {
                let before = best.node;
                graph.neighbours(best.node, level, &mut self.neighbours);
                self.query.compare(table, scales, &self.neighbours, |node, cosine| {
                    if cosine > best.cosine {
                        best = Found { node, cosine };
                    }
                });
                if best.node == before {
                    break;
                }
            }
        }
        best
    }

    /// The nearest on one level, best first: at most `wide`, or, with `admit`, as many of them as it lets through
    /// while the walk keeps `wide` candidates.
    pub fn on_level(
        &mut self,
        graph: &impl Graph,
        entries: &[Found],
        level: usize,
        wide: usize,
        admit: Option<&dyn Fn(u32) -> bool>,
    ) -> Vec<Found> {
        let (table, scales) = graph.rows();
        let wide = wide.max(1);
        self.visited.start(scales.len());
        self.pool.clear();
        self.admitted.clear();
        for entry in entries {
            if self.visited.insert(entry.node) {
                offer(&mut self.pool, wide, entry.node, entry.cosine);
                if admit.is_some_and(|admit| admit(entry.node)) {
                    self.admitted.push(*entry);
                }
            }
        }
        let mut next = 0;
        while let Some(candidate) = self.pool.get_mut(next) {
            if candidate.expanded {
                next += 1;
                continue;
            }
            candidate.expanded = true;
            let node = candidate.node;
            graph.neighbours(node, level, &mut self.neighbours);
            let visited = &mut self.visited;
            self.neighbours.retain(|node| visited.insert(*node));
            let (pool, admitted) = (&mut self.pool, &mut self.admitted);
            self.query.compare(table, scales, &self.neighbours, |node, cosine| {
                if let Some(position) = offer(pool, wide, node, cosine) {
                    next = next.min(position);
                    if admit.is_some_and(|admit| admit(node)) {
                        admitted.push(Found { node, cosine });
                    }
                }
            });
        }
        if admit.is_some() {
            self.admitted.sort_unstable_by(|one, other| other.cosine.total_cmp(&one.cosine));
            return self.admitted.clone();
        }
        self.pool.iter().map(|candidate| Found { node: candidate.node, cosine: candidate.cosine }).collect()
    }
}

/// Puts a node in its place in the pool, where it is among the best; gives the place.
#[inline(always)]
fn offer(pool: &mut Vec<Candidate>, wide: usize, node: u32, cosine: f32) -> Option<usize> {
    if pool.len() >= wide {
        if pool.last().is_some_and(|worst| cosine <= worst.cosine) {
            return None;
        }
        pool.pop();
    }
    let position = pool.partition_point(|candidate| candidate.cosine >= cosine);
    pool.insert(position, Candidate { cosine, node, expanded: false });
    Some(position)
}
