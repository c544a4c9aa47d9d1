//! One cell's run: its events become outputs and, in the end, an outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use super::bundle;
use super::diagnostics::{compile_error, panic_error};
use super::link::{Event, Link, PanicPlace};
use super::processes;
use super::protocol::{Executed, Request, Response};
use super::session::{Session, lacks_standard_sources};
use super::source::line_in_cell;
use crate::languages::{CellContext, CellError, CellOutcome, CellResult};
use crate::session::{InterruptGuard, LiveDisplay, MimeBundle, OutputEvent};

/// Blocks of different types that come closer together than this are one output.
const BLOCKS_APART: Duration = Duration::from_millis(250);
/// How much of stderr is kept for the message of an early return.
const STDERR_TAIL: usize = 4096;
/// An evaluator that has not given up by then is replaced.
const STOP_AT_LAST: Duration = Duration::from_secs(15);

pub struct Run<'cell> {
    code: &'cell str,
    context: &'cell CellContext,
    variables: Vec<String>,
    stopper: Stopper,
    /// Blocks that may still get company.
    blocks: Vec<(String, String)>,
    result: Option<MimeBundle>,
    panicked: bool,
    panic_place: Option<PanicPlace>,
    returned_early: bool,
    stderr_tail: String,
    build: Option<LiveDisplay>,
}

pub struct Ended {
    pub result: CellResult,
    pub variables: Vec<String>,
    /// The evaluator is gone.
    pub restart: bool,
}

impl<'cell> Run<'cell> {
    pub fn new(code: &'cell str, context: &'cell CellContext, session: &Session, variables: Vec<String>) -> Self {
        Self {
            code,
            context,
            variables,
            stopper: Stopper::new(context, session),
            blocks: Vec::new(),
            result: None,
            panicked: false,
            panic_place: None,
            returned_early: false,
            stderr_tail: String::new(),
            build: None,
        }
    }

    /// Runs the cell to its end.
    pub fn follow(mut self, session: &mut Session) -> Ended {
        for event in std::mem::take(&mut session.held) {
            self.show(event);
        }
        if session.send(&Request::Execute { code: self.code.to_owned() }).is_err() {
            return self.evaluator_gone();
        }
        loop {
            let patience = if self.blocks.is_empty() { Duration::from_secs(3600) } else { BLOCKS_APART };
            match session.receive(patience) {
                Ok(Event::Worker(Response::Executed { outcome, variables })) => {
                    // What is built from now on prepares the next cell.
                    self.stopper.over();
                    if matches!(outcome, Executed::Terminated { .. }) {
                        self.last_words(session);
                    }
                    let lost = std::mem::replace(&mut self.variables, variables.clone());
                    let result = self.finish(outcome, &lost, session);
                    return Ended { result, variables, restart: false };
                }
                Ok(Event::Worker(Response::Input { prompt, password })) => {
                    self.flush_blocks();
                    let text = self.context.output.ask(&prompt, password).unwrap_or_default();
                    if session.send(&Request::Input { text }).is_err() {
                        return self.evaluator_gone();
                    }
                }
                Ok(Event::WorkerGone) | Err(RecvTimeoutError::Disconnected) => {
                    return self.evaluator_gone();
                }
                Ok(event) => self.show(event),
                Err(RecvTimeoutError::Timeout) => self.flush_blocks(),
            }
        }
    }

    fn show(&mut self, event: Event) {
        match event {
            Event::Stdout(text) => {
                self.flush_blocks();
                self.context.output.stdout(text);
            }
            Event::Stderr(text) => {
                self.flush_blocks();
                self.stderr_tail.push_str(&text);
                let mut excess = self.stderr_tail.len().saturating_sub(STDERR_TAIL);
                while !self.stderr_tail.is_char_boundary(excess) {
                    excess += 1;
                }
                self.stderr_tail.drain(..excess);
                self.context.output.stderr(text);
            }
            Event::Content { mime, body } => {
                if self.blocks.iter().any(|(present, _)| *present == mime) {
                    self.flush_blocks();
                }
                self.blocks.push((mime, body));
            }
            Event::Result(text) => {
                self.flush_blocks();
                self.result = Some(MimeBundle::plain(text));
            }
            Event::Display { id, parts, update } => {
                self.flush_blocks();
                let bundle = bundle::from_parts(parts);
                self.context.output.emit(if update {
                    OutputEvent::UpdateDisplay { bundle, display_id: id }
                } else {
                    OutputEvent::Display { bundle, display_id: Some(id) }
                });
            }
            Event::Build(line) => self.show_build(&line),
            Event::PanicPlace(place) => self.panic_place = Some(place),
            Event::Panicked => self.panicked = true,
            Event::EarlyReturn => self.returned_early = true,
            Event::ChildGone | Event::WorkerConnected(_) | Event::WorkerGone | Event::Worker(_) => {}
        }
    }

    /// One line that says what is being compiled, gone when the cell ends.
    fn show_build(&mut self, line: &str) {
        let line = line.trim();
        if !line.starts_with("Compiling ") {
            tracing::debug!(line, "evaluator");
            return;
        }
        let bundle = MimeBundle::plain(line);
        match &self.build {
            Some(display) => display.update(bundle),
            None => self.build = Some(self.context.output.live_display(bundle)),
        }
    }

    fn flush_blocks(&mut self) {
        if !self.blocks.is_empty() {
            self.context.output.display(bundle::from_parts(std::mem::take(&mut self.blocks)));
        }
    }

