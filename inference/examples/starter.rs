//! Trains the starter, prints samples of what it is trained on, and runs it on requests.
//! `cargo xtask train-starter` and `cargo xtask eval-starter` call this.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use codriver_inference::starter::generator::Generator;
use codriver_inference::starter::training::{TrainingOptions, train};
use codriver_inference::starter::{Piece, Starter, notation};
use codriver_inference::{DeviceChoice, Environment, device};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

/// The small model that ships with Codriver: training and trials.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train and write the checkpoint.
    Train {
        /// Folder of all-MiniLM-L6-v2 (vocab.txt, model.safetensors): where word embeddings start.
        #[arg(long)]
        encoder: PathBuf,
        #[arg(long, default_value = "inference/assets/starter")]
        output: PathBuf,
        #[arg(long, default_value = "cpu")]
        device: DeviceChoice,
        #[arg(long, default_value_t = 4000)]
        steps: usize,
        #[arg(long, default_value_t = 48)]
        batch: usize,
        #[arg(long, default_value_t = 2e-3)]
        learning_rate: f64,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Finish within this many seconds, however many steps that is. 0: no limit.
        #[arg(long, default_value_t = 0)]
        seconds: u64,
        /// Go on from a folder that training wrote.
        #[arg(long)]
        resume: Option<PathBuf>,
    },
    /// Print what the generator writes.
    Sample {
        #[arg(default_value_t = 20)]
        count: usize,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Answer requests (JSON lines with `id` and `request`) on standard input with first calls.
    Call {
        /// JSON of the session: tables, files, branches.
        #[arg(long)]
        environment: PathBuf,
        /// A folder that training wrote; the embedded starter otherwise.
        #[arg(long)]
        model: Option<PathBuf>,
        /// Print each request as the model reads it, too (to standard error).
        #[arg(long)]
        explain: bool,
    },
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Arguments::parse().command {
        Command::Train { encoder, output, device, steps, batch, learning_rate, seed, seconds, resume } => {
            let options = TrainingOptions { steps, batch, learning_rate, seed, seconds, resume };
            let bar = ProgressBar::new(steps as u64)
                .with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}")?);
            let plain = bar.is_hidden();
            train(&encoder, &output, device::resolve(device)?, &options, &mut |step, loss, seconds| {
                bar.set_position(step as u64);
                bar.set_message(format!("loss {loss:.4}"));
                if plain && step % 20 == 0 {
                    eprintln!("step {step} loss {loss:.4} at {seconds:.0} s");
                }
            })?;
            bar.finish();
        }
        Command::Sample { count, seed } => sample(count, seed),
        Command::Call { environment, model, explain } => call(&environment, model.as_deref(), explain)?,
    }
    Ok(())
}

fn sample(count: usize, seed: u64) {
    let names = notation::special_names();
    let text = |pieces: &[Piece]| {
        pieces
            .iter()
            .map(|piece| match piece {
                Piece::Token(token) => names.get(*token as usize).cloned().unwrap_or_default(),
                Piece::Text(text) => text.clone(),
            })
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut generator = Generator::new(seed);
    for _ in 0..count {
        let example = generator.next_example();
        println!("{}\n  {}\n  => {}\n", example.request, text(&example.prompt), text(&example.target));
    }
}

fn call(environment: &Path, model: Option<&Path>, explain: bool) -> Result<(), Box<dyn std::error::Error>> {
    let environment: Environment = serde_json::from_slice(&std::fs::read(environment)?)?;
    let starter = match model {
        Some(folder) => Starter::open(folder, DeviceChoice::Cpu)?,
        None => Starter::embedded(DeviceChoice::Cpu)?,
    };
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line: Value = serde_json::from_str(&line?)?;
        let request = line["request"].as_str().unwrap_or_default();
        if explain {
            eprintln!("{}: {}", line["id"], starter.linked_prompt(request, &environment)?);
        }
        let call = starter.first_call(request, &environment)?;
        writeln!(
            output,
            "{}",
            json!({ "id": line["id"], "tool": call.tool, "arguments": call.tool.map(|_| call.arguments) })
        )?;
    }
    Ok(())
}
