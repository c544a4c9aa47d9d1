//! The thread that computes.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvError, TryRecvError};
use std::sync::PoisonError;
use std::time::Instant;

use codriver_kernels::pool;

use super::pace::Pace;
use super::pool::Pool;
use super::request::{Interest, Reply, Request};
use super::sequence::{Outcome, Sequence};
use super::{Load, Room, Shared};
use crate::ModelError;
use crate::device::caught;
use crate::network::{BLOCK, Limits, Network, Segment};

pub(super) struct Engine {
    network: Box<dyn Network>,
    limits: Limits,
    pool: Pool,
    requests: Receiver<(Request, Reply)>,
    shared: Arc<Shared>,
    waiting: Vec<Sequence>,
    running: Vec<Sequence>,
    arrivals: u64,
    pace: Pace,
}

/// What a step reads of a running sequence: its place among them, and how many tokens.
#[derive(Debug, Clone, Copy)]
struct Share {
    place: usize,
    count: usize,
}

/// Tokens that are read at once with those of sequences that write: a few that were forced are no prompt.
const FEW: usize = 8;
/// Among equals, whoever was served less goes first; differences below this many tokens do not count,
/// so that short prompts are read one after the other.
const TURN: usize = 1024;
/// Tokens in a step up to which it costs little to check guesses.
const CHEAP: usize = 8;

impl Engine {
    pub(super) fn new(
        network: Box<dyn Network>,
        room: Room,
        requests: Receiver<(Request, Reply)>,
        shared: Arc<Shared>,
    ) -> Self {
        let limits = network.limits();
        let kept = room.kept / (network.block_size() as u64).max(1);
        let pool = Pool::new(room.blocks(), usize::try_from(kept).unwrap_or(usize::MAX));
        let pace = Pace::new(limits.tokens);
        Self {
            network,
            limits,
            pool,
            requests,
            shared,
            waiting: Vec::new(),
            running: Vec::new(),
            arrivals: 0,
            pace,
        }
    }

    /// Computes until nobody can ask for anything any more.
    pub(super) fn run(mut self) {
        while self.receive().is_ok() {
            self.sweep();
            self.admit();
            self.advance();
            let shares = self.plan();
            self.step(&shares);
            self.show();
        }
    }