    /// What the user process wrote before it ended.
    fn last_words(&mut self, session: &mut Session) {
        let deadline = Instant::now() + Duration::from_millis(500);
        while Instant::now() < deadline {
            match session.receive(Duration::from_millis(50)) {
                Ok(Event::ChildGone) => return,
                Ok(event) => self.show(event),
                Err(_) => {}
            }
        }
    }

    fn finish(mut self, outcome: Executed, before: &[String], session: &Session) -> CellResult {
        if let Some(build) = self.build.take() {
            build.update(MimeBundle::html("", ""));
        }
        let interrupted = self.context.interrupt.is_set();
        match outcome {
            Executed::Done { .. } if self.panicked => Err(self.panic(session)),
            Executed::Done { .. } if self.returned_early => Err(self.early_return()),
            Executed::Done { content } => {
                if !self.blocks.is_empty() {
                    self.show_earlier_result();
                    self.result = Some(bundle::from_parts(std::mem::take(&mut self.blocks)));
                }
                if !content.is_empty() {
                    self.show_earlier_result();
                    self.result = Some(bundle::from_parts(
                        content.into_iter().map(|(mime, body)| (mime, body.trim_end().to_owned())),
                    ));
                }
                Ok(CellOutcome { result: self.result, payload: Vec::new() })
            }
            Executed::Rejected { .. } | Executed::Failed { .. } if interrupted => {
                Err(CellError::interrupted("the build was stopped; all variables are kept"))
            }
            Executed::Rejected { diagnostics } => Err(compile_error(&diagnostics, self.code)),
            Executed::Terminated { message } => Err(terminated(&message, before, interrupted)),
            Executed::Failed { message } => Err(failed(&message)),
        }
    }

    fn show_earlier_result(&mut self) {
        if let Some(result) = self.result.take() {
            self.context.output.display(result);
        }
    }

    fn panic(&self, session: &Session) -> CellError {
        let Some(panic) = &self.panic_place else {
            return CellError::new("Panic", "the cell panicked");
        };
        let place = session.generated_source().filter(|_| panic.file.ends_with("src/lib.rs")).and_then(|generated| {
            let line = line_in_cell(&generated, panic.line, self.code)?;
            let indent = |text: &str, line: usize| {
                text.lines().nth(line - 1).map_or(0, |line| line.len() - line.trim_start().len())
            };
            let column = (panic.column + indent(self.code, line)).saturating_sub(indent(&generated, panic.line));
            Some((line, column.max(1)))
        });
        let mut error = panic_error(&panic.message, place, self.code);
        if place.is_none() && !panic.file.ends_with("src/lib.rs") {
            error.traceback.push(format!(" --> {}:{}:{}", panic.file, panic.line, panic.column));
        }
        error
    }

    fn early_return(&self) -> CellError {
        let message =
            self.stderr_tail.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("`?` returned an error");
        CellError::new("EarlyReturn", message)
    }

    fn evaluator_gone(self) -> Ended {
        let lost = lost(&self.variables);
        let error = if self.context.interrupt.is_set() {
            CellError::interrupted(&format!("Rust was restarted; {lost}"))
        } else {
            CellError::new("Crash", format!("the Rust evaluator ended and was restarted; {lost}"))
        };
        Ended { result: Err(error), variables: Vec::new(), restart: true }
    }
}

fn terminated(message: &str, before: &[String], interrupted: bool) -> CellError {
    let lost = lost(before);
    if interrupted {
        return CellError::interrupted(&format!("the running Rust cell was stopped; {lost}"));
    }
    let status = message.lines().last().unwrap_or_default().trim_start_matches("Subprocess terminated with status: ");
    CellError::new("Crash", format!("the Rust process ended ({status}); {lost}"))
}

fn lost(variables: &[String]) -> String {
    let names: Vec<&str> = variables.iter().map(|variable| variable.split(':').next().unwrap_or_default()).collect();
    match names.as_slice() {
        [] => "no variables were lost".to_owned(),
        names => format!("lost: {}", names.join(", ")),
    }
}

fn failed(message: &str) -> CellError {
    let message = message.trim();
    let mut error = CellError::new("RustError", message.lines().next().unwrap_or("the cell could not be evaluated"));
    error.traceback.extend(message.lines().skip(1).map(str::to_owned));
    if message.contains("determine type of variable") && lacks_standard_sources() {
        error.traceback.push("help: Rust cells infer types with the standard library's sources; install them with `rustup component add rust-src` and restart the kernel".to_owned());
    }
    error
}

/// Stops what the cell is doing when the interrupt comes, until it is dropped.
struct Stopper {
    over: Arc<AtomicBool>,
    _guard: InterruptGuard,
}

impl Stopper {
    fn new(context: &CellContext, session: &Session) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (link, worker, done) = (Arc::clone(&session.link), session.worker_id(), Arc::clone(&over));
        let guard = context.interrupt.on_interrupt(move || {
            let (link, done) = (Arc::clone(&link), Arc::clone(&done));
            if let Some(worker) = worker {
                std::thread::spawn(move || stop(&link, worker, &done));
            }
        });
        Self { over, _guard: guard }
    }
}

impl Stopper {
    fn over(&self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

impl Drop for Stopper {
    fn drop(&mut self) {
        self.over();
    }
}

/// Ends the user process if it runs the cell, else the compilers, until the cell is over:
/// evcxr may start another build after the first was stopped.
fn stop(link: &Link, worker: i32, over: &AtomicBool) {
    let started = Instant::now();
    let mut ended_child = false;
    while !over.load(Ordering::SeqCst) {
        match link.running() {
            _ if started.elapsed() > STOP_AT_LAST => processes::end(worker),
            Some(child) => {
                processes::end(child);
                ended_child = true;
            }
            None if ended_child => {}
            None => processes::end_descendants(worker),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
