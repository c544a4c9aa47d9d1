//! `cargo xtask bench inference --device cuda`: decoding on an NVIDIA GPU, as a fraction of what its
//! memory gives and beside transformers in the same run.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::paths;
use crate::process::{self, say};

/// What is measured: models of Llama 3 8B's shape with random weights.
const FORMATS: [&str; 2] = ["bf16", "q4_0"];
/// Goals: of the memory's bandwidth, and times transformers.
const OF_BANDWIDTH: f64 = 0.6;
const TIMES_TRANSFORMERS: f64 = 3.0;

/// Tokens of the answer.
const TOKENS: usize = 64;

/// Measures an answer, and prints fractions, ratios and the goals.
///
/// # Errors
/// Says what is missing where this machine has no NVIDIA GPU.
pub fn run() -> Result<()> {
    let mut query = Command::new("nvidia-smi");
    query.args(["--query-gpu=name,memory.total", "--format=csv,noheader"]);
    let gpu = process::capture(&mut query).context(
        "no NVIDIA GPU answers here, so there is nothing to measure on. This benchmark needs one with 24 GB \
         of memory, its driver (nvidia-smi), a CUDA toolkit, and a Python with torch for CUDA and transformers \
         (CODRIVER_CUDA_PYTHON names it; python3 otherwise)",
    )?;
    println!("{}", gpu.trim());
    let mut missed = false;
    println!("{:8} {:>10} {:>10} {:>10} {:>8}  goals", "answer", "tokens/s", "GB/s", "of memory", "ratio");
    let theirs = transformers()?;
    for format in FORMATS {
        say(&format!("Llama 3 8B's shape in {format}"));
        let ours = decode(format)?;
        let figure = |key: &str| ours.get(key).and_then(Value::as_f64).with_context(|| format!("no {key} in {ours}"));
        let answer = figure("answer")?;
        let bandwidth = answer * figure("bytes_per_token")?;
        let fraction = bandwidth / figure("bandwidth")?;
        let ratio = answer / theirs;
        let is_met = fraction >= OF_BANDWIDTH && ratio >= TIMES_TRANSFORMERS;
        missed |= !is_met;
        println!(
            "{format:8} {answer:>10.1} {:>10.0} {fraction:>10.2} {ratio:>8.2}  >= {OF_BANDWIDTH} of memory, >= {TIMES_TRANSFORMERS}x transformers (bf16, {theirs:.1} tokens/s): {}",
            bandwidth / 1e9,
            if is_met { "met" } else { "MISSED" },
        );
    }
    if missed {
        bail!("a goal was missed");
    }
    Ok(())
}

/// A run of `codriver-gpu`'s example, built for CUDA in a folder of its own.
fn decode(format: &str) -> Result<Value> {
    let mut command = process::cargo();
    command
        .args(["run", "--release", "-p", "codriver-gpu", "--no-default-features", "--features", "cuda"])
        .args(["--example", "decode", "--target-dir"])
        .arg(paths::cache()?.join("target-gpu-cuda"))
        .args(["--", "8b", format, &TOKENS.to_string()]);
    let report = process::capture(&mut command)?;
    let line = report.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("the report of the decoder: {line}"))
}

/// Tokens a second of transformers on the same GPU, in bf16.
fn transformers() -> Result<f64> {
    let python = std::env::var_os("CODRIVER_CUDA_PYTHON").unwrap_or_else(|| "python3".into());
    say("transformers, Llama 3 8B's shape in bf16");
    let mut command = Command::new(python);
    command.arg(paths::root().join("tests/python/bench_cuda.py")).arg(TOKENS.to_string());
    let report = process::capture(&mut command).context("transformers on the GPU")?;
    report.trim().parse().with_context(|| format!("the report of transformers: {report}"))
}
