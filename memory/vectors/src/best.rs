//! The best of what was compared so far.

use std::collections::BinaryHeap;

/// So many as are asked for, the worst of them on top.
pub(crate) struct Best {
    k: usize,
    heap: BinaryHeap<Worst>,
}

#[derive(PartialEq)]
struct Worst {
    cosine: f32,
    /// Among equals, the less is the better.
    order: u64,
    position: usize,
}

impl Eq for Worst {}

impl Ord for Worst {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let equals = || self.order.cmp(&other.order).then(self.position.cmp(&other.position));
        other.cosine.total_cmp(&self.cosine).then_with(equals)
    }
}

impl PartialOrd for Worst {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Best {
    pub fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::with_capacity(k.min(1 << 16)) }
    }

    /// Keeps it if it is among the best; `order` is of its place among equals.
    pub fn offer(&mut self, position: usize, cosine: f32, order: &impl Fn(usize) -> u64) {
        if self.heap.len() < self.k {
            self.heap.push(Worst { cosine, order: order(position), position });
        } else if let Some(mut worst) = self.heap.peek_mut()
            && cosine >= worst.cosine
        {
            let offered = Worst { cosine, order: order(position), position };
            if offered < *worst {
                *worst = offered;
            }
        }
    }

    /// Best first.
    pub fn into_sorted(self) -> Vec<(f32, usize)> {
        self.heap.into_sorted_vec().into_iter().map(|worst| (worst.cosine, worst.position)).collect()
    }
}
