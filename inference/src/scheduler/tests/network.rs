//! A network that is arithmetic, and that fails when told to.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{ERROR, NOT_A_NUMBER, PANIC, VOCABULARY};
use crate::models::decoder::DecoderConfig;
use crate::models::rotary::Regime;
use crate::network::{BLOCK, Block, Limits, Network, Rows, Segment, Token};
use crate::sampling::Sampler;
use crate::{ModelError, SamplingParameters};

/// Scores are a function of all tokens up to theirs, as the blocks have them.
pub(super) struct Arithmetic {
    pub(super) config: DecoderConfig,
    pub(super) limits: Limits,
    pub(super) blocks: HashMap<Block, [Option<(usize, Token)>; BLOCK]>,
    /// Blocks that there is memory for.
    pub(super) memory: usize,
    /// How many of the last tokens count, wherever they are; `None`: all, where they are.
    pub(super) sight: Option<usize>,
    pub(super) probe: Arc<Probe>,
}

/// What a test sees and sets while the network computes.
#[derive(Default)]
pub(super) struct Probe {
    pub(super) steps: AtomicUsize,
    pub(super) tokens: AtomicUsize,
    /// Tokens of each step's segments.
    pub(super) log: Mutex<Vec<Vec<usize>>>,
    /// Microseconds that a token takes, and that a step takes besides.
    pub(super) slowness: AtomicUsize,
    pub(super) step_slowness: AtomicUsize,
    pub(super) interrupted: AtomicUsize,
    /// Whether giving memory back panics, where nothing catches it.
    pub(super) is_broken: AtomicBool,
}

fn value(token: Token, position: usize) -> u64 {
    let regime = match token.regime {
        Regime::Usual => 1,
        Regime::Long => 2,
        Regime::Stretched(length) => 3 + length as u64,
    };
    mix(mix(u64::from(token.id) << 32 | position as u64) ^ regime)
}

/// What scores are a function of.
fn state(sequence: &[(usize, Token)], sight: Option<usize>) -> u64 {
    match sight {
        Some(sight) => sequence.iter().rev().take(sight).fold(0, |state, (_, token)| mix(state ^ u64::from(token.id))),
        None => sequence.iter().fold(0, |state, (position, token)| mix(state ^ value(*token, *position))),
    }
}

fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

fn scores(state: u64) -> Vec<f32> {
    // The tokens that cause trouble are never chosen.
    let score = |token: u64| if token >= 20 { -9.0 } else { (mix(state ^ token << 7) % 1000) as f32 / 250.0 };
    (0..VOCABULARY as u64).map(score).collect()
}

impl Network for Arithmetic {
    fn config(&self) -> &DecoderConfig {
        &self.config
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn block_size(&self) -> usize {
        1 << 20
    }

    fn provide(&mut self, block: Block) -> Result<(), ModelError> {
        if !self.blocks.contains_key(&block) && self.blocks.len() >= self.memory {
            return Err(ModelError::NoRoom { reason: "a test".to_owned() });
        }
        self.blocks.insert(block, [None; BLOCK]);
        Ok(())
    }

    fn discard(&mut self, block: Block) {
        assert!(!self.probe.is_broken.load(Ordering::SeqCst), "told to");
        self.blocks.remove(&block);
    }

    fn copy(&mut self, from: Block, to: Block, positions: usize) {
        let from = self.blocks[&from];
        self.blocks.get_mut(&to).unwrap()[..positions].copy_from_slice(&from[..positions]);
    }

    fn step(&mut self, segments: &[Segment<'_>], interrupted: &(dyn Fn() -> bool + Sync)) -> Result<Rows, ModelError> {
        assert!(segments.len() <= self.limits.sequences);
        assert!(segments.iter().map(|segment| segment.unread().len()).sum::<usize>() <= self.limits.tokens);
        let mut tables: Vec<&[Block]> =
            segments.iter().map(|segment| &segment.blocks[segment.past / BLOCK..]).collect();
        tables.sort();
        let written: Vec<Block> = tables.concat();
        let distinct: HashSet<Block> = written.iter().copied().collect();
        assert_eq!(distinct.len(), written.len(), "two sequences write the same block");
        self.probe.steps.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_micros(self.probe.step_slowness.load(Ordering::SeqCst) as u64));
        self.probe.log.lock().unwrap().push(segments.iter().map(|segment| segment.unread().len()).collect());
        let mut rows = Vec::new();
        for segment in segments {
            let unread = segment.unread();
            assert!(!unread.is_empty() && unread.iter().all(|token| token.regime == segment.regime()));
            for (position, token) in (segment.past..).zip(unread) {
                if token.id == PANIC {
                    panic!("told to");
                }
                if token.id == ERROR {
                    return Err(ModelError::Numeric("told to".to_owned()));
                }
                let slowness = self.probe.slowness.load(Ordering::SeqCst) as u64;
                if slowness > 0 {
                    std::thread::sleep(Duration::from_micros(slowness));
                    if interrupted() {
                        self.probe.interrupted.fetch_add(1, Ordering::SeqCst);
                        return Err(ModelError::Cancelled);
                    }
                }
                self.probe.tokens.fetch_add(1, Ordering::SeqCst);
                let block = self.blocks.get_mut(&segment.blocks[position / BLOCK]).expect("a block that was provided");
                block[position % BLOCK] = Some((position, *token));
            }
            let end = segment.sequence.len();
            let held = |position: usize| self.blocks[&segment.blocks[position / BLOCK]][position % BLOCK];
            let held: Vec<(usize, Token)> = (0..end).map(|position| held(position).expect("was read")).collect();
            for position in end - segment.wanted..end {
                let broken = held[..=position].iter().any(|(_, token)| token.id == NOT_A_NUMBER);
                let state = state(&held[..=position], self.sight);
                rows.extend(if broken { vec![f32::NAN; VOCABULARY] } else { scores(state) });
            }
        }
        Ok(Rows::Whole(rows))
    }
}

/// What the network says, from the definition.
pub(super) fn expected(config: &DecoderConfig, prompt: &[u32], sampling: &SamplingParameters) -> Vec<u32> {
    expected_of(config, prompt, sampling, None)
}

pub(super) fn expected_of(
    config: &DecoderConfig,
    prompt: &[u32],
    sampling: &SamplingParameters,
    sight: Option<usize>,
) -> Vec<u32> {
    let mut sampler = Sampler::new(sampling, prompt).unwrap();
    let regime = config.regime(prompt.len());
    let mut sequence: Vec<_> = prompt.iter().map(|id| Token { id: *id, regime }).collect();
    for _ in 0..sampling.max_tokens {
        if config.regime(sequence.len()) == Regime::Long {
            sequence.iter_mut().for_each(|token| token.regime = Regime::Long);
        }
        let placed: Vec<(usize, Token)> = sequence.iter().copied().enumerate().collect();
        let id = sampler.choose(&mut scores(state(&placed, sight))).unwrap();
        sequence.push(Token { id, regime: config.regime(sequence.len() + 1) });
    }
    sequence[prompt.len()..].iter().map(|token| token.id).collect()
}
