//! How fast a model reads and writes on a device.

mod embedding;

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use sysinfo::{Pid, ProcessesToUpdate, System};

pub use self::embedding::{EmbeddingReport, measure_embedder};
use crate::{CacheFormat, Cancellation, DeviceChoice, Engine, LocalModel, ModelError, OpenOptions, device};

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenchOptions {
    pub device: DeviceChoice,
    /// Lengths of prompts to read, in tokens.
    pub prompts: Vec<usize>,
    /// Tokens to write.
    pub generated: usize,
    /// Runs of each test.
    pub repeats: usize,
    /// How keys and values are held.
    pub cache_format: CacheFormat,
    /// Computes with tensors of 32-bit floats, as what a model's own kernels are compared with.
    pub as_tensors: bool,
    /// Requests to answer at once, beside one alone; 0 and 1 leave that out.
    pub concurrency: usize,
    /// Whether to measure how soon a conversation's second turn is answered.
    pub turns: bool,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchReport {
    pub model: String,
    /// The device, in words.
    pub device: String,
    pub load_seconds: f64,
    /// From the start of loading to the first token that is answered, after a prompt of 16: with it comes
    /// what loading has put off.
    pub ready_seconds: f64,
    /// Memory of this process that loading and running the model took, in bytes; a GPU's own
    /// memory is not in it.
    pub memory_bytes: Option<u64>,
    pub tests: Vec<BenchTest>,
    pub concurrent: Option<ConcurrentTest>,
    pub second_turn: Option<TurnTest>,
}

/// One test, named as llama-bench names it: `pp512` reads a prompt of 512 tokens, `tg128`
/// writes 128.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchTest {
    pub test: String,
    /// The median of the runs.
    pub tokens_per_second: f64,
    pub runs: Vec<f64>,
}

/// Requests answered at once, each of a prompt of its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConcurrentTest {
    pub requests: usize,
    /// Tokens of each prompt, and of each answer.
    pub prompt: usize,
    pub generated: usize,
    /// Tokens written, of all requests together, prompts read in the same time. The median of the runs.
    pub tokens_per_second: f64,
    /// The same of a request alone.
    pub alone: f64,
    /// The median of each run's ratio.
    pub ratio: f64,
}

/// A conversation's second turn: the first prompt, its answer and a little more.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TurnTest {
    /// Tokens of the first prompt, of its answer, and new ones of the second turn.
    pub prompt: usize,
    pub answer: usize,
    pub more: usize,
    /// Seconds until the first token of an answer to the second turn's prompt, nothing of it read before.
    pub cold: f64,
    /// Seconds until the second turn's first token.
    pub second: f64,
    /// The median of each run's ratio.
    pub ratio: f64,
}

impl BenchOptions {
    /// Prompts of 128 and 512 tokens, 128 tokens written, three runs of each, and a second turn.
    pub fn new(device: DeviceChoice) -> Self {
        Self {
            device,
            prompts: vec![128, 512],
            generated: 128,
            repeats: 3,
            concurrency: 0,
            turns: true,
            cache_format: CacheFormat::F32,
            as_tensors: false,
        }
    }
}

/// Tokens of the prompt that is answered before anything is measured.
const WARM_UP: usize = 16;
/// Tokens of the prompts of concurrent requests.
const CONCURRENT_PROMPT: usize = 16;
/// Tokens of a first turn's answer, and of what the second one adds.
const TURN_ANSWER: usize = 16;
const TURN_MORE: usize = 16;

/// Loads the model in a folder or GGUF file and measures it. `on_test` is told what is next. What is
/// longer than the model's window is cut to it.
pub fn measure(
    name: &str,
    path: &Path,
    options: &BenchOptions,
    cancellation: &Cancellation,
    on_test: &mut dyn FnMut(&str),
) -> Result<BenchReport, ModelError> {
    let prompts: Vec<usize> = options.prompts.iter().copied().filter(|length| *length > 0).collect();
    let turn = prompts.iter().copied().max().filter(|_| options.turns);
    let concurrent =
        (options.concurrency > 1 && options.generated > 0).then_some(options.generated + CONCURRENT_PROMPT);
    let longest = [
        prompts.iter().max().map(|length| length + 1),
        Some(options.generated + 2),
        turn.map(|prompt| prompt + TURN_ANSWER + TURN_MORE + 1),
        concurrent,
    ];
    let longest = longest.into_iter().flatten().max().unwrap_or(0);
    // Keys and values of what is measured, and no more: the memory is then what the model takes.
    let tokens = longest.max(options.concurrency * concurrent.unwrap_or(0).next_multiple_of(64)) + 64;
    let before = resident_memory();
    on_test("loading");
    let started = Instant::now();
    let opened = OpenOptions {
        device: options.device,
        cache_tokens: Some(tokens),
        cache_format: options.cache_format,
        as_tensors: options.as_tensors,
        cancellation: cancellation.clone(),
        ..OpenOptions::default()
    };
    let model = LocalModel::open_with(path, &opened)?;
    let load_seconds = started.elapsed().as_secs_f64();
    let window = crate::ChatModel::context_window(&model);
    let repeats = options.repeats.max(1);
    // A token is written after each prompt.
    let generated = options.generated.min(window.saturating_sub(2));
    let mut prompts: Vec<usize> = prompts.iter().map(|length| (*length).min(window.saturating_sub(1))).collect();
    prompts.dedup();
    let turn = turn.map(|prompt| prompt.min(window.saturating_sub(TURN_ANSWER + TURN_MORE + 1)));
    on_test("warming up");
    let first = model.time_answer(&model.random_tokens(WARM_UP.min(window.saturating_sub(4)), 0), 4, cancellation)?;
    let mut tests = Vec::new();
    let mut run = |test: String, tokens: usize, time: &dyn Fn(u64) -> Result<Duration, ModelError>| {
        let mut runs = Vec::new();
        for repeat in 0..repeats {
            on_test(&format!("{test}, run {} of {repeats}", repeat + 1));
            let seconds = time(repeat as u64 + 1)?.as_secs_f64();
            runs.push(tokens as f64 / seconds.max(f64::MIN_POSITIVE));
        }
        tests.push(BenchTest { test, tokens_per_second: median(&runs), runs });
        Ok(())
    };
    for length in prompts {
        run(format!("pp{length}"), length, &|seed| {
            Ok(model.time_answer(&model.random_tokens(length, seed), 1, cancellation)?.first)
        })?;
    }
    if generated > 0 {
        run(format!("tg{generated}"), generated, &|seed| {
            Ok(model.time_answer(&model.random_tokens(1, seed), generated + 1, cancellation)?.rest)
        })?;
    }
    let second_turn = turn.map(|prompt| second_turn(&model, prompt, repeats, cancellation, on_test)).transpose()?;
    let requests = Requests {
        count: options.concurrency,
        generated: generated.min(window.saturating_sub(CONCURRENT_PROMPT)),
        repeats,
    };
    let concurrent = concurrent.map(|_| concurrent_requests(&model, requests, cancellation, on_test)).transpose()?;
    let memory_bytes = before.zip(resident_memory()).map(|(before, after)| after.saturating_sub(before));
    Ok(BenchReport {
        model: name.to_owned(),
        device: match model.engine() {
            Engine::Tensors => format!("{}, as tensors", device::describe(options.device)),
            Engine::Processor | Engine::Gpu => device::describe(options.device),
        },
        load_seconds,
        ready_seconds: load_seconds + first.first.as_secs_f64(),
        memory_bytes,
        tests,
        concurrent,
        second_turn,
    })
}

