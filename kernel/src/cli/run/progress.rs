//! What a run shows in the terminal: progress on stderr, outputs on stdout.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use codriver_notebooks::{Cell, CellReport, CellStatus, RunEvent, to_terminal};
use indicatif::{ProgressBar, ProgressStyle};

/// Characters of a cell's first line that are shown.
const TITLE: usize = 60;

pub struct Progress {
    bar: ProgressBar,
    colours: bool,
    position: String,
}

impl Progress {
    pub fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, colours: std::io::stdout().is_terminal(), position: String::new() }
    }

    pub fn show(&mut self, event: &RunEvent<'_>) {
        match event {
            RunEvent::Started { number, total, cell, .. } => {
                self.position = format!("[{number}/{total}]");
                self.bar.set_message(format!("{} {}", self.position, title(cell)));
                self.bar.reset_elapsed();
            }
            RunEvent::Output { .. } => {}
            RunEvent::Finished { report, cell, .. } => self.finished(report, cell),
        }
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn finished(&self, report: &CellReport, cell: &Cell) {
        let mark = match report.status {
            CellStatus::Succeeded => "ok",
            CellStatus::Failed if report.expected => "failed, as expected",
            CellStatus::Failed => "FAILED",
            CellStatus::Interrupted => "interrupted",
        };
        let line = format!("{} {} · {mark}, {:.2} s", self.position, title(cell), report.elapsed.as_secs_f64());
        self.bar.suspend(|| {
            eprintln!("{line}");
            for output in cell.outputs() {
                let text = to_terminal(&output);
                let text = if self.colours { text } else { strip_ansi_escapes::strip_str(text) };
                // A closed pipe (`| head`) is no reason to stop the run.
                if let Err(error) = std::io::stdout().write_all(text.as_bytes()) {
                    tracing::debug!("stdout: {error}");
                }
            }
        });
    }
}

/// The first line, and the next where the first is but a magic's name.
fn title(cell: &Cell) -> String {
    let source = cell.source();
    let mut lines = source.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut line = lines.next().unwrap_or_default().to_owned();
    if line.starts_with("%%")
        && let Some(next) = lines.next()
    {
        line = format!("{line} {next}");
    }
    let mut title: String = line.chars().take(TITLE).collect();
    if title.len() < line.len() {
        title.push('…');
    }
    title
}