    /// Takes in what has come; with nothing to do, waits for something.
    fn receive(&mut self) -> Result<(), RecvError> {
        if self.waiting.is_empty() && self.running.is_empty() {
            self.pool.trim(self.network.as_mut());
            self.show();
            let request = self.requests.recv()?;
            self.queue(request);
        }
        loop {
            match self.requests.try_recv() {
                Ok(request) => self.queue(request),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }

    fn queue(&mut self, (request, reply): (Request, Reply)) {
        self.arrivals += 1;
        self.waiting.push(Sequence::new(request, reply, self.arrivals, self.network.config()));
    }

    /// Ends what nobody waits for any more.
    fn sweep(&mut self) {
        for place in (0..self.running.len()).rev() {
            if self.running.get(place).is_some_and(|sequence| sequence.interest().is_lost()) {
                self.finish(place, Err(ModelError::Cancelled));
            }
        }
        for place in (0..self.waiting.len()).rev() {
            if self.waiting.get(place).is_some_and(|sequence| sequence.interest().is_lost()) {
                let sequence = self.waiting.remove(place);
                self.end_waiting(sequence, Err(ModelError::Cancelled));
            }
        }
    }

    /// Lets waiting requests run: the most urgent first, of equals the oldest. One that is more urgent
    /// than some that run takes their place.
    fn admit(&mut self) {
        loop {
            self.waiting.sort_by_key(|sequence| Reverse(sequence.rank()));
            let Some(next) = self.waiting.last() else { return };
            let needed = next.tokens().len().div_ceil(BLOCK) + 1;
            let (priority, tokens) = (next.priority, next.tokens().len());
            if tokens.div_ceil(BLOCK) > self.pool.limit() {
                if let Some(sequence) = self.waiting.pop() {
                    let error = no_room(tokens, self.pool.limit());
                    self.end_waiting(sequence, Err(error));
                }
                continue;
            }
            let is_full = self.running.len() >= self.limits.sequences || needed > self.pool.available();
            if is_full && !self.running.is_empty() {
                match self.least() {
                    Some(place) if self.running.get(place).is_some_and(|other| other.priority > priority) => {
                        self.preempt(place);
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

    /// Lets all answers go on that can.
    fn advance(&mut self) {
        let config = self.network.config();
        let advance = |sequence: &mut Sequence| {
            let advanced = caught(|| sequence.advance(config));
            advanced.unwrap_or_else(|panic| Some(Err(ModelError::Numeric(format!("choosing a token failed: {panic}")))))
        };
        let mut outcomes: Vec<Option<Outcome>> = self.running.iter().map(|_| None).collect();
        let sequences = self.running.iter_mut().zip(&mut outcomes);
        pool::for_each(sequences, |(sequence, outcome)| *outcome = advance(sequence));
        self.end(outcomes.into_iter().enumerate().filter_map(|(place, outcome)| Some((place, outcome?))));
    }

    /// Decides what the next step reads of whom.
    fn plan(&mut self) -> Vec<Share> {
        let mut left = self.limits.tokens;
        let mut shares = Vec::new();
        let mut order: Vec<usize> = (0..self.running.len()).collect();
        order.sort_by_key(|place| self.running.get(*place).map(Sequence::rank));
        let unread = |engine: &Self, place: usize| engine.running.get(place).map_or(0, Sequence::unread);
        let (writing, reading): (Vec<usize>, Vec<usize>) = order
            .into_iter()
            .filter(|place| unread(self, *place) > 0)
            .partition(|place| unread(self, *place) <= FEW && self.running.get(*place).is_some_and(Sequence::can_share));
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
        for place in reading {
            // A person's prompt is not slowed down by a batch job's.
            let is_urgent = self.running.get(place).is_some_and(|sequence| Some(sequence.priority) == most_urgent);
            if left == 0 || !is_urgent {
                break;
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
        shares.retain(|share| share.count > 0);
        self.provide(&shares)
    }

    /// Sees what of a sequence is read already.
    fn prepare(&mut self, place: usize) {
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
            let Some(tokens) = sequence.tokens().get(next.clone()).filter(|_| next.end < sequence.tokens().len()) else {
                return;
            };
            let Some(block) = self.pool.next(sequence.table.last().copied(), tokens) else { return };
            sequence.table.push(block);
            sequence.filed += 1;
            sequence.computed = next.end;
        }
    }

    /// Gives each sequence the blocks that its share needs. Where there are none left, whoever is least
    /// urgent and came last has to wait, and is read again later.
    fn provide(&mut self, shares: &[Share]) -> Vec<Share> {
        let mut kept = Vec::new();
        let mut victims: Vec<usize> = Vec::new();
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
                        sequence.forget_guesses();
                        vacate(&mut self.pool, sequence);
                    }
                }
            }
        }
        if victims.is_empty() {
            return kept;
        }
        // The only one that runs has nobody to wait for.
        let alone = self.running.len() == 1;
        kept.retain(|share| !victims.contains(&share.place));
        let kept: Vec<(u64, usize)> =
            kept.iter().filter_map(|share| Some((self.running.get(share.place)?.arrival, share.count))).collect();
        victims.sort_unstable();
        for victim in victims.into_iter().rev() {
            if alone {
                let length = self.running.get(victim).map_or(0, |sequence| sequence.tokens().len());
                self.finish(victim, Err(no_room(length, self.pool.limit())));
            } else {
                self.preempt(victim);
            }
        }
        let place = |arrival| self.running.iter().position(|sequence| sequence.arrival == arrival);
        kept.into_iter().filter_map(|(arrival, count)| Some(Share { place: place(arrival)?, count })).collect()
    }

    /// Computes a step.
    fn step(&mut self, shares: &[Share]) {
        if shares.is_empty() {
            return;
        }
        let started = Instant::now();
        let segment = |share: &Share| Some((*share, self.running.get(share.place)?));
        let parts: Vec<(Share, &Sequence)> = shares.iter().filter_map(segment).collect();
        let segments: Vec<Segment<'_>> = parts.iter().map(|(share, sequence)| sequence.segment(share.count)).collect();
        let tokens: usize = segments.iter().map(|segment| segment.unread().len()).sum();
        // A step is not worth finishing where a prompt takes most of it that nobody waits for any more.
        let long = parts.iter().filter(|(share, _)| share.count > FEW);
        let long: Vec<Interest> = long.map(|(_, sequence)| sequence.interest().clone()).collect();
        let interrupted = || long.iter().any(Interest::is_lost);
        let computed = compute(self.network.as_mut(), &segments, &interrupted);
        let mut results: Vec<Result<Vec<f32>, ModelError>> = match computed {
            Ok(rows) => rows.into_iter().map(Ok).collect(),
            Err(ModelError::Cancelled) => {
                self.running.iter_mut().for_each(Sequence::forget_guesses);
                return;
            }
            Err(error) if segments.len() == 1 => vec![Err(error)],
            Err(_) => {
                let alone = |segment: &Segment<'_>| {
                    let rows = compute(self.network.as_mut(), std::slice::from_ref(segment), &|| false)?;
                    Ok(rows.into_iter().next().unwrap_or_default())
                };
                segments.iter().map(alone).collect()
            }
        };
        let prompts = shares.iter().any(|share| share.count > FEW);
        self.pace.learn(tokens, prompts, started.elapsed());
        results.reverse();
        let mut outcomes = Vec::new();
        for share in shares {
            let (Some(sequence), Some(result)) = (self.running.get_mut(share.place), results.pop()) else { continue };
            let outcome = match result {
                Ok(rows) => sequence.read(share.count, rows),
                Err(error) => Some(Err(error)),
            };
            file(&mut self.pool, sequence);
            outcomes.extend(outcome.map(|outcome| (share.place, outcome)));
        }
        self.end(outcomes);
    }

    /// Ends running sequences.
    fn end(&mut self, outcomes: impl IntoIterator<Item = (usize, Outcome)>) {
        let mut outcomes: Vec<(usize, Outcome)> = outcomes.into_iter().collect();
        outcomes.sort_by_key(|(place, _)| Reverse(*place));
        for (place, outcome) in outcomes {
            self.finish(place, outcome);
        }
    }

    fn finish(&mut self, place: usize, outcome: Outcome) {
        let mut sequence = self.running.swap_remove(place);
        sequence.forget_guesses();
        let is_sound = matches!(outcome, Ok(_) | Err(ModelError::Cancelled));
        if is_sound {
            file(&mut self.pool, &mut sequence);
        } else {
            sequence.computed = sequence.filed * BLOCK;
        }
        let table = sequence.table.clone();
        vacate(&mut self.pool, &mut sequence);
        if !is_sound {
            // What a failed request has read may be broken.
            table.iter().rev().for_each(|block| self.pool.forget(*block));
        }
        sequence.end(outcome);
    }

    fn end_waiting(&self, sequence: Sequence, outcome: Outcome) {
        if sequence.is_new {
            self.shared.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        sequence.end(outcome);
    }

    /// The running sequence that is least urgent, of those the one that came last.
    fn least(&self) -> Option<usize> {
        let ranked = self.running.iter().enumerate();
        ranked.max_by_key(|(_, sequence)| sequence.rank()).map(|(place, _)| place)
    }

    /// Lets a running sequence wait. What was read of it may be found again.
    fn preempt(&mut self, place: usize) {
        let mut sequence = self.running.swap_remove(place);
        sequence.forget_guesses();
        vacate(&mut self.pool, &mut sequence);
        sequence.restart();
        self.waiting.push(sequence);
    }

    fn show(&self) {
        let mut load = self.shared.load.lock().unwrap_or_else(PoisonError::into_inner);
        *load = Load {
            running: self.running.len(),
            waiting: self.waiting.len(),
            blocks: self.pool.usage(),
            block_size: self.network.block_size(),
        };
    }
}

/// A step, with each segment's rows of scores.
fn compute(
    network: &mut dyn Network,
    segments: &[Segment<'_>],
    interrupted: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Vec<f32>>, ModelError> {
    let vocabulary = network.config().vocab_size;
    let failed = |panic| ModelError::Numeric(format!("the model's network failed: {panic}"));
    let scores = caught(|| network.step(segments, interrupted)).map_err(failed)??;
    let wanted: usize = segments.iter().map(|segment| segment.wanted).sum();
    if scores.len() != wanted * vocabulary {
        return Err(failed(format!("{} scores instead of {}", scores.len(), wanted * vocabulary)));
    }
    if segments.len() == 1 {
        return Ok(vec![scores]);
    }
    let mut rest = scores.as_slice();
    let mut rows = |segment: &Segment<'_>| rest.split_off(..segment.wanted * vocabulary).unwrap_or_default().to_vec();
    Ok(segments.iter().map(&mut rows).collect())
}

/// Lets others find the blocks that a sequence has filled, and what it has filled of the last one
/// when it ends.
fn file(pool: &mut Pool, sequence: &mut Sequence) {
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
fn vacate(pool: &mut Pool, sequence: &mut Sequence) {
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

fn no_room(tokens: usize, blocks: usize) -> ModelError {
    let room = blocks * BLOCK;
    ModelError::NoRoom { reason: format!("{tokens} tokens need keys and values, and there is room for {room}") }
}
