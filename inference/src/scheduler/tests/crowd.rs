//! Many requests at once, and less room than they would like.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Asked, Bench, ERROR, NOT_A_NUMBER, expected, fresh_seed, prompt, sampling};
use crate::models::rotary::RopeScaling;
use crate::network::Limits;
use crate::{Cancellation, ModelError, Priority};

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
        bench.settle();
        let counts = [&failed, &cancelled, &written].map(|count| count.load(Ordering::SeqCst));
        assert!(counts.iter().all(|count| *count > 5), "seed {seed}: {counts:?}");
    }
}

/// Prompts that have room one at a time are read one at a time: nothing is read for nothing.
#[test]
fn prompts_wait_for_room() {
    let seed = fresh_seed();
    let mut random = StdRng::seed_from_u64(seed);
    let bench = Bench::new(None, Limits { sequences: 8, tokens: 50 }, 8, 8);
    bench.probe.step_slowness.store(100, Ordering::SeqCst);
    // No two begin alike.
    let prompts: Vec<Vec<u32>> = (0..12).map(|first| [vec![first], prompt(&mut random, 299)].concat()).collect();
    answer_all(&bench, &prompts, 10, seed);
    assert_eq!(bench.probe.tokens.load(Ordering::SeqCst), 12 * (300 + 9), "seed {seed}");
}

/// What they share needs room once.
#[test]
fn prompts_that_begin_alike_need_not_wait() {
    let seed = fresh_seed();
    let mut random = StdRng::seed_from_u64(seed);
    let bench = Bench::new(None, Limits { sequences: 8, tokens: 50 }, 12, 12);
    bench.probe.step_slowness.store(1000, Ordering::SeqCst);
    let beginning = prompt(&mut random, 256);
    let prompts: Vec<Vec<u32>> = (0..6).map(|_| [beginning.clone(), prompt(&mut random, 20)].concat()).collect();
    answer_all(&bench, &prompts, 30, seed);
    let log = bench.probe.log.lock().unwrap();
    assert!(log.iter().any(|segments| segments.len() >= 3), "seed {seed}: {log:?}");
}

/// The system has less memory than the room that was promised. The second prompt, of which nothing was
/// read yet, goes before the first at its turn, finds no block, and must not hinder it: two that make
/// way for each other without end would be the end of all.
#[test]
fn who_finds_no_block_waits_until_another_ends() {
    let seed = fresh_seed();
    let mut random = StdRng::seed_from_u64(seed);
    let bench = Bench::new(None, Limits { sequences: 8, tokens: 20 }, 100, 20);
    bench.probe.step_slowness.store(500, Ordering::SeqCst);
    let prompts = [1150, 1000, 900].map(|length| prompt(&mut random, length));
    answer_all(&bench, &prompts, 10, seed);
    let tokens = bench.probe.tokens.load(Ordering::SeqCst);
    assert!(tokens < 2 * (1150 + 1000 + 900), "seed {seed}: {tokens} tokens");
}

/// The oldest outgrows the memory that there is: it ends, and the others go on.
#[test]
fn who_outgrows_the_memory_ends_though_others_run() {
    let seed = fresh_seed();
    let mut random = StdRng::seed_from_u64(seed);
    let bench = Bench::new(None, Limits { sequences: 8, tokens: 50 }, 100, 6);
    bench.probe.step_slowness.store(200, Ordering::SeqCst);
    let long = prompt(&mut random, 100);
    let others: Vec<Vec<u32>> = (0..8).map(|_| prompt(&mut random, 100)).collect();
    let cancellation = Cancellation::new();
    std::thread::scope(|scope| {
        let asked = Asked { cancellation: cancellation.clone(), ..Asked::default() };
        let outgrowing = scope.spawn(|| bench.answer(&long, &sampling(1, 500), asked));
        while bench.probe.steps.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        answer_all(&bench, &others, 150, seed);
        end_late(&cancellation, || outgrowing.is_finished());
        let error = outgrowing.join().unwrap().unwrap_err();
        assert!(matches!(error, ModelError::NoRoom { .. }), "seed {seed}: {error}");
        assert!(error.to_string().contains("room for 384"), "seed {seed}: {error}");
    });
}

/// All at once; each gets what it gets alone, within a time that only a scheduler without end takes.
fn answer_all(bench: &Bench, prompts: &[Vec<u32>], length: usize, seed: u64) {
    let cancellation = Cancellation::new();
    std::thread::scope(|scope| {
        let answers: Vec<_> = prompts
            .iter()
            .map(|tokens| {
                let asked = Asked { cancellation: cancellation.clone(), ..Asked::default() };
                scope.spawn(move || bench.answer(tokens, &sampling(1, length), asked))
            })
            .collect();
        end_late(&cancellation, || answers.iter().all(ScopedJoinHandle::is_finished));
        for (answer, tokens) in answers.into_iter().zip(prompts) {
            let answer = answer.join().unwrap().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_eq!(answer, expected(&bench.config, tokens, &sampling(1, length)), "seed {seed}");
        }
    });
}

/// Cancels what has not ended in half a minute.
fn end_late(cancellation: &Cancellation, is_finished: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_finished() {
        if started.elapsed() > Duration::from_secs(30) {
            cancellation.cancel();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
