//! Who runs, and who waits.
//!
//! Every request ends, however little room there is. The first of those that run, by urgency and then by
//! age, is never put off for want of blocks: it gets those of the others, and where all of them are not
//! enough, ends with an error. Whenever blocks fall short, fewer run, and none comes to them until one of
//! them ends. So blocks fall short a few times at most before what is planned is read, and someone ends.

use std::cmp::Reverse;
use std::sync::atomic::Ordering;

use super::{Engine, no_room, table};
use crate::network::BLOCK;
use crate::scheduler::sequence::Sequence;

impl Engine {
    /// Lets waiting requests run: the most urgent first, of equals the oldest. One that is more urgent
    /// than some that run takes their place.
    pub(super) fn admit(&mut self) {
        loop {
            self.waiting.sort_by_key(|sequence| Reverse(sequence.rank()));
            let Some(next) = self.waiting.last() else { return };
            let (priority, tokens) = (next.priority, next.tokens().len());
            if tokens.div_ceil(BLOCK) > self.pool.limit() {
                if let Some(sequence) = self.waiting.pop() {
                    let error = no_room(tokens, self.pool.limit());
                    self.end_waiting(sequence, Err(error));
                }
                continue;
            }
            if !self.running.is_empty() && (self.is_short || self.is_full(next)) {
                match self.least() {
                    Some(place) if self.running.get(place).is_some_and(|other| other.priority > priority) => {
                        self.preempt(place);
                        self.is_short = false;
                        continue;
                    }
                    _ => return,
                }
            }
            let Some(mut sequence) = self.waiting.pop() else { return };
            if std::mem::take(&mut sequence.is_new) {
                self.shared.waiting.fetch_sub(1, Ordering::SeqCst);
            }
            self.running.push(sequence);
        }
    }

    /// Whether there is no room for one more: each has to have its tokens in blocks, and one block to
    /// go on in. Those that run and have not read all of theirs will take what is free now.
    fn is_full(&self, next: &Sequence) -> bool {
        let missing = |sequence: &Sequence| {
            let held = match sequence.table.len() {
                0 if sequence.can_share() => self.pool.shared(sequence.tokens()),
                held => held,
            };
            (sequence.tokens().len().div_ceil(BLOCK) + 1).saturating_sub(held)
        };
        let missing: usize = self.running.iter().chain([next]).map(missing).sum();
        self.running.len() >= self.limits.sequences || missing > self.pool.available()
    }

    /// The running sequence that is least urgent, of those the one that came last.
    fn least(&self) -> Option<usize> {
        let ranked = self.running.iter().enumerate();
        ranked.max_by_key(|(_, sequence)| sequence.rank()).map(|(place, _)| place)
    }

    /// Lets a running sequence wait. What was read of it may be found again.
    pub(super) fn preempt(&mut self, place: usize) {
        let mut sequence = self.running.swap_remove(place);
        sequence.forget_guesses();
        table::vacate(&mut self.pool, &mut sequence);
        sequence.restart();
        self.waiting.push(sequence);
    }
}
