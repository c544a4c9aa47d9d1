//! `codriver knowledge`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use codriver_memory::ingest::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::agent::knowledge::{self, KnowledgeCommand, Outcome, progress_text};
use crate::cli::signals::interrupt_on_ctrl_c;
use crate::session::{Interrupt, Session, SessionOptions};

#[derive(Debug, Args)]
pub struct KnowledgeArguments {
    #[command(subcommand)]
    command: KnowledgeCommand,
}

/// Does it, with a bar on standard error and what came of it on standard output.
pub fn knowledge(arguments: &KnowledgeArguments) -> anyhow::Result<ExitCode> {
    let interrupt = Interrupt::new();
    interrupt_on_ctrl_c(interrupt.clone())?;
    let options = SessionOptions::of_this_process().context("the current folder cannot be read")?;
    let session = Session::without_rust(&options)?;
    let mut bar = Bar::new();
    let outcome = knowledge::run(&arguments.command, &session, &interrupt, &mut |progress| bar.show(progress));
    bar.end();
    let outcome = outcome?;
    let printed = super::print(&format!("{}\n", outcome.bundle().text().trim_end()))?;
    Ok(match outcome {
        Outcome::Read(report) if report.interrupted => ExitCode::from(130),
        Outcome::Read(report) if report.failures().next().is_some() => ExitCode::FAILURE,
        _ => printed,
    })
}

/// Progress on standard error.
struct Bar {
    bar: ProgressBar,
    since: Instant,
    embedding: bool,
}

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("{bar:32} {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, since: Instant::now(), embedding: false }
    }

    fn show(&mut self, progress: &Progress) {
        if progress.to_embed > 0 && !self.embedding {
            (self.embedding, self.since) = (true, Instant::now());
        }
        let (share, text) = progress_text(progress, self.since.elapsed());
        self.bar.set_length(1_000);
        self.bar.set_position((share * 1_000.0) as u64);
        self.bar.set_message(text);
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
