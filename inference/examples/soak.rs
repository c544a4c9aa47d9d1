//! A model under full load: requests at random, some cancelled (by whoever reads the answer, or at any
//! moment by someone else), some alike, some urgent, for a number of requests or of minutes. Prints the
//! process's memory as it goes, checks answers against those of other runs of the same requests, and at
//! the end that every block of the cache is free and that the memory has not grown.

#[allow(dead_code)]
#[path = "../tests/it/fixture.rs"]
mod fixture;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use codriver_inference::{
    Cancellation, CompletionOptions, Flow, LocalModel, ModelError, OpenOptions, Priority, SamplingParameters,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sysinfo::{Pid, ProcessesToUpdate, System};

#[derive(Parser)]
struct Arguments {
    /// A model's folder or GGUF file; without it, a small one with random weights
    #[arg(long)]
    model: Option<PathBuf>,
    #[arg(long, default_value_t = 10_000)]
    requests: usize,
    /// Go on for so many minutes instead
    #[arg(long)]
    minutes: Option<u64>,
    /// Requests at once
    #[arg(long, default_value_t = 12)]
    threads: usize,
    /// Tokens whose keys and values there is room for
    #[arg(long, default_value_t = 4096)]
    cache_tokens: usize,
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Default)]
struct Counts {
    begun: AtomicUsize,
    answered: AtomicUsize,
    cancelled: AtomicUsize,
    refused: AtomicUsize,
    tokens: AtomicUsize,
    checked: AtomicUsize,
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let options = OpenOptions { cache_tokens: Some(arguments.cache_tokens), ..OpenOptions::default() };
    let folder = tempfile::tempdir()?;
    let path = arguments.model.clone().unwrap_or_else(|| {
        fixture::write_random_model(folder.path(), seed);
        folder.path().to_owned()
    });
    let model = LocalModel::open_with(&path, &options)?;
    println!("seed {seed}, {} requests at once", arguments.threads);
    let started = Instant::now();
    let (counts, failure) = (Counts::default(), Mutex::new(None));
    let mut memory = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.threads as u64)
            .map(|thread| {
                let (arguments, model, counts, failure) = (&arguments, &model, &counts, &failure);
                scope.spawn(move || {
                    let mut random = StdRng::seed_from_u64(seed ^ thread << 48);
                    while goes_on(arguments, started, counts) {
                        if let Err(error) = one(model, seed, &mut random, counts)
                            && let Ok(mut failure) = failure.lock()
                        {
                            failure.get_or_insert(error);
                            return;
                        }
                    }
                })
            })
            .collect();
        let mut next = Duration::ZERO;
        while threads.iter().any(|thread| !thread.is_finished()) {
            if started.elapsed() >= next {
                memory.push(show(&model, &counts, started));
                next = started.elapsed() + Duration::from_secs(if arguments.minutes.is_some() { 60 } else { 5 });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    show(&model, &counts, started);
    if let Ok(mut failure) = failure.lock()
        && let Some(error) = failure.take()
    {
        return Err(format!("seed {seed}: {error}").into());
    }
    let waited = Instant::now();
    while model.load().blocks.held > 0 || model.load().running > 0 {
        if waited.elapsed() > Duration::from_secs(10) {
            return Err(format!("seed {seed}: blocks are not returned: {:?}", model.load()).into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("every block is free: {:?}", model.load().blocks);
    match growth(&memory) {
        Some((before, after)) if after > before + before / 20 + SLACK => {
            Err(format!("seed {seed}: the memory has grown from {before} to {after} bytes").into())
        }
        Some((before, after)) => {
            println!(
                "memory in the second quarter {:.1} MB, in the last {:.1} MB",
                before as f64 / 1e6,
                after as f64 / 1e6
            );
            Ok(())
        }
        None => Ok(()),
    }
}

/// Bytes by which the memory may grow besides a twentieth: what the allocator has not given back yet.
const SLACK: u64 = 8 << 20;

/// The medians of the second and the last quarter of a run; none of a run too short to tell.
fn growth(memory: &[u64]) -> Option<(u64, u64)> {
    let quarter = memory.len() / 4;
    let median = |part: &[u64]| {
        let mut sorted = part.to_vec();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    };
    Some((median(memory.get(quarter..2 * quarter)?)?, median(memory.get(3 * quarter..)?)?)).filter(|_| quarter > 0)
}

fn goes_on(arguments: &Arguments, started: Instant, counts: &Counts) -> bool {
    let begun = counts.begun.fetch_add(1, Ordering::SeqCst);
    match arguments.minutes {
        Some(minutes) => started.elapsed() < Duration::from_secs(60 * minutes),
        None => begun < arguments.requests,
    }
}

/// One request. Now and then it is asked again, and must be answered alike.
fn one(model: &LocalModel, seed: u64, random: &mut StdRng, counts: &Counts) -> Result<(), ModelError> {
    let vocabulary = 256;
    let mut beginning = StdRng::seed_from_u64(seed + random.random_range(0..5));
    let shared = random.random_range(0..300);
    let mut prompt: Vec<u32> = (0..shared).map(|_| beginning.random_range(0..vocabulary)).collect();
    prompt.extend((0..random.random_range(1..100)).map(|_| random.random_range(0..vocabulary)));
    let sampling = SamplingParameters {
        temperature: if random.random_bool(0.5) { 0.0 } else { 0.5 },
        seed: random.random(),
        max_tokens: random.random_range(1..60),
        ..SamplingParameters::default()
    };
    let options = CompletionOptions {
        priority: if random.random_bool(0.3) { Priority::Batch } else { Priority::Interactive },
        speculate: random.random_bool(0.5),
        ignore_end: true,
    };
    let cancel_after = random.random_bool(0.15).then(|| random.random_range(1..30));
    let cancel_within = random.random_bool(0.1).then(|| Duration::from_micros(random.random_range(0..20_000)));
    let ask = |options: &CompletionOptions, cancel_after: Option<usize>, cancel_within: Option<Duration>| {
        let cancellation = Cancellation::new();
        if let Some(pause) = cancel_within {
            let cancellation = cancellation.clone();
            std::thread::spawn(move || {
                std::thread::sleep(pause);
                cancellation.cancel();
            });
        }
        let mut tokens = Vec::new();
        let completed = model.complete_with(&prompt, &sampling, options, &cancellation, &mut |token| {
            tokens.push(token);
            if Some(tokens.len()) == cancel_after {
                cancellation.cancel();
            }
            Ok(Flow::Continue)
        });
        completed.map(|_| tokens)
    };
    match ask(&options, cancel_after, cancel_within) {
        Ok(tokens) => {
            counts.answered.fetch_add(1, Ordering::SeqCst);
            counts.tokens.fetch_add(tokens.len(), Ordering::SeqCst);
            if random.random_bool(0.1) {
                let again = ask(&CompletionOptions { speculate: !options.speculate, ..options }, None, None)?;
                counts.checked.fetch_add(1, Ordering::SeqCst);
                if again != tokens {
                    return Err(ModelError::Numeric(format!(
                        "the same request was answered twice: {tokens:?}, {again:?}"
                    )));
                }
            }
        }
        Err(ModelError::Cancelled) => {
            counts.cancelled.fetch_add(1, Ordering::SeqCst);
        }
        Err(ModelError::Busy { .. }) => {
            counts.refused.fetch_add(1, Ordering::SeqCst);
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Prints how far the run is; the process's memory, in bytes.
fn show(model: &LocalModel, counts: &Counts, started: Instant) -> u64 {
    let process = Pid::from_u32(std::process::id());
    let mut system = System::new();
    system.refresh_processes(ProcessesToUpdate::Some(&[process]), false);
    let memory = system.process(process).map_or(0, |process| process.memory());
    let load = model.load();
    let [answered, cancelled, refused, checked, tokens] =
        [&counts.answered, &counts.cancelled, &counts.refused, &counts.checked, &counts.tokens]
            .map(|count| count.load(Ordering::SeqCst));
    println!(
        "{:7.1} s: {answered} answered, {cancelled} cancelled, {refused} refused, {checked} asked twice, {tokens} tokens; \
         {} run, {} wait; blocks: {} held, {} kept of {}; memory {:.1} MB",
        started.elapsed().as_secs_f64(),
        load.running,
        load.waiting,
        load.blocks.held,
        load.blocks.kept,
        load.blocks.limit,
        memory as f64 / 1e6,
    );
    memory
}
