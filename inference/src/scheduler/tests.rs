//! The scheduler on a network that is arithmetic, and that fails when told to: what it says depends
//! on what lies in a sequence's blocks, so a block that was mixed up shows.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::pool::Pool;
use super::{Answer, Event, Load, Request, Room, Scheduler, Task};
use crate::models::decoder::DecoderConfig;
use crate::models::rotary::{Regime, RopeScaling, RotaryConfig};
use crate::network::{BLOCK, Block, Limits, Network, Segment, Token};
use crate::sampling::Sampler;
use crate::{Cancellation, ModelError, Priority, SamplingParameters};

const VOCABULARY: usize = 23;
/// Tokens that a network has trouble with.
const NOT_A_NUMBER: u32 = 20;
const PANIC: u32 = 21;
const ERROR: u32 = 22;

/// Scores are a function of all tokens up to theirs, as the blocks have them.
struct Arithmetic {
    config: DecoderConfig,
    limits: Limits,
    blocks: HashMap<Block, [Option<(usize, Token)>; BLOCK]>,
    /// Blocks that there is memory for.
    memory: usize,
    /// How many of the last tokens count, wherever they are; `None`: all, where they are.
    sight: Option<usize>,
    probe: Arc<Probe>,
}

/// What a test sees and sets while the network computes.
#[derive(Default)]
struct Probe {
    steps: AtomicUsize,
    tokens: AtomicUsize,
    /// Tokens of each step's segments.
    log: Mutex<Vec<Vec<usize>>>,
    /// Microseconds that a token takes, and that a step takes besides.
    slowness: AtomicUsize,
    step_slowness: AtomicUsize,
    interrupted: AtomicUsize,
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
        self.blocks.remove(&block);
    }

    fn copy(&mut self, from: Block, to: Block, positions: usize) {
        let from = self.blocks[&from];
        self.blocks.get_mut(&to).unwrap()[..positions].copy_from_slice(&from[..positions]);
    }

    fn step(
        &mut self,
        segments: &[Segment<'_>],
        interrupted: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<f32>, ModelError> {
        assert!(segments.len() <= self.limits.sequences);
        assert!(segments.iter().map(|segment| segment.unread().len()).sum::<usize>() <= self.limits.tokens);
        let mut tables: Vec<&[Block]> = segments.iter().map(|segment| &segment.blocks[segment.past / BLOCK..]).collect();
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
        Ok(rows)
    }
}

/// What the network says, from the definition.
fn expected(config: &DecoderConfig, prompt: &[u32], sampling: &SamplingParameters) -> Vec<u32> {
    expected_of(config, prompt, sampling, None)
}

fn expected_of(
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

struct Bench {
    scheduler: Scheduler,
    config: DecoderConfig,
    probe: Arc<Probe>,
}

impl Bench {
    fn new(scaling: Option<RopeScaling>, limits: Limits, blocks: usize, memory: usize) -> Self {
        Self::seeing(None, scaling, limits, blocks, memory)
    }

    fn seeing(
        sight: Option<usize>,
        scaling: Option<RopeScaling>,
        limits: Limits,
        blocks: usize,
        memory: usize,
    ) -> Self {
        let rotary = RotaryConfig { scaling, ..RotaryConfig::default() };
        let config = DecoderConfig { vocab_size: VOCABULARY, rotary, ..DecoderConfig::default() };
        let probe = Arc::new(Probe::default());
        let network =
            Arithmetic { config: config.clone(), limits, blocks: HashMap::new(), memory, sight, probe: Arc::clone(&probe) };
        let room = Room { tokens: (blocks - 1) * BLOCK, kept: 20 << 20 };
        Self { scheduler: Scheduler::start(Box::new(network), room).unwrap(), config, probe }
    }

    fn usual() -> Self {
        Self::new(None, Limits { sequences: 8, tokens: 128 }, 100, 100)
    }

    fn answer(&self, prompt: &[u32], sampling: &SamplingParameters, asked: Asked) -> Result<Vec<u32>, ModelError> {
        let answer = Answer {
            sampler: Sampler::new(sampling, prompt)?,
            guide: None,
            limit: sampling.max_tokens,
            ends: Arc::default(),
            speculate: asked.speculate,
        };
        let (priority, cancellation) = (asked.priority, asked.cancellation.clone());
        let task = Task::Answer(Box::new(answer));
        let mut ticket = self.scheduler.submit(Request { prompt: prompt.to_vec(), task, priority, cancellation })?;
        let mut tokens = Vec::new();
        loop {
            match ticket.next()? {
                Event::Token(token) => tokens.push(token),
                Event::Ended(completion) => {
                    assert_eq!(completion.tokens, tokens.len());
                    return Ok(tokens);
                }
                other => panic!("{other:?}"),
            }
            if asked.cancel_after == Some(tokens.len()) {
                asked.cancellation.cancel();
            }
        }
    }

    /// Once all is done, all blocks are free or kept.
    fn settle(&self) -> Load {
        let started = Instant::now();
        loop {
            let load = self.scheduler.load();
            if load.running == 0 && load.waiting == 0 && load.blocks.held == 0 {
                return load;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{load:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[derive(Clone, Default)]
struct Asked {
    priority: Priority,
    speculate: bool,
    cancellation: Cancellation,
    cancel_after: Option<usize>,
}

fn sampling(seed: u64, max_tokens: usize) -> SamplingParameters {
    SamplingParameters { temperature: 0.7, seed, max_tokens, ..SamplingParameters::default() }
}

fn fresh_seed() -> u64 {
    let seed = std::env::var("CODRIVER_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    seed.unwrap_or_else(rand::random)
}

fn prompt(random: &mut StdRng, length: usize) -> Vec<u32> {
    (0..length).map(|_| random.random_range(0..20)).collect()
}

/// Hundreds of requests, many of which begin alike, some cancelled, some urgent, some at fault, with
/// room for few: each of the others gets what it gets alone.
#[test]
fn a_crowd_gets_what_each_gets_alone() {
    let seed = fresh_seed();
    let scalings = [
        None,
        Some(RopeScaling::Dynamic { factor: 2.0, original_positions: 90 }),
        Some(RopeScaling::LongRope {
            short: Vec::new(),
            long: Vec::new(),
            original_positions: 100,
            attention_factor: 1.0,
        }),
    ];
    for (index, scaling) in scalings.into_iter().enumerate() {
        let mut random = StdRng::seed_from_u64(seed + index as u64);
        let limits = Limits { sequences: random.random_range(1..9), tokens: random.random_range(20..300) };
        let blocks = random.random_range(9..30);
        // Sometimes the system has less memory than there may be blocks.
        let memory = if random.random_bool(0.5) { blocks } else { 8 };
        let bench = Bench::new(scaling, limits, blocks, memory);
        let beginnings: Vec<Vec<u32>> = (0..4).map(|_| prompt(&mut random, 150)).collect();
        let (failed, cancelled, written) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..6 {
                let mut random = StdRng::seed_from_u64(seed ^ thread << 40);
                let (bench, beginnings) = (&bench, &beginnings);
                let (failed, cancelled, written) = (&failed, &cancelled, &written);
                scope.spawn(move || {
                    for _ in 0..60 {
                        let beginning = &beginnings[random.random_range(0..beginnings.len())];
                        let mut tokens = beginning[..random.random_range(0..150)].to_vec();
                        let length = random.random_range(1..100);
                        tokens.extend(prompt(&mut random, length));
                        let fault = random.random_bool(0.1).then(|| random.random_range(NOT_A_NUMBER..=ERROR));
                        if let Some(fault) = fault {
                            let place = random.random_range(0..tokens.len());
                            tokens[place] = fault;
                        }
                        let sampling = sampling(random.random(), random.random_range(0..100));
                        let asked = Asked {
                            priority: if random.random_bool(0.3) { Priority::Batch } else { Priority::Interactive },
                            speculate: random.random_bool(0.5),
                            cancel_after: random.random_bool(0.15).then(|| random.random_range(1..50)),
                            ..Asked::default()
                        };
                        let answer = bench.answer(&tokens, &sampling, asked.clone());
                        match (answer, fault) {
                            (Err(ModelError::Cancelled), _) if asked.cancel_after.is_some() => {
                                cancelled.fetch_add(1, Ordering::SeqCst);
                            }
                            (Err(error), Some(_)) => {
                                assert!(matches!(error, ModelError::Numeric(_)), "{error}");
                                failed.fetch_add(1, Ordering::SeqCst);
                            }
                            (Ok(answer), Some(_)) => assert!(answer.is_empty() && sampling.max_tokens == 0),
                            (Ok(answer), None) => {
                                let expected = expected(&bench.config, &tokens, &sampling);
                                assert_eq!(answer, expected, "seed {seed}, case {index}");
                                written.fetch_add(answer.len(), Ordering::SeqCst);
                            }
                            (Err(error), None) => panic!("seed {seed}, case {index}: {error}"),
                        }
                    }
                });
            }
        });
        let load = bench.settle();
        assert!(load.blocks.kept <= 20, "{load:?}");
        let counts = [&failed, &cancelled, &written].map(|count| count.load(Ordering::SeqCst));
        assert!(counts.iter().all(|count| *count > 5), "seed {seed}: {counts:?}");
    }
}

#[test]
fn guesses_save_steps_and_change_nothing() {
    let seed = fresh_seed();
    let mut random = StdRng::seed_from_u64(seed);
    // Greedy choices of a network that sees two tokens come again and again: most guesses are right.
    let bench = Bench::seeing(Some(2), None, Limits { sequences: 8, tokens: 128 }, 100, 100);
    // A token more costs little, as where weights are read once for all of a step.
    bench.probe.step_slowness.store(300, Ordering::SeqCst);
    let greedy = SamplingParameters { max_tokens: 300, ..SamplingParameters::default() };
    let (mut steps, mut steps_without) = (0, 0);
    for _ in 0..5 {
        let tokens = prompt(&mut random, 40);
        let expected = expected_of(&bench.config, &tokens, &greedy, Some(2));
        for (speculate, steps) in [(true, &mut steps), (false, &mut steps_without)] {
            let answer = bench.answer(&tokens, &greedy, Asked { speculate, ..Asked::default() }).unwrap();
            assert_eq!(answer, expected, "seed {seed}");
            *steps += bench.probe.steps.swap(0, Ordering::SeqCst);
        }
    }
    assert!(2 * steps < steps_without, "seed {seed}: {steps} steps, without guesses {steps_without}");
    // Where scores depend on all tokens, guesses are right by chance only.
    let bench = Bench::usual();
    for _ in 0..20 {
        let tokens = prompt(&mut random, 40).repeat(3);
        let sampling = sampling(random.random(), 60);
        let speculate = Asked { speculate: true, ..Asked::default() };
        let guessed = bench.answer(&tokens, &sampling, speculate).unwrap();
        assert_eq!(guessed, bench.answer(&tokens, &sampling, Asked::default()).unwrap(), "seed {seed}");
        assert_eq!(guessed, expected(&bench.config, &tokens, &sampling), "seed {seed}");
    }
}

#[test]
fn a_second_turn_reads_its_new_tokens_only() {
    let bench = Bench::usual();
    let mut random = StdRng::seed_from_u64(1);
    let mut tokens = prompt(&mut random, 300);
    let sampling = sampling(1, 20);
    tokens.extend(bench.answer(&tokens, &sampling, Asked::default()).unwrap());
    bench.settle();
    assert_eq!(bench.probe.tokens.swap(0, Ordering::SeqCst), 300 + 19);
    tokens.extend(prompt(&mut random, 30));
    let answer = bench.answer(&tokens, &sampling, Asked::default()).unwrap();
    assert_eq!(answer, expected(&bench.config, &tokens, &sampling));
    bench.settle();
    // The answer's last token was never read.
    assert_eq!(bench.probe.tokens.swap(0, Ordering::SeqCst), 1 + 30 + 19);
}

#[test]
fn a_long_prompt_does_not_stop_those_that_write() {
    let bench = Bench::usual();
    bench.probe.slowness.store(200, Ordering::SeqCst);
    let mut random = StdRng::seed_from_u64(2);
    let (short, long) = (prompt(&mut random, 5), prompt(&mut random, 2000));
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| bench.answer(&short, &sampling(1, 60), Asked::default()).unwrap());
        std::thread::sleep(Duration::from_millis(3));
        scope.spawn(|| bench.answer(&long, &sampling(1, 1), Asked::default()).unwrap());
        writing.join().unwrap();
    });
    let log = bench.probe.log.lock().unwrap();
    let together = log.iter().filter(|segments| segments.len() == 2 && segments.contains(&1)).count();
    assert!(together >= 2, "{log:?}");
}

#[test]
fn people_go_before_batch_jobs() {
    let bench = Bench::new(None, Limits { sequences: 2, tokens: 64 }, 100, 100);
    bench.probe.slowness.store(300, Ordering::SeqCst);
    let mut random = StdRng::seed_from_u64(3);
    let prompts: Vec<Vec<u32>> = (0..7).map(|_| prompt(&mut random, 100)).collect();
    let order = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for (index, tokens) in prompts.iter().enumerate() {
            let (bench, order) = (&bench, &order);
            scope.spawn(move || {
                let priority = if index < 6 { Priority::Batch } else { Priority::Interactive };
                let answer = bench.answer(tokens, &sampling(1, 30), Asked { priority, ..Asked::default() }).unwrap();
                assert_eq!(answer, expected(&bench.config, tokens, &sampling(1, 30)));
                order.lock().unwrap().push(index);
            });
            std::thread::sleep(Duration::from_millis(if index == 5 { 40 } else { 2 }));
        }
    });
    let order = order.into_inner().unwrap();
    let place = order.iter().position(|index| *index == 6).unwrap();
    assert!(place <= 2, "{order:?}");
}

#[test]
fn cancelling_interrupts_a_long_step() {
    let bench = Bench::new(None, Limits { sequences: 4, tokens: 4096 }, 100, 100);
    bench.probe.slowness.store(2000, Ordering::SeqCst);
    let tokens = vec![1; 4000];
    let cancellation = Cancellation::new();
    let asked = Asked { cancellation: cancellation.clone(), ..Asked::default() };
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| bench.answer(&tokens, &sampling(1, 5), asked));
        while bench.probe.steps.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        cancellation.cancel();
        assert!(matches!(waiting.join().unwrap(), Err(ModelError::Cancelled)));
    });
    let started = Instant::now();
    bench.settle();
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(bench.probe.interrupted.load(Ordering::SeqCst), 1);
}

