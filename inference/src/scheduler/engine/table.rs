//! A sequence's table of blocks: what of it is found in the pool, and what it leaves there.

use super::Engine;
use crate::network::BLOCK;
use crate::scheduler::pool::Pool;
use crate::scheduler::sequence::Sequence;

impl Engine {
    /// Sees what of a sequence is read already.
    pub(super) fn prepare(&mut self, place: usize) {
        let config = self.network.config();
        let Some(sequence) = self.running.get_mut(place) else { return };
        if sequence.lengthen(config) {
            vacate(&mut self.pool, sequence);
            sequence.restart();
        }
        if !sequence.can_share() {
            return;
        }
        if sequence.table.is_empty() {
            let found = self.pool.find(sequence.tokens());
            sequence.computed = found.blocks.len() * BLOCK;
            sequence.filed = found.blocks.len();
            sequence.table = found.blocks;
            if let Some((part, positions)) = found.part {
                if let Some(block) = self.pool.take(self.network.as_mut()) {
                    self.network.copy(part, block, positions);
                    sequence.table.push(block);
                    sequence.computed += positions;
                }
                self.pool.release(part);
            }
        }
        // Another sequence that begins alike may be ahead by now.
        while sequence.computed == sequence.table.len() * BLOCK && sequence.filed == sequence.table.len() {
            let next = sequence.computed..sequence.computed + BLOCK;
            // The last token is read again: its scores are what is asked for.
            let Some(tokens) = sequence.tokens().get(next.clone()).filter(|_| next.end < sequence.tokens().len())
            else {
                return;
            };
            let Some(block) = self.pool.next(sequence.table.last().copied(), tokens) else { return };
            sequence.table.push(block);
            sequence.filed += 1;
            sequence.computed = next.end;
        }
    }
}

/// Lets others find the blocks that a sequence has filled, and what it has filled of the last one
/// when it ends.
pub(super) fn file(pool: &mut Pool, sequence: &mut Sequence) {
    while let Some(block) = sequence.table.get(sequence.filed).copied() {
        let start = sequence.filed * BLOCK;
        let end = start + BLOCK;
        let Some(tokens) = sequence.tokens().get(start..end).filter(|_| end <= sequence.computed) else { return };
        let parent = sequence.filed.checked_sub(1).and_then(|before| sequence.table.get(before)).copied();
        let kept = pool.keep(parent, block, tokens);
        if let Some(block) = sequence.table.get_mut(sequence.filed) {
            *block = kept;
        }
        sequence.filed += 1;
    }
}

/// Ends a sequence's use of its blocks. What is in the last one stays to be found too.
pub(super) fn vacate(pool: &mut Pool, sequence: &mut Sequence) {
    let last = sequence.filed;
    let part = sequence.tokens().get(last * BLOCK..sequence.computed).unwrap_or_default();
    let parent = last.checked_sub(1).and_then(|before| sequence.table.get(before)).copied();
    if let Some(block) = sequence.table.get(last).copied().filter(|_| !part.is_empty() && part.len() < BLOCK) {
        let kept = pool.keep(parent, block, part);
        if let Some(block) = sequence.table.get_mut(last) {
            *block = kept;
        }
    }
    for block in std::mem::take(&mut sequence.table).into_iter().rev() {
        pool.release(block);
    }
}
