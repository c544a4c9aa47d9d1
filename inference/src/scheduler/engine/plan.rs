//! What the next step reads of whom.

use super::{Engine, FEW, no_room, table};
use crate::network::BLOCK;
use crate::scheduler::sequence::Sequence;

/// What a step reads of a running sequence: its place among them, and how many tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) place: usize,
    pub(super) count: usize,
}

/// Among equals, whoever was served less goes first; differences below this many tokens do not count,
/// so that short prompts are read one after the other. Whoever comes later has been served as much as
/// an equal share came to before: else short prompts that go on coming would keep a long one waiting
/// for ever (virtual time, as in weighted fair queueing: Demers, Keshav and Shenker 1989).
const TURN: usize = 1024;
/// Tokens in a step up to which it costs little to check guesses.
const CHEAP: usize = 8;

impl Engine {
    /// Decides what the next step reads of whom.
    pub(super) fn plan(&mut self) -> Vec<Share> {
        let mut left = self.limits.tokens;
        let mut shares = Vec::new();
        let mut order: Vec<usize> = (0..self.running.len()).collect();
        order.sort_by_key(|place| self.running.get(*place).map(Sequence::rank));
        let unread = |engine: &Self, place: usize| engine.running.get(place).map_or(0, Sequence::unread);
        let (writing, reading): (Vec<usize>, Vec<usize>) =
            order.into_iter().filter(|place| unread(self, *place) > 0).partition(|place| {
                unread(self, *place) <= FEW && self.running.get(*place).is_some_and(Sequence::can_share)
            });
        let guesses = (CHEAP / writing.len().max(1)).saturating_sub(1);
        let guesses = if reading.is_empty() { guesses } else { 0 };
        for place in &writing {
            self.prepare(*place);
            let config = self.network.config();
            let Some(sequence) = self.running.get_mut(*place) else { continue };
            let count = sequence.run(left.min(sequence.unread()));
            if count == 1 && sequence.unread() == 1 && left > guesses {
                sequence.guess(|rate| self.pace.guesses(rate, guesses), config);
            }
            left = left.saturating_sub(count + sequence.guessed());
            shares.push(Share { place: *place, count });
        }
        let mut reading = reading;
        reading.sort_by_key(|place| {
            self.running.get(*place).map(|sequence| (sequence.priority, sequence.served / TURN, sequence.arrival))
        });
        let most_urgent = reading.first().and_then(|place| self.running.get(*place)).map(|sequence| sequence.priority);
        let is_waiting = |place: &usize| self.running.get(*place).map(|sequence| sequence.priority) <= most_urgent;
        left = left.min(self.pace.piece(writing.iter().any(is_waiting)));
        let (piece, mut equals) = (left, 0);
        for place in reading {
            // A person's prompt is not slowed down by a batch job's.
            let is_urgent = self.running.get(place).is_some_and(|sequence| Some(sequence.priority) == most_urgent);
            if !is_urgent {
                break;
            }
            equals += 1;
            if left == 0 {
                continue;
            }
            self.prepare(place);
            let Some(sequence) = self.running.get(place) else { continue };
            let count = sequence.run(left);
            let end = sequence.computed + count;
            // Pieces end where blocks do, for others to go on from.
            let whole = (end / BLOCK * BLOCK).saturating_sub(sequence.computed);
            let count = if count < sequence.unread() && whole > 0 { whole } else { count };
            left -= count;
            shares.push(Share { place, count });
        }
        if let Some(priority) = most_urgent {
            *self.given.entry(priority).or_default() += (piece - left) / equals.max(1);
        }
        shares.retain(|share| share.count > 0);
        self.provide(&shares)
    }

    /// Gives each sequence the blocks that its share needs. Where there are none left, whoever is least
    /// urgent and came last has to wait, and is read again later.
    fn provide(&mut self, shares: &[Share]) -> Vec<Share> {
        let mut kept = Vec::new();
        let mut victims: Vec<usize> = Vec::new();
        let mut room = 0;
        for share in shares {
            while !victims.contains(&share.place) {
                let Some(sequence) = self.running.get_mut(share.place) else { break };
                if sequence.table.len() >= sequence.blocks_for(share.count) {
                    kept.push(*share);
                    break;
                }
                if let Some(block) = self.pool.take(self.network.as_mut()) {
                    sequence.table.push(block);
                } else if sequence.guessed() > 0 {
                    sequence.forget_guesses();
                } else {
                    let others = self.running.iter().enumerate().filter(|(place, _)| !victims.contains(place));
                    let least = others.max_by_key(|(_, sequence)| sequence.rank()).map(|(place, _)| place);
                    let Some(victim) = least else { break };
                    victims.push(victim);
                    if let Some(sequence) = self.running.get_mut(victim) {
                        room = sequence.table.len();
                        sequence.forget_guesses();
                        table::vacate(&mut self.pool, sequence);
                    }
                }
            }
        }
        if victims.is_empty() {
            return kept;
        }
        kept.retain(|share| !victims.contains(&share.place));
        let kept: Vec<(u64, usize)> =
            kept.iter().filter_map(|share| Some((self.running.get(share.place)?.arrival, share.count))).collect();
        self.is_short = true;
        // Whom nobody is left to make way for, the last of them then, would wait for nothing.
        let hopeless = victims.last().copied().filter(|_| victims.len() == self.running.len());
        victims.sort_unstable();
        for victim in victims.into_iter().rev() {
            if hopeless == Some(victim) {
                let length = self.running.get(victim).map_or(0, |sequence| sequence.tokens().len());
                self.finish(victim, Err(no_room(length, room)));
            } else {
                self.preempt(victim);
            }
        }
        let place = |arrival| self.running.iter().position(|sequence| sequence.arrival == arrival);
        kept.into_iter().filter_map(|(arrival, count)| Some(Share { place: place(arrival)?, count })).collect()
    }
}