#[test]
fn what_cannot_be_had_is_refused() {
    let bench = Bench::new(None, Limits { sequences: 4, tokens: 64 }, 5, 5);
    let error = bench.answer(&[1; 400], &sampling(1, 5), Asked::default()).unwrap_err().to_string();
    assert!(error.contains("400 tokens"), "{error}");
    // An answer that outgrows the room ends there.
    let error = bench.answer(&[1; 300], &sampling(1, 50), Asked::default()).unwrap_err().to_string();
    assert!(error.contains("room for 320"), "{error}");
    assert_eq!(bench.answer(&[1; 300], &sampling(1, 10), Asked::default()).unwrap().len(), 10);
    bench.settle();

    bench.probe.slowness.store(1000, Ordering::SeqCst);
    let submit = || {
        let sampling = sampling(1, 50);
        let answer = Answer {
            sampler: Sampler::new(&sampling, &[1]).unwrap(),
            guide: None,
            limit: 50,
            ends: Arc::default(),
            speculate: false,
        };
        let task = Task::Answer(Box::new(answer));
        let (priority, cancellation) = (Priority::default(), Cancellation::new());
        bench.scheduler.submit(Request { prompt: vec![1], task, priority, cancellation })
    };
    let mut tickets = Vec::new();
    let refusal = loop {
        match submit() {
            Ok(ticket) => tickets.push(ticket),
            Err(error) => break error.to_string(),
        }
    };
    assert!(refusal.contains("256 requests"), "{refusal}");
    drop(tickets);
    bench.settle();
    assert!(submit().is_ok());
}

