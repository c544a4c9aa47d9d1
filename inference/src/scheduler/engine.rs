//! The thread that computes.

mod admission;
mod plan;
mod table;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvError, TryRecvError};
use std::time::Instant;

use codriver_kernels::pool;

use self::plan::Share;
use self::table::{file, vacate};
use super::pace::Pace;
use super::pool::Pool;
use super::request::{Interest, Reply, Request};
use super::sequence::{Outcome, Sequence};
use super::{Load, Room, Shared};
use crate::device::caught;
use crate::network::{BLOCK, Limits, Network, Rows, Segment};
use crate::{ModelError, Priority};

pub(super) struct Engine {
    network: Box<dyn Network>,
    limits: Limits,
    pool: Pool,
    requests: Receiver<(Request, Reply)>,
    shared: Arc<Shared>,
    waiting: Vec<Sequence>,
    running: Vec<Sequence>,
    /// Whether those that run have more to keep than there is room for: nobody comes to them until one of
    /// them ends.
    is_short: bool,
    arrivals: u64,
    /// Tokens of prompts that an equal share came to, by urgency.
    given: BTreeMap<Priority, usize>,
    pace: Pace,
}

/// Tokens that are read at once with those of sequences that write: a few that were forced are no prompt.
const FEW: usize = 8;

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
            is_short: false,
            arrivals: 0,
            given: BTreeMap::new(),
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
            self.show();
            self.step(&shares);
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
        let served = self.given.get(&request.priority).copied().unwrap_or(0);
        self.waiting.push(Sequence::new(request, reply, self.arrivals, served, self.network.config()));
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
        let mut results: Vec<Result<Rows, ModelError>> = match computed {
            Ok(rows) => rows.into_iter().map(Ok).collect(),
            Err(ModelError::Cancelled) => {
                self.running.iter_mut().for_each(Sequence::forget_guesses);
                return;
            }
            Err(error) if segments.len() == 1 => vec![Err(error)],
            Err(_) => {
                let alone = |segment: &Segment<'_>| {
                    let rows = compute(self.network.as_mut(), std::slice::from_ref(segment), &|| false)?;
                    Ok(rows.into_iter().next().unwrap_or(Rows::Apart(Vec::new())))
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
        self.is_short = false;
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
) -> Result<Vec<Rows>, ModelError> {
    let vocabulary = network.config().vocab_size;
    let failed = |panic| ModelError::Numeric(format!("the model's network failed: {panic}"));
    let rows = caught(|| network.step(segments, interrupted)).map_err(failed)??;
    let wanted: usize = segments.iter().map(|segment| segment.wanted).sum();
    let count = rows.count(vocabulary);
    if count != Some(wanted) {
        return Err(failed(format!("{count:?} rows of scores instead of {wanted}")));
    }
    Ok(rows.split(segments, vocabulary))
}

fn no_room(tokens: usize, blocks: usize) -> ModelError {
    let room = blocks * BLOCK;
    ModelError::NoRoom { reason: format!("{tokens} tokens need keys and values, and there is room for {room}") }
}
