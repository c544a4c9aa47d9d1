//! How fast a model reads and writes on a device.

mod embedding;

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use sysinfo::{Pid, ProcessesToUpdate, System};

pub use self::embedding::{EmbeddingReport, measure_embedder};
use crate::scheduler::QUEUE;
use crate::{
    CacheFormat, Cancellation, ChatModel, DeviceChoice, Engine, LocalModel, ModelError, OpenOptions, WeightFormat,
    device,
};

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
    /// What the weights are rounded to as they are loaded; `None` keeps the bits they have.
    pub quantization: Option<WeightFormat>,
    /// How keys and values are held.
    pub cache_format: CacheFormat,
    /// Computes with tensors of 32-bit floats, as what a model's own kernels are compared with.
    pub as_tensors: bool,
    /// Requests to answer at once, beside one alone, up to [`MOST_REQUESTS`]; 0 and 1 leave that out.
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

/// A measurement that did not come to its end.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Unfinished {
    #[source]
    pub reason: ModelError,
    /// The tests before it; `None` where none was finished.
    pub report: Option<Box<BenchReport>>,
}

impl From<ModelError> for Unfinished {
    fn from(reason: ModelError) -> Self {
        Self { reason, report: None }
    }
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
            quantization: None,
            cache_format: CacheFormat::F32,
            as_tensors: false,
        }
    }

    fn prompts(&self) -> impl Iterator<Item = usize> {
        self.prompts.iter().copied().filter(|length| *length > 0)
    }

    /// Tokens of the first prompt of a conversation with a second turn.
    fn turn(&self) -> Option<usize> {
        self.prompts().max().filter(|_| self.turns)
    }

    /// Tokens of each of several requests at once, its answer with it.
    fn request(&self) -> Option<usize> {
        (self.concurrency > 1 && self.generated > 0).then(|| self.generated.saturating_add(CONCURRENT_PROMPT))
    }

    /// Tokens whose keys and values the tests need, and no more: the memory is then what the model takes.
    fn cache_tokens(&self) -> usize {
        let prompt = self.prompts().max().map(|length| length.saturating_add(1));
        let turn = self.turn().map(|prompt| prompt.saturating_add(TURN_ANSWER + TURN_MORE + 1));
        let answer = self.generated.saturating_add(2);
        let request = self.request().unwrap_or(0);
        let together = request.checked_next_multiple_of(64).unwrap_or(usize::MAX).saturating_mul(self.concurrency);
        let longest = [prompt, turn, Some(request)].into_iter().flatten().fold(answer, usize::max);
        longest.max(together).saturating_add(64)
    }
}

/// Tokens of the prompt that is answered before anything is measured.
const WARM_UP: usize = 16;
/// Tokens of the prompts of concurrent requests.
const CONCURRENT_PROMPT: usize = 16;
/// Tokens of a first turn's answer, and of what the second one adds.
const TURN_ANSWER: usize = 16;
const TURN_MORE: usize = 16;
/// Tokens of the smallest window that every test has room in: a second turn is the longest of them.
const SMALLEST_WINDOW: usize = TURN_ANSWER + TURN_MORE + 2;

/// Requests that can be answered at once: for a moment all of them wait.
pub const MOST_REQUESTS: usize = QUEUE;

/// Loads the model in a folder or GGUF file and measures it. `on_test` is told what is next. What is
/// longer than the model's window is cut to it.
///
/// # Errors
/// The model can't be loaded or measured, or a test failed or was cancelled.
pub fn measure(
    name: &str,
    path: &Path,
    options: &BenchOptions,
    cancellation: &Cancellation,
    on_test: &mut dyn FnMut(&str),
) -> Result<BenchReport, Unfinished> {
    if options.concurrency > MOST_REQUESTS {
        let reason = format!("{} requests at once; at most {MOST_REQUESTS} can be measured", options.concurrency);
        return Err(ModelError::Unsupported(reason).into());
    }
    let before = resident_memory();
    on_test("loading");
    let started = Instant::now();
    let opened = OpenOptions {
        device: options.device,
        quantization: options.quantization,
        cache_tokens: Some(options.cache_tokens()),
        cache_format: options.cache_format,
        as_tensors: options.as_tensors,
        cancellation: cancellation.clone(),
        ..OpenOptions::default()
    };
    let model = LocalModel::open_with(path, &opened)?;
    let load_seconds = started.elapsed().as_secs_f64();
    let window = model.context_window();
    if window < SMALLEST_WINDOW {
        let reason =
            format!("{name} can't be measured: its window holds {window} tokens, and tests take {SMALLEST_WINDOW}");
        return Err(ModelError::Unsupported(reason).into());
    }
    on_test("warming up");
    let first = model.time_answer(&model.random_tokens(WARM_UP, 0), 4, cancellation)?;
    let mut report = BenchReport {
        model: name.to_owned(),
        device: match model.engine() {
            Engine::Tensors => format!("{}, as tensors", device::describe(options.device)),
            Engine::Processor | Engine::Gpu => device::describe(options.device),
        },
        load_seconds,
        ready_seconds: load_seconds + first.first.as_secs_f64(),
        memory_bytes: None,
        tests: Vec::new(),
        concurrent: None,
        second_turn: None,
    };
    let outcome = run_tests(&model, options, cancellation, on_test, &mut report);
    report.memory_bytes = before.zip(resident_memory()).map(|(before, after)| after.saturating_sub(before));
    match outcome {
        Ok(()) => Ok(report),
        Err(reason) => Err(Unfinished { reason, report: (!report.tests.is_empty()).then(|| Box::new(report)) }),
    }
}

/// One test after the other, each added to the report when it is finished.
fn run_tests(
    model: &LocalModel,
    options: &BenchOptions,
    cancellation: &Cancellation,
    on_test: &mut dyn FnMut(&str),
    report: &mut BenchReport,
) -> Result<(), ModelError> {
    let window = model.context_window();
    let repeats = options.repeats.max(1);
    // A token is written after each prompt.
    let generated = options.generated.min(window - 2);
    let mut prompts: Vec<usize> = options.prompts().map(|length| length.min(window - 1)).collect();
    prompts.dedup();
    let mut run = |test: String, tokens: usize, time: &dyn Fn(u64) -> Result<Duration, ModelError>| {
        let mut runs = Vec::new();
        for repeat in 0..repeats {
            on_test(&format!("{test}, run {} of {repeats}", repeat + 1));
            let seconds = time(repeat as u64 + 1)?.as_secs_f64();
            runs.push(tokens as f64 / seconds.max(f64::MIN_POSITIVE));
        }
        report.tests.push(BenchTest { test, tokens_per_second: median(&runs), runs });
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
    if let Some(prompt) = options.turn() {
        let prompt = prompt.min(window - (TURN_ANSWER + TURN_MORE + 1));
        report.second_turn = Some(second_turn(model, prompt, repeats, cancellation, on_test)?);
    }
    if options.request().is_some() {
        let generated = generated.min(window - CONCURRENT_PROMPT);
        let requests = Requests { count: options.concurrency, generated, repeats };
        report.concurrent = Some(concurrent_requests(model, requests, cancellation, on_test)?);
    }
    Ok(())
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