#[test]
fn a_scheduler_that_is_dropped_ends_its_thread_and_network() {
    let bench = Bench::usual();
    bench.answer(&[1, 2, 3], &sampling(1, 3), Asked::default()).unwrap();
    assert_eq!(Arc::strong_count(&bench.probe), 2);
    drop(bench.scheduler);
    assert_eq!(Arc::strong_count(&bench.probe), 1);
}

/// Sequences come, grow, share, fail and go; each block is in one place at any time, and what is
/// found is what was kept.
#[test]
fn blocks_are_never_lost_or_mixed_up() {
    let seed = fresh_seed();
    let mut random = StdRng::seed_from_u64(seed);
    let config = DecoderConfig { vocab_size: VOCABULARY, ..DecoderConfig::default() };
    let limits = Limits { sequences: 1, tokens: 1 };
    let mut network = Arithmetic { config, limits, blocks: HashMap::new(), memory: 7, sight: None, probe: Arc::default() };
    let mut pool = Pool::new(8, 4);
    let token = |id| Token { id, regime: Regime::Usual };
    let beginnings: Vec<Vec<u32>> = (0..3).map(|_| prompt(&mut random, 300)).collect();
    let mut held: Vec<(Vec<Token>, Vec<Block>)> = Vec::new();
    let (mut shared, mut refused) = (0, 0);
    for _ in 0..3000 {
        if held.len() < 4 && random.random_bool(0.6) {
            let mut tokens = beginnings[random.random_range(0..3)][..random.random_range(1..300)].to_vec();
            tokens.extend(prompt(&mut random, 20));
            let tokens: Vec<Token> = tokens.into_iter().map(token).collect();
            let found = pool.find(&tokens);
            shared += found.blocks.len();
            let mut table = found.blocks;
            if let Some((part, positions)) = found.part {
                assert!(positions > 0 && positions <= BLOCK && table.len() * BLOCK + positions < tokens.len());
                pool.release(part);
            }
            while table.len() < tokens.len().div_ceil(BLOCK)
                && let Some(block) = pool.take(&mut network)
            {
                assert!(!held.iter().any(|(_, other)| other.contains(&block)) && !table.contains(&block));
                let start = table.len() * BLOCK;
                let block_tokens = &tokens[start..tokens.len().min(start + BLOCK)];
                let block = if block_tokens.len() == BLOCK || random.random_bool(0.5) {
                    pool.keep(table.last().copied(), block, block_tokens)
                } else {
                    block
                };
                table.push(block);
            }
            refused += usize::from(table.len() < tokens.len().div_ceil(BLOCK));
            held.push((tokens, table));
        } else if !held.is_empty() {
            let (_, table) = held.swap_remove(random.random_range(0..held.len()));
            let failed = random.random_bool(0.2);
            table.iter().rev().for_each(|block| pool.release(*block));
            if failed {
                table.iter().rev().for_each(|block| pool.forget(*block));
            }
        } else {
            pool.trim(&mut network);
            assert!(pool.usage().kept <= 4 && pool.usage().held == 0, "seed {seed}");
        }
        pool.check();
        let distinct: HashSet<Block> = held.iter().flat_map(|(_, table)| table).copied().collect();
        assert_eq!(pool.usage().held, distinct.len(), "seed {seed}");
    }
    assert!(shared > 100 && refused > 10, "seed {seed}: {shared}, {refused}");
}
