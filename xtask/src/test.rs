//! `cargo xtask test`: every test there is, stage by stage.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::{self, say};
use crate::setup::{browser, embedding, gpu, python, rust as toolchain};
use crate::{build, paths};

#[derive(clap::Args)]
pub struct Options {
    /// Run these stages only (all by default)
    #[arg(value_enum)]
    stages: Vec<Stage>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Stage {
    /// The tests of the crates
    Rust,
    /// Jupyter's own kernel tests, nbclient and papermill over the gallery
    Python,
    /// JupyterLab in a headless Chromium
    Browser,
}

const STAGES: [Stage; 3] = [Stage::Rust, Stage::Python, Stage::Browser];

/// A failing stage fails the whole, but the others run.
pub fn run(options: &Options) -> Result<()> {
    toolchain::sources();
    build::tests()?;
    let chosen = |stage: &Stage| options.stages.is_empty() || options.stages.contains(stage);
    let mut reports = Vec::new();
    for stage in STAGES.into_iter().filter(chosen) {
        let started = Instant::now();
        let result = match stage {
            Stage::Rust => rust(),
            Stage::Python => python_tests(),
            Stage::Browser => browser_tests(),
        };
        if let Err(error) = &result {
            say(&format!("{}: {error:#}", stage.name()));
        }
        reports.push((stage, started.elapsed(), result));
    }
    summarize(&reports)
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::Browser => "browser",
        }
    }
}

fn summarize(reports: &[(Stage, Duration, Result<()>)]) -> Result<()> {
    println!();
    for (stage, elapsed, result) in reports {
        let verdict = if result.is_ok() { "\u{1b}[32mpassed\u{1b}[0m" } else { "\u{1b}[31mFAILED\u{1b}[0m" };
        println!("{:<8} {verdict} {:>7.1} s", stage.name(), elapsed.as_secs_f64());
    }
    let failed: Vec<&str> =
        reports.iter().filter(|(_, _, result)| result.is_err()).map(|(stage, ..)| stage.name()).collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn rust() -> Result<()> {
    let nextest = process::succeeds(process::cargo().args(["nextest", "--version"]));
    let runner: &[&str] = if nextest { &["nextest", "run"] } else { &["test"] };
    say(&format!("cargo {} --release --workspace", runner.join(" ")));
    let python = python::environment()?;
    gpu::software_gpu();
    // One more than there are cores: many tests wait, for a compiler, a provider or a process that is killed.
    let threads = (std::thread::available_parallelism().map_or(1, usize::from) + 1).to_string();
    let at_once = if nextest { vec!["--test-threads", threads.as_str()] } else { Vec::new() };
    let arguments = [runner, &["--release", "--workspace", "--bins", "--tests", "--no-fail-fast"], &at_once].concat();
    let mut command = build::cargo_with_duckdb(&arguments)?;
    with_embedding_model(&mut command);
    process::run(command.env("CODRIVER", paths::codriver()).env("CODRIVER_PYTHON", python))
}

fn python_tests() -> Result<()> {
    say("python -m pytest tests/python");
    let python = python::environment()?;
    process::run(
        with_embedding_model(&mut Command::new(python))
            .args(["-m", "pytest", "-q", "-ra", "--durations=5", "-p", "no:cacheprovider", "tests/python"])
            .env("CODRIVER", paths::codriver())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(paths::root()),
    )
}

/// The tests' kernels have a data folder of their own, in which there are no models.
fn with_embedding_model(command: &mut Command) -> &mut Command {
    match embedding::model() {
        Ok(folder) => command.env("CODRIVER_EMBEDDING_MODEL", folder),
        Err(error) => {
            say(&format!("{error:#}"));
            command
        }
    }
}

fn browser_tests() -> Result<()> {
    say("tests/browser: JupyterLab in a headless Chromium");
    let python = python::environment()?;
    let browser = browser::browser()?;
    process::run(
        with_embedding_model(&mut browser.node.node())
            .args(["--test", "--test-reporter=spec"])
            .arg("tests/browser/quickstart.test.cjs")
            .env("CODRIVER", paths::codriver())
            .env("CODRIVER_PYTHON", python)
            .env("CODRIVER_CHROMIUM", &browser.chromium)
            .env("NODE_PATH", &browser.modules)
            .current_dir(paths::root()),
    )
}
