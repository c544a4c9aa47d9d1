//! `cargo xtask bench inference`.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::{self, say};
use crate::setup::python;
use crate::{build, paths};

#[derive(clap::Args)]
pub struct Options {
    /// Runs of each engine on each file
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Formats of the weights
    #[arg(long, value_delimiter = ',', default_value = "q8_0,q4_0,q4_k")]
    formats: Vec<String>,
    /// Tokens of the prompt
    #[arg(long, default_value_t = 512)]
    prompt: usize,
    /// Tokens of the answer
    #[arg(long, default_value_t = 64)]
    generate: usize,
}

/// Measures both engines in turn and prints medians, ratios and the goals.
pub fn run(options: &Options) -> Result<()> {
    build::binary()?;
    let python = python::environment()?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    say("measuring (the engines take turns, with all cores each)");
    let mut command = Command::new(python);
    command
        .arg(paths::root().join("tests/python/bench_inference.py"))
        .arg(paths::codriver())
        .arg(paths::cache()?.join("bench-models"))
        .arg("--formats")
        .args(&options.formats)
        .args(["--rounds", &options.rounds.to_string()])
        .args(["--prompt", &options.prompt.to_string()])
        .args(["--generate", &options.generate.to_string()])
        .args(["--threads", &threads.to_string()]);
    let report: Value =
        serde_json::from_str(process::capture(&mut command)?.trim()).context("the benchmark's report")?;
    let peer = report.get("peer").and_then(Value::as_str).unwrap_or_default();
    println!("llama.cpp: {peer}\n");
    print!("{}", table(&report, options));
    Ok(())
}

fn table(report: &Value, options: &Options) -> String {
    let mut text = format!("{:28} {:>12} {:>12}  {:>6}  goal\n", "median", "codriver", "llama.cpp", "ratio");
    for format in &options.formats {
        let prompt = format!("{format}: prompt of {} tokens/s", options.prompt);
        for (name, key, unit, goal) in [
            (prompt, "prompt", 1.0, Some(0.8)),
            (format!("{format}: answer tokens/s"), "answer", 1.0, Some(1.0)),
            (format!("{format}: load s"), "load", 1.0, None),
            (format!("{format}: memory MB"), "memory", 1e6, None),
        ] {
            let figure = |engine: &str| Some(report.get(format)?.get(engine)?.get(key)?.as_f64()? / unit);
            let (ours, theirs) = (figure("codriver"), figure("llama.cpp"));
            let ratio = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
            let verdict = match (ratio, goal) {
                (_, None) => String::new(),
                (Some(ratio), Some(goal)) if ratio >= goal => format!(">= {goal} met"),
                (Some(_), Some(goal)) => format!(">= {goal} MISSED"),
                (None, Some(goal)) => format!(">= {goal} not measured"),
            };
            let shown = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
            let ratio = ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
            text.push_str(&format!("{name:28} {:>12} {:>12}  {ratio:>6}  {verdict}\n", shown(ours), shown(theirs)));
        }
    }
    text
}
