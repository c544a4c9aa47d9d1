//! How fast a model reads and writes on a device.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use sysinfo::{Pid, ProcessesToUpdate, System};

use crate::{Cancellation, DeviceChoice, LocalModel, ModelError, OpenOptions, device};

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
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchReport {
    pub model: String,
    /// The device, in words.
    pub device: String,
    pub load_seconds: f64,
    /// Memory of this process that loading and running the model took, in bytes; a GPU's own
    /// memory is not in it.
    pub memory_bytes: Option<u64>,
    pub tests: Vec<BenchTest>,
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

impl BenchOptions {
    /// Prompts of 128 and 512 tokens, 128 tokens written, three runs of each.
    pub fn new(device: DeviceChoice) -> Self {
        Self { device, prompts: vec![128, 512], generated: 128, repeats: 3 }
    }
}

/// Loads the model in a folder or GGUF file and measures it. `on_test` is told what is next. What is
/// longer than the model's window is cut to it.
pub fn measure(
    name: &str,
    path: &Path,
    options: &BenchOptions,
    cancellation: &Cancellation,
    on_test: &mut dyn FnMut(&str),
) -> Result<BenchReport, ModelError> {
    let before = resident_memory();
    on_test("loading");
    let started = Instant::now();
    let (device, cancelled) = (options.device, cancellation.clone());
    let model =
        LocalModel::open_with(path, &OpenOptions { device, cancellation: cancelled, ..OpenOptions::default() })?;
    let load_seconds = started.elapsed().as_secs_f64();
    let window = crate::ChatModel::context_window(&model);
    let generated = options.generated.min(window.saturating_sub(1));
    let mut prompts: Vec<usize> = options.prompts.iter().map(|length| (*length).min(window)).collect();
    prompts.dedup();
    on_test("warming up");
    model.time_prompt(16.min(window), 0, cancellation)?;
    model.time_generation(4.min(window - 1), 0, cancellation)?;
    let mut tests = Vec::new();
    let mut run = |test: String, tokens: usize, time: &dyn Fn(u64) -> Result<Duration, ModelError>| {
        let mut runs = Vec::new();
        for repeat in 0..options.repeats.max(1) {
            on_test(&format!("{test}, run {} of {}", repeat + 1, options.repeats.max(1)));
            let seconds = time(repeat as u64 + 1)?.as_secs_f64();
            runs.push(tokens as f64 / seconds.max(f64::MIN_POSITIVE));
        }
        tests.push(BenchTest { test, tokens_per_second: median(&runs), runs });
        Ok(())
    };
    for length in prompts.into_iter().filter(|length| *length > 0) {
        run(format!("pp{length}"), length, &|seed| model.time_prompt(length, seed, cancellation))?;
    }
    if generated > 0 {
        run(format!("tg{generated}"), generated, &|seed| model.time_generation(generated, seed, cancellation))?;
    }
    let memory_bytes = before.zip(resident_memory()).map(|(before, after)| after.saturating_sub(before));
    Ok(BenchReport {
        model: name.to_owned(),
        device: device::describe(options.device),
        load_seconds,
        memory_bytes,
        tests,
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