/// How soon the second turn of a conversation is answered, the first one just answered, and how soon
/// the same prompt is of which nothing was read.
fn second_turn(
    model: &LocalModel,
    prompt: usize,
    repeats: usize,
    cancellation: &Cancellation,
    on_test: &mut dyn FnMut(&str),
) -> Result<TurnTest, ModelError> {
    let (mut cold, mut second, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for repeat in 0..repeats {
        on_test(&format!("second turn, run {} of {repeats}", repeat + 1));
        let seed = repeat as u64 + 1;
        let unread = model.random_tokens(prompt + TURN_ANSWER + TURN_MORE, seed);
        let of_cold = model.time_answer(&unread, 1, cancellation)?.first.as_secs_f64();
        let mut turn = model.random_tokens(prompt, seed << 16);
        turn.extend(model.time_answer(&turn, TURN_ANSWER, cancellation)?.tokens);
        turn.extend(model.random_tokens(TURN_MORE, seed));
        let of_second = model.time_answer(&turn, 1, cancellation)?.first.as_secs_f64();
        cold.push(of_cold);
        second.push(of_second);
        ratios.push(of_second / of_cold.max(f64::MIN_POSITIVE));
    }
    let (cold, second, ratio) = (median(&cold), median(&second), median(&ratios));
    Ok(TurnTest { prompt, answer: TURN_ANSWER, more: TURN_MORE, cold, second, ratio })
}

/// Requests at once, the tokens that each writes, and how often.
#[derive(Clone, Copy)]
struct Requests {
    count: usize,
    generated: usize,
    repeats: usize,
}

/// What several requests at once get done, and one alone.
fn concurrent_requests(
    model: &LocalModel,
    Requests { count: requests, generated, repeats }: Requests,
    cancellation: &Cancellation,
    on_test: &mut dyn FnMut(&str),
) -> Result<ConcurrentTest, ModelError> {
    let throughput = |requests: usize, seed: u64| {
        let started = Instant::now();
        let answer = |request: usize| {
            let prompt = model.random_tokens(CONCURRENT_PROMPT, seed << 16 | request as u64);
            model.time_answer(&prompt, generated, cancellation).map(|_| ())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..requests).map(|request| scope.spawn(move || answer(request))).collect();
            let stopped = || ModelError::Numeric("a request's thread panicked".to_owned());
            threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| stopped())?)
        })?;
        Ok((requests * generated) as f64 / started.elapsed().as_secs_f64().max(f64::MIN_POSITIVE))
    };
    let (mut alone, mut together, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for repeat in 0..repeats {
        on_test(&format!("{requests} requests at once, run {} of {repeats}", repeat + 1));
        let seed = 2 * repeat as u64 + 1;
        let one: f64 = throughput(1, seed)?;
        let all: f64 = throughput(requests, seed + 1)?;
        alone.push(one);
        together.push(all);
        ratios.push(all / one);
    }
    Ok(ConcurrentTest {
        requests,
        prompt: CONCURRENT_PROMPT,
        generated,
        tokens_per_second: median(&together),
        alone: median(&alone),
        ratio: median(&ratios),
    })
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.get((sorted.len().max(1) - 1) / 2), sorted.get(sorted.len() / 2)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => 0.0,
    }
}

/// What the operating system counts as this process's memory.
fn resident_memory() -> Option<u64> {
    let process = Pid::from_u32(std::process::id());
    let mut system = System::new();
    system.refresh_processes(ProcessesToUpdate::Some(&[process]), false);
    Some(system.process(process)?.memory())
}

#[cfg(test)]
mod tests {
    #[test]
    fn medians() {
        let medians = [&[][..], &[3.0], &[1.0, 2.0], &[5.0, 1.0, 3.0]].map(super::median);
        assert_eq!(medians, [0.0, 3.0, 1.5, 3.0]);
    }
}
