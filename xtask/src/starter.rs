//! `cargo xtask train-starter` and `cargo xtask eval-starter`: the model that ships with Codriver.

use std::process::Command;

use anyhow::Result;

use crate::process::{self, say};
use crate::setup::{embedding, python};
use crate::{build, paths};

/// Sets of requests whose words the generator does not use: one to develop on, one to check with.
const SETS: &[&str] = &["inference/assets/starter-eval", "inference/assets/starter-heldout"];

#[derive(clap::Args)]
pub struct Training {
    /// cpu, wgpu or cuda (the last needs `--cuda`)
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Build with CUDA
    #[arg(long)]
    cuda: bool,
    /// Finish within this many seconds (0: after all steps)
    #[arg(long, default_value_t = 4300)]
    seconds: u64,
    #[arg(long, default_value_t = 12_000)]
    steps: usize,
    #[arg(long, default_value_t = 32)]
    batch: usize,
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Go on from these weights instead of from nothing
    #[arg(long, value_name = "FOLDER")]
    resume: Option<std::path::PathBuf>,
}

/// Trains, and writes over `inference/assets/starter`.
pub fn train(options: &Training) -> Result<()> {
    let encoder = embedding::model()?;
    let mut arguments = vec!["run", "--release", "-p", "codriver-inference", "--example", "starter"];
    if options.cuda {
        arguments.extend(["--features", "codriver-inference/cuda"]);
    }
    let mut command = build::cargo_with_duckdb(&arguments)?;
    command.args(["--", "train", "--device", &options.device, "--encoder"]).arg(encoder);
    for (flag, value) in [
        ("--seconds", options.seconds.to_string()),
        ("--steps", options.steps.to_string()),
        ("--batch", options.batch.to_string()),
        ("--seed", options.seed.to_string()),
    ] {
        command.args([flag, &value]);
    }
    if let Some(folder) = &options.resume {
        command.arg("--resume").arg(folder);
    }
    process::run(command.current_dir(paths::root()))?;
    say("the starter is trained; `cargo xtask eval-starter` measures it");
    Ok(())
}

#[derive(clap::Args)]
pub struct Evaluation {
    /// Print the requests that went wrong
    #[arg(long)]
    failures: bool,
}

/// Asks both sets and prints first-call accuracy by tool.
pub fn evaluate(options: &Evaluation) -> Result<()> {
    build::binary()?;
    let python = python::environment()?;
    for set in SETS {
        say(set);
        let mut command = Command::new(&python);
        command
            .arg(paths::root().join("tests/python/eval_starter.py"))
            .arg(paths::root().join(set))
            .env("CODRIVER", paths::codriver());
        if options.failures {
            command.arg("--failures");
        }
        process::run(&mut command)?;
    }
    Ok(())
}
