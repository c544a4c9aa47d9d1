//! The scheduler on a network that is arithmetic, and that fails when told to: what it says depends
//! on what lies in a sequence's blocks, so a block that was mixed up shows.

mod blocks;
mod crowd;
mod network;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::network::{Arithmetic, Probe, expected, expected_of};
use super::{Answer, Event, Load, Request, Room, Scheduler, Task};
use crate::models::decoder::DecoderConfig;
use crate::models::rotary::{RopeScaling, RotaryConfig};
use crate::network::{BLOCK, Limits};
use crate::sampling::Sampler;
use crate::{Cancellation, ModelError, Priority, SamplingParameters};

const VOCABULARY: usize = 23;
/// Blocks that are kept while nobody uses them.
const KEPT: usize = 20;
/// Tokens that a network has trouble with.
const NOT_A_NUMBER: u32 = 20;
const PANIC: u32 = 21;
const ERROR: u32 = 22;

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
        let network = Arithmetic {
            config: config.clone(),
            limits,
            blocks: HashMap::new(),
            memory,
            sight,
            probe: Arc::clone(&probe),
        };
        let room = Room { tokens: (blocks - 1) * BLOCK, kept: (KEPT as u64) << 20 };
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

    /// The scores after each token of a prompt, for nobody who waits.
    fn scores(&self, prompt: &[u32]) -> Vec<f32> {
        let request = Request {
            prompt: prompt.to_vec(),
            task: Task::Scores,
            priority: Priority::Batch,
            cancellation: Cancellation::new(),
        };
        let mut ticket = self.scheduler.submit(request).unwrap();
        let mut all = Vec::new();
        loop {
            match ticket.next().unwrap() {
                Event::Scores(scores) => all.extend(scores),
                Event::Ended(_) => return all,
                other => panic!("{other:?}"),
            }
        }
    }

    /// Once all is done, all blocks are free, or among the few that are kept.
    fn settle(&self) -> Load {
        let started = Instant::now();
        loop {
            let load = self.scheduler.load();
            if load.running == 0 && load.waiting == 0 && load.blocks.held == 0 && load.blocks.kept <= KEPT {
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
fn an_engine_that_has_stopped_says_so() {
    let bench = Bench::usual();
    let asked = |bench: &Bench| bench.answer(&[1, 2, 3], &sampling(1, 5), Asked::default());
    asked(&bench).unwrap();
    assert!(!bench.scheduler.has_stopped());
    bench.probe.is_broken.store(true, Ordering::SeqCst);
    // What a failed request has read is given back once it has ended.
    bench.answer(&[1, PANIC], &sampling(1, 5), Asked::default()).unwrap_err();
    let started = Instant::now();
    while !bench.scheduler.has_stopped() {
        assert!(started.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(1));
    }
    let error = asked(&bench).unwrap_err().to_string();
    assert!(error.contains("load the model again"), "{error}");
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

/// A request for scores that has to wait reads its tokens again, and tells each one's scores once.
#[test]
fn scores_come_once_however_often_their_tokens_are_read() {
    let bench = Bench::new(None, Limits { sequences: 4, tokens: 64 }, 12, 12);
    let seed = fresh_seed();
    let mut random = StdRng::seed_from_u64(seed);
    let tokens = prompt(&mut random, 600);
    let alone = bench.scores(&tokens);
    assert_eq!((alone.len(), bench.probe.tokens.swap(0, Ordering::SeqCst)), (600 * VOCABULARY, 600), "seed {seed}");
    bench.probe.slowness.store(100, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let scores = scope.spawn(|| bench.scores(&tokens));
        // In the middle of it, somebody needs the room.
        while bench.probe.tokens.load(Ordering::SeqCst) < 300 {
            std::thread::yield_now();
        }
        let other = prompt(&mut random, 500);
        let asked = Asked { priority: Priority::Interactive, ..Asked::default() };
        bench.answer(&other, &sampling(1, 2), asked).unwrap();
        assert!(scores.join().unwrap() == alone, "seed {seed}");
    });
    assert!(bench.probe.tokens.load(Ordering::SeqCst) > 600 + 500 + 300, "seed {seed}: it did not have to wait");
    bench.settle();
}

#[test]
fn short_prompts_that_go_on_coming_do_not_keep_a_long_one_waiting() {
    let bench = Bench::new(None, Limits { sequences: 8, tokens: 128 }, 200, 200);
    bench.probe.slowness.store(5, Ordering::SeqCst);
    let seed = fresh_seed();
    let long = prompt(&mut StdRng::seed_from_u64(seed), 6000);
    let (ended, short) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (bench, ended, short) = (&bench, &ended, &short);
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed + 1 + thread);
                while !ended.load(Ordering::SeqCst) && short.fetch_add(1, Ordering::SeqCst) < 1000 {
                    let tokens = prompt(&mut random, 400);
                    bench.answer(&tokens, &sampling(1, 1), Asked::default()).unwrap();
                }
            });
        }
        let answer = bench.answer(&long, &sampling(1, 1), Asked::default()).unwrap();
        ended.store(true, Ordering::SeqCst);
        assert_eq!(answer, expected(&bench.config, &long, &sampling(1, 1)), "seed {seed}");
    });
    // A fifth of what is read is its share: 60 of these prompts go beside it.
    let short = short.load(Ordering::SeqCst);
    assert!(short < 200, "seed {seed}: {short} short prompts went before the long one");
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
