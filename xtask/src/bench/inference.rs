//! `cargo xtask bench inference`: Codriver's engine beside others, on the same files.
//!
//! Engines take turns, each in a process of its own with all cores; every round measures each of
//! them once, and the medians of the rounds are compared. What the memory gives is read in every
//! round too, on the same machine in the same minutes.

mod bandwidth;
mod measure;
mod peers;
mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;

use self::measure::{Figures, Models, Test};
use self::peers::{Peer, Peers};
use crate::build;
use crate::process::say;

#[derive(clap::Args)]
pub struct Options {
    /// Rounds; each measures every engine once
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Formats of the weights; bf16 is for transformers, which reads no GGUF files
    #[arg(long, value_delimiter = ',', default_value = "q8_0,q4_0,q4_k,bf16")]
    formats: Vec<String>,
    /// Shapes of the models: qwen3-0.6b, llama-3.2-1b
    #[arg(long, value_delimiter = ',', default_value = "qwen3-0.6b,llama-3.2-1b")]
    shapes: Vec<String>,
    /// Engines to compare with
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Peer::ALL)]
    peers: Vec<Peer>,
    /// What is measured
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Test::ALL)]
    tests: Vec<Test>,
    /// Tokens of the prompt
    #[arg(long, default_value_t = 512)]
    prompt: usize,
    /// Tokens of the answer
    #[arg(long, default_value_t = 64)]
    generate: usize,
    /// Requests at once
    #[arg(long, default_value_t = 8)]
    concurrency: usize,
    /// Texts to embed
    #[arg(long, default_value_t = 1000)]
    texts: usize,
    /// Where the figures of every run go, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A first impression: one round, one shape, less of everything
    #[arg(long)]
    quick: bool,
}

impl Options {
    /// With `--quick`, what takes long is less.
    fn settled(&self) -> Self {
        let first = |names: &[String], count: usize| names.iter().take(count).cloned().collect();
        if !self.quick {
            return Self {
                formats: self.formats.clone(),
                shapes: self.shapes.clone(),
                peers: self.peers.clone(),
                tests: self.tests.clone(),
                json: self.json.clone(),
                ..*self
            };
        }
        Self {
            rounds: 1,
            formats: self.formats.clone(),
            shapes: first(&self.shapes, 1),
            peers: self.peers.clone(),
            tests: self.tests.clone(),
            prompt: self.prompt.min(128),
            generate: self.generate.min(16),
            texts: self.texts.min(200),
            json: self.json.clone(),
            ..*self
        }
    }
}

/// Measures, prints medians, ratios and the goals, and what each peer was built with.
pub fn run(options: &Options) -> Result<()> {
    let options = options.settled();
    build::binary()?;
    let peers = Peers::prepare(&options.peers)?;
    let models = Models::prepare(&peers, &options)?;
    let cases = models.cases(&options);
    let mut figures: Figures = BTreeMap::new();
    let mut bandwidths = Vec::new();
    let mut problems = peers.missing();
    for round in 1..=options.rounds {
        bandwidths.push(bandwidth::read());
        for case in &cases {
            for engine in case.engines(&peers) {
                say(&format!("round {round} of {}: {case}, {engine}", options.rounds));
                match models.measure(&peers, case, engine, &options) {
                    Ok(measured) => figures.entry((case.clone(), engine)).or_default().push(measured),
                    Err(error) => problems.push(format!("{case}: {engine} failed: {error:#}")),
                }
            }
        }
    }
    let report = report::Report {
        options: &options,
        models: &models,
        peers: &peers,
        figures: &figures,
        bandwidths: &bandwidths,
    };
    println!("{}", report.text());
    problems.dedup();
    for problem in &problems {
        println!("NOT MEASURED: {problem}");
    }
    if let Some(path) = &options.json {
        let report = json!({ "report": report.json(), "problems": problems });
        fs_err::write(path, serde_json::to_string_pretty(&report)?).context("the figures")?;
    }
    Ok(())
}
