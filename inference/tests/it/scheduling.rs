//! Many requests at once: each gets what it gets alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use codriver_inference::device::resolve;
use codriver_inference::{
    Cancellation, CompletionOptions, Constraint, DeviceChoice, Engine, Flow, Load, LocalModel, ModelError, OpenOptions,
    Priority, SamplingParameters,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::fixture::write_random_model;
use crate::reference::fresh_seed;

/// The fixture's tokens but for the one that ends an answer.
const TOKENS: u32 = 257;

#[test]
fn answers_do_not_depend_on_who_shares_the_steps() {
    let seed = fresh_seed();
    let folder = tempfile::tempdir().unwrap();
    write_random_model(folder.path(), seed);
    let (cpu, gpu) = (DeviceChoice::Cpu, DeviceChoice::Wgpu);
    let cases = [
        (cpu, None, "f32", false),
        (cpu, Some("q8_0"), "f16", false),
        (cpu, None, "q8_0", false),
        (cpu, None, "f32", true),
        (gpu, Some("q8_0"), "f16", false),
        (gpu, None, "q8_0", false),
    ];
    for (device, quantization, cache_format, as_tensors) in cases {
        if let Err(error) = resolve(device) {
            eprintln!("skipped: {error}");
            continue;
        }
        let quantization = quantization.map(|name| name.parse().unwrap());
        let cache_format = cache_format.parse().unwrap();
        let open = |cache_tokens| {
            let options =
                OpenOptions { device, quantization, as_tensors, cache_tokens, cache_format, ..OpenOptions::default() };
            let model = LocalModel::open_with(folder.path(), &options).unwrap();
            assert_eq!(model.engine() == Engine::Gpu, device == gpu, "{device}");
            model
        };
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let count = match device {
            _ if as_tensors => 6,
            DeviceChoice::Cpu => 60,
            _ => 18,
        };
        let beginning: Vec<u32> = (0..300).map(|_| random.random_range(0..TOKENS)).collect();
        let requests: Vec<Asked> = (0..count).map(|_| Asked::random(&mut random, &beginning)).collect();
        // Each by a model that has read nothing else, without guesses.
        let mut alone = HashMap::new();
        for (index, request) in requests.iter().enumerate() {
            let model = open(None);
            alone.insert(index, request.answer(&model, false).unwrap());
            assert_eq!(model.load().blocks.limit, (1024 + 16384) / 64 + 1);
        }
        // Room for two or three of them at once: some have to wait, and to be read again.
        let model = open(Some(1024));
        std::thread::scope(|scope| {
            for thread in 0..6 {
                let (model, requests, alone) = (&model, &requests, &alone);
                scope.spawn(move || {
                    for (index, request) in requests.iter().enumerate().skip(thread).step_by(6) {
                        let answer = request.answer(model, index % 2 == 0).unwrap();
                        assert_eq!(answer, alone[&index], "seed {seed}, {index}, {device}, tensors: {as_tensors}");
                    }
                });
            }
        });
        settle(&model);
    }
}

#[test]
fn some_hundred_requests_return_every_block() {
    let seed = fresh_seed();
    let folder = tempfile::tempdir().unwrap();
    write_random_model(folder.path(), seed);
    let options = OpenOptions { cache_tokens: Some(2048), ..OpenOptions::default() };
    let model = LocalModel::open_with(folder.path(), &options).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let beginning: Vec<u32> = (0..300).map(|_| random.random_range(0..TOKENS)).collect();
    let (answered, cancelled) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (model, beginning, answered, cancelled) = (&model, &beginning, &answered, &cancelled);
            scope.spawn(move || {
                let mut random = ChaCha8Rng::seed_from_u64(seed + 1 + thread);
                for _ in 0..50 {
                    let mut request = Asked::random(&mut random, beginning);
                    request.cancel_after = random.random_bool(0.3).then(|| random.random_range(1..20));
                    match request.answer(model, random.random_bool(0.5)) {
                        Ok(_) => answered.fetch_add(1, Ordering::SeqCst),
                        Err(ModelError::Cancelled) => cancelled.fetch_add(1, Ordering::SeqCst),
                        Err(error) => panic!("seed {seed}: {error}"),
                    };
                }
            });
        }
    });
    let load = settle(&model);
    assert!(load.blocks.kept > 0, "{load:?}");
    assert!(answered.into_inner() > 100 && cancelled.into_inner() > 30);
}

#[test]
fn a_request_beyond_the_room_is_refused_and_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    write_random_model(folder.path(), 5);
    let options = OpenOptions { cache_tokens: Some(128), ..OpenOptions::default() };
    let model = LocalModel::open_with(folder.path(), &options).unwrap();
    let sampling = SamplingParameters { max_tokens: 3, ..SamplingParameters::default() };
    let ask = |length| model.complete(&vec![7; length], &sampling, &Cancellation::new(), &mut |_| Ok(Flow::Continue));
    let error = ask(400).unwrap_err().to_string();
    assert!(error.contains("400 tokens need keys and values, and there is room for 192"), "{error}");
    ask(100).unwrap();
}

/// A request, and what to do with its answer.
struct Asked {
    prompt: Vec<u32>,
    sampling: SamplingParameters,
    priority: Priority,
    cancel_after: Option<usize>,
}

impl Asked {
    fn random(random: &mut ChaCha8Rng, beginning: &[u32]) -> Self {
        let mut prompt = beginning[..random.random_range(0..beginning.len())].to_vec();
        let more = random.random_range(1..60);
        // What repeats can be guessed.
        let piece: Vec<u32> = (0..random.random_range(1..20)).map(|_| random.random_range(0..TOKENS)).collect();
        prompt.extend(piece.iter().cycle().take(more));
        let sampling = SamplingParameters {
            temperature: if random.random_bool(0.5) { 0.0 } else { 0.3 },
            seed: random.random(),
            max_tokens: random.random_range(1..50),
            constraint: random.random_bool(0.2).then(|| Constraint::Regex("([a-f]{2,5} ?)+(ready|done)".to_owned())),
            ..SamplingParameters::default()
        };
        let priority = if random.random_bool(0.3) { Priority::Batch } else { Priority::Interactive };
        Self { prompt, sampling, priority, cancel_after: None }
    }

    fn answer(&self, model: &LocalModel, speculate: bool) -> Result<Vec<u32>, ModelError> {
        let options =
            CompletionOptions { priority: self.priority, speculate, ignore_end: self.sampling.constraint.is_none() };
        let cancellation = Cancellation::new();
        let mut tokens = Vec::new();
        model.complete_with(&self.prompt, &self.sampling, &options, &cancellation, &mut |token| {
            tokens.push(token);
            if self.cancel_after == Some(tokens.len()) {
                cancellation.cancel();
            }
            Ok(Flow::Continue)
        })?;
        Ok(tokens)
    }
}

/// Waits until nothing runs, and sees that no request has a block.
fn settle(model: &LocalModel) -> Load {
    let started = Instant::now();
    loop {
        let load = model.load();
        if load.running == 0 && load.waiting == 0 && load.blocks.held == 0 {
            return load;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{load:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
