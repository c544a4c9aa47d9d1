//! `codriver run`: a notebook from top to bottom, in this process.

mod executor;
mod progress;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use codriver_notebooks::{Notebook, RunOptions, RunReport, to_html};

use crate::session::{SessionOptions, folders};
use executor::SessionExecutor;
use progress::Progress;

#[derive(Debug, Args)]
pub struct RunArguments {
    /// The notebook
    #[arg(value_name = "NOTEBOOK")]
    notebook: PathBuf,
    /// Where the executed notebook goes [default: NOTEBOOK with .executed.ipynb]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Where the HTML rendering goes [default: beside the executed notebook, .html]
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Go on after a cell that failed, and succeed
    #[arg(long)]
    allow_errors: bool,
    /// Seconds a cell may take
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Use and fill this user's memory. Without it each run starts from nothing and leaves nothing
    #[arg(long)]
    memory: bool,
}

pub fn run(arguments: &RunArguments) -> anyhow::Result<ExitCode> {
    let path = std::path::absolute(&arguments.notebook)?;
    let output = match &arguments.output {
        Some(output) => std::path::absolute(output)?,
        None => path.with_extension("executed.ipynb"),
    };
    let html = match &arguments.html {
        Some(html) => std::path::absolute(html)?,
        None => output.with_extension("html"),
    };
    let mut notebook = Notebook::read(&path)?;

    // As under Jupyter, paths in a notebook count from its folder.
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    std::env::set_current_dir(&folder).with_context(|| format!("cannot work in {}", folder.display()))?;
    let options = SessionOptions { workspace: folder, data_folder: arguments.memory.then(folders::data_folder) };
    let mut executor = SessionExecutor::start(options, arguments.timeout.map(Duration::from_secs))?;
    let mut progress = Progress::new();
    let report = codriver_notebooks::run(
        &mut notebook,
        &mut executor,
        &RunOptions { allow_errors: arguments.allow_errors },
        &mut |event| progress.show(&event),
    );
    progress.finish();

    notebook.write(&output)?;
    fs_err::write(&html, to_html(&notebook))?;
    eprintln!("{}", summary(&report));
    eprintln!("notebook: {}\nHTML:     {}", output.display(), html.display());
    let interrupted = report.cells.iter().any(|cell| cell.status == codriver_notebooks::CellStatus::Interrupted);
    let good = report.succeeded() || (arguments.allow_errors && !interrupted);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(report: &RunReport) -> String {
    let failures: Vec<String> = report
        .failures()
        .map(|cell| format!("  cell {}: {}", cell.index + 1, cell.error.as_deref().unwrap_or("failed")))
        .collect();
    let seconds: f64 = report.cells.iter().map(|cell| cell.elapsed.as_secs_f64()).sum();
    let mut text = format!("{} cells run in {seconds:.1} s, {} failed", report.cells.len(), failures.len());
    if report.not_run > 0 {
        text.push_str(&format!(", {} not reached", report.not_run));
    }
    for failure in failures {
        text.push('\n');
        text.push_str(&failure);
    }
    text
}
