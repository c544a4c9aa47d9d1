//! A session as a notebook's executor.
//!
//! The session lives on a thread of its own, as in the kernel, so that a cell's outputs can be
//! handed on while it runs and a cell that takes too long can be interrupted.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use codriver_notebooks::{Bundle, CellStatus, Executor, OutputEvent as NotebookEvent, StreamName};

use crate::languages::{CellContext, CellError, CellResult};
use crate::session::{Interrupt, MimeBundle, Output, OutputEvent, OutputSink, Session, SessionOptions, StreamBound};

/// A second interrupt, after this long, when the first did not end a cell.
const PATIENCE: Duration = Duration::from_secs(10);
const STACK: usize = 64 * 1024 * 1024;

pub struct SessionExecutor {
    code: Sender<String>,
    events: Receiver<Event>,
    interrupt: Interrupt,
    timeout: Option<Duration>,
}

enum Event {
    Output(OutputEvent),
    Done(CellResult),
}

impl SessionExecutor {
    pub fn start(options: SessionOptions, timeout: Option<Duration>) -> anyhow::Result<Self> {
        let interrupt = Interrupt::new();
        crate::cli::signals::interrupt_on_ctrl_c(interrupt.clone())?;
        let (code, codes) = channel();
        let (sender, events) = channel();
        let (opened, open) = channel();
        let cells = interrupt.clone();
        std::thread::Builder::new().name("cells".to_owned()).stack_size(STACK).spawn(move || {
            let mut session = match Session::new(&options) {
                Ok(session) => session,
                Err(error) => {
                    report(opened.send(Err(error)));
                    return;
                }
            };
            report(opened.send(Ok(())));
            serve(&mut session, &codes, &sender, &cells);
        })?;
        open.recv()??;
        Ok(Self { code, events, interrupt, timeout })
    }

    /// Waits for the next event; interrupts the cell when its time is over.
    fn next(&self, deadline: &mut Option<Instant>) -> Option<Event> {
        loop {
            let Some(until) = *deadline else { return self.events.recv().ok() };
            match self.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(event) => return Some(event),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    self.interrupt.trigger();
                    *deadline = Some(Instant::now() + PATIENCE);
                }
            }
        }
    }
}

impl Executor for SessionExecutor {
    fn execute(&mut self, code: &str, on_output: &mut dyn FnMut(NotebookEvent)) -> CellStatus {
        let first_deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        let mut deadline = first_deadline;
        if self.code.send(code.to_owned()).is_err() {
            on_output(error_event(&CellError::new("SessionError", "the session has ended")));
            return CellStatus::Interrupted;
        }
        loop {
            match self.next(&mut deadline) {
                Some(Event::Output(event)) => on_output(notebook_event(event)),
                Some(Event::Done(Ok(outcome))) => {
                    if let Some(bundle) = outcome.result {
                        on_output(NotebookEvent::Result { bundle: notebook_bundle(bundle) });
                    }
                    return CellStatus::Succeeded;
                }
                Some(Event::Done(Err(error))) => {
                    let timed_out = deadline != first_deadline;
                    on_output(error_event(&if timed_out { timeout_error(self.timeout, &error) } else { error }));
                    let by_hand = self.interrupt.is_set() && !timed_out;
                    return if by_hand { CellStatus::Interrupted } else { CellStatus::Failed };
                }
                None => {
                    on_output(error_event(&CellError::new("SessionError", "the session has ended")));
                    return CellStatus::Interrupted;
                }
            }
        }
    }
}

fn serve(session: &mut Session, codes: &Receiver<String>, events: &Sender<Event>, interrupt: &Interrupt) {
    let mut execution_count = 0;
    while let Ok(code) = codes.recv() {
        interrupt.reset();
        execution_count += 1;
        let sink = Arc::new(Forward { events: events.clone(), bound: Mutex::new(StreamBound::default()) });
        let output = Output::new(sink.clone());
        let context = CellContext { output, interrupt: interrupt.clone(), execution_count };
        let result = session.execute(&code, &context);
        if result.is_ok() {
            session.runs.note(execution_count, None, &code);
        }
        if let Some(notice) = sink.bound().notice() {
            sink.send(OutputEvent::Stderr(notice));
        }
        report(events.send(Event::Done(result)));
    }
}

/// Hands a cell's outputs on, bounded as in the kernel.
struct Forward {
    events: Sender<Event>,
    bound: Mutex<StreamBound>,
}

impl Forward {
    fn send(&self, event: OutputEvent) {
        report(self.events.send(Event::Output(event)));
    }

    fn bound(&self) -> MutexGuard<'_, StreamBound> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutputSink for Forward {
    fn emit(&self, event: OutputEvent) {
        match event {
            OutputEvent::Stdout(text) => self.send(OutputEvent::Stdout(self.bound().keep(text))),
            OutputEvent::Stderr(text) => self.send(OutputEvent::Stderr(self.bound().keep(text))),
            event => self.send(event),
        }
    }

    fn ask(&self, _prompt: &str, _password: bool) -> Option<String> {
        None
    }

    fn can_ask(&self) -> bool {
        false
    }
}

fn timeout_error(timeout: Option<Duration>, error: &CellError) -> CellError {
    let seconds = timeout.map_or(0, |timeout| timeout.as_secs());
    let message = format!("the cell took longer than {seconds} s (--timeout)");
    let mut timed_out = CellError::new("Timeout", message);
    timed_out.traceback.extend(error.traceback.iter().cloned());
    timed_out
}

fn notebook_event(event: OutputEvent) -> NotebookEvent {
    match event {
        OutputEvent::Stdout(text) => NotebookEvent::Stream { name: StreamName::Stdout, text },
        OutputEvent::Stderr(text) => NotebookEvent::Stream { name: StreamName::Stderr, text },
        OutputEvent::Display { bundle, display_id } => {
            NotebookEvent::Display { bundle: notebook_bundle(bundle), display_id }
        }
        OutputEvent::UpdateDisplay { bundle, display_id } => {
            NotebookEvent::UpdateDisplay { bundle: notebook_bundle(bundle), display_id }
        }
        OutputEvent::Clear { wait } => NotebookEvent::Clear { wait },
    }
}

fn error_event(error: &CellError) -> NotebookEvent {
    NotebookEvent::Error { name: error.name.clone(), value: error.value.clone(), traceback: error.traceback.clone() }
}

fn notebook_bundle(bundle: MimeBundle) -> Bundle {
    Bundle { data: bundle.data, metadata: bundle.metadata }
}

fn report<T>(sent: Result<(), std::sync::mpsc::SendError<T>>) {
    if sent.is_err() {
        tracing::debug!("the run is over, nobody listens");
    }
}
