//! The kernel's end of the session's socket: the evaluator, the user process and the
//! `cell` crate all connect here.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::filter::{Filter, Piece};
use super::frames;
use super::protocol::Response;
use crate::languages::sql::SqlEngine;
use crate::languages::utf8::Utf8Stream;

/// How long the last output of a cell is waited for.
const LAST_OUTPUT: Duration = Duration::from_millis(500);
/// How long something that looks like the beginning of a marker is held back.
const HOLD: Duration = Duration::from_millis(50);
const COMPLETE: &str = "EVCXR_EXECUTION_COMPLETE";

/// What happened in the session's processes, in order.
pub enum Event {
    WorkerConnected(UnixStream),
    Worker(Response),
    WorkerGone,
    /// A line that cargo wrote while building dependencies.
    Build(String),
    Stdout(String),
    Stderr(String),
    Content {
        mime: String,
        body: String,
    },
    /// The value of a cell's last expression.
    Result(String),
    Display {
        id: String,
        parts: Vec<(String, String)>,
        update: bool,
    },
    PanicPlace(PanicPlace),
    Panicked,
    EarlyReturn,
    ChildGone,
}

/// What the panic hook saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PanicPlace {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub message: String,
}

/// Shared between the connections' threads and the engine.
pub struct Link {
    events: SyncSender<Event>,
    frames: Option<SqlEngine>,
    children: Mutex<HashMap<u32, Arc<Child>>>,
    /// The process that is running user code right now, else 0.
    running: AtomicI32,
}

/// One user process.
struct Child {
    id: u32,
    control: Mutex<UnixStream>,
    /// Flushes the process' own buffers when asked.
    flusher: Mutex<Option<UnixStream>>,
    stderr_synced: (Mutex<Sender<()>>, Mutex<Receiver<()>>),
}

impl Link {
    pub fn new(events: SyncSender<Event>, frames: Option<SqlEngine>) -> Arc<Self> {
        Arc::new(Self { events, frames, children: Mutex::default(), running: AtomicI32::new(0) })
    }

    /// Accepts connections for as long as the process lives.
    pub fn listen(self: &Arc<Self>, listener: UnixListener) {
        let link = Arc::clone(self);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let accepted = stream.and_then(|stream| link.accept(stream));
                if let Err(error) = accepted {
                    tracing::warn!(%error, "a connection to the Rust session was refused");
                }
            }
        });
    }

    pub fn send(&self, event: Event) {
        if self.events.send(event).is_err() {
            tracing::debug!("the Rust session has ended");
        }
    }

    pub fn running(&self) -> Option<i32> {
        Some(self.running.load(Ordering::SeqCst)).filter(|id| *id != 0)
    }

    fn accept(self: &Arc<Self>, mut stream: UnixStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let hello = read_hello(&mut stream)?;
        stream.set_read_timeout(None)?;
        let words: Vec<&str> = hello.split(' ').collect();
        let link = Arc::clone(self);
        match words.as_slice() {
            ["worker"] => {
                self.send(Event::WorkerConnected(stream.try_clone()?));
                std::thread::spawn(move || link.read_worker(stream));
            }
            ["child", id, "control"] => self.new_child(parse(id)?, stream),
            ["child", id, "stdout"] => {
                let child = self.child(parse(id)?)?;
                std::thread::spawn(move || link.read_stdout(stream, &child));
            }
            ["child", id, "stderr"] => {
                let child = self.child(parse(id)?)?;
                std::thread::spawn(move || link.read_stderr(stream, &child));
            }
            ["flush", id] => *lock(&self.child(parse(id)?)?.flusher) = Some(stream),
            ["frame", length] => {
                let length = usize::try_from(parse(length)?).unwrap_or(usize::MAX).min(4096);
                std::thread::spawn(move || {
                    if let Err(error) = frames::answer(stream, length, link.frames.as_ref()) {
                        tracing::debug!(%error, "a cell went away before it had its frame");
                    }
                });
            }
            _ => return Err(std::io::Error::other(format!("nobody says {hello:?}"))),
        }
        Ok(())
    }

    fn new_child(&self, id: u32, control: UnixStream) {
        let (sender, receiver) = channel();
        let child = Child {
            id,
            control: Mutex::new(control),
            flusher: Mutex::default(),
            stderr_synced: (Mutex::new(sender), Mutex::new(receiver)),
        };
        lock(&self.children).insert(id, Arc::new(child));
    }

    fn child(&self, id: u32) -> std::io::Result<Arc<Child>> {
        lock(&self.children).get(&id).cloned().ok_or_else(|| std::io::Error::other(format!("no process {id}")))
    }

    fn read_worker(&self, stream: UnixStream) {
        for line in BufReader::new(stream).lines() {
            match line
                .map_err(|error| error.to_string())
                .and_then(|line| serde_json::from_str(&line).map_err(|error| error.to_string()))
            {
                Ok(response) => self.send(Event::Worker(response)),
                Err(error) => {
                    tracing::warn!(%error, "the evaluator's answer is unreadable");
                    break;
                }
            }
        }
        self.send(Event::WorkerGone);
    }

    fn read_stdout(&self, mut stream: UnixStream, child: &Child) {
        let mut reader = StreamReader::default();
        // Set while evcxr waits to hear that the code is through.
        let mut completing: Option<Instant> = None;
        while let Some(pieces) = reader.read(&mut stream, completing.is_some()) {
            for piece in pieces {
                match piece {
                    Piece::Text(bytes) => self.send_text(reader.text.push(&bytes), Event::Stdout),
                    Piece::Content { mime, body } => self.send(Event::Content { mime, body }),
                    Piece::Line(line) if line == COMPLETE => {
                        if child.ask_to_flush() {
                            completing = Some(Instant::now() + LAST_OUTPUT);
                        } else {
                            self.complete(child);
                        }
                    }
                    Piece::Line(line) => {
                        match line.as_str() {
                            "EVCXR_PANIC_NOTIFICATION" => self.send(Event::Panicked),
                            "EVCXR_ERROR_OCCURRED" => self.send(Event::EarlyReturn),
                            _ => {}
                        }
                        child.tell_evcxr(&line);
                    }
                    Piece::Message { kind, .. } if kind == "run" => {
                        self.running.store(child.id.cast_signed(), Ordering::SeqCst)
                    }
                    Piece::Message { kind, .. } if kind == "sync" => {
                        if completing.take().is_some() {
                            if lock(&child.stderr_synced.1).recv_timeout(LAST_OUTPUT).is_err() {
                                tracing::debug!("stderr was not flushed in time");
                            }
                            self.complete(child);
                        }
                    }
                    Piece::Message { kind, payload } => self.message(&kind, &payload),
                }
            }
            if completing.is_some_and(|deadline| Instant::now() > deadline) {
                completing = None;
                self.complete(child);
            }
        }
        self.send_text(reader.text.finish(), Event::Stdout);
        if self.running() == Some(child.id.cast_signed()) {
            self.running.store(0, Ordering::SeqCst);
        }
        lock(&self.children).remove(&child.id);
        self.send(Event::ChildGone);
    }

    fn read_stderr(&self, mut stream: UnixStream, child: &Child) {
        let mut reader = StreamReader::default();
        while let Some(pieces) = reader.read(&mut stream, false) {
            for piece in pieces {
                match piece {
                    Piece::Text(bytes) => self.send_text(reader.text.push(&bytes), Event::Stderr),
                    Piece::Line(line) => self.send_text(format!("{line}\n"), Event::Stderr),
                    Piece::Content { body, .. } => self.send_text(body, Event::Stderr),
                    Piece::Message { kind, .. } if kind == "sync" => {
                        if lock(&child.stderr_synced.0).send(()).is_err() {
                            return;
                        }
                    }
                    Piece::Message { kind, payload } => self.message(&kind, &payload),
                }
            }
        }
        self.send_text(reader.text.finish(), Event::Stderr);
    }

    fn send_text(&self, text: String, event: fn(String) -> Event) {
        if !text.is_empty() {
            self.send(event(text));
        }
    }

    fn message(&self, kind: &str, payload: &[u8]) {
        match kind {
            "result" => self.send(Event::Result(String::from_utf8_lossy(payload).into_owned())),
            "display" | "update" => {
                let mut strings = frames::strings(payload).into_iter();
                let Some(id) = strings.next() else { return };
                let mut parts = Vec::new();
                while let (Some(mime), Some(body)) = (strings.next(), strings.next()) {
                    parts.push((mime, body));
                }
                self.send(Event::Display { id, parts, update: kind == "update" });
            }
            "panic" => {
                if let Some(place) = panic_place(&String::from_utf8_lossy(payload)) {
                    self.send(Event::PanicPlace(place));
                }
            }
            _ => tracing::debug!(kind, "a message nobody knows"),
        }
    }

    /// The cell's code is through and all of its output is here: evcxr may go on.
    fn complete(&self, child: &Child) {
        self.running.store(0, Ordering::SeqCst);
        child.tell_evcxr(COMPLETE);
    }
}

impl Child {
    /// False if there is nobody to flush.
    fn ask_to_flush(&self) -> bool {
        lock(&self.flusher).as_ref().is_some_and(|mut flusher| flusher.write_all(b"f").is_ok())
    }

    fn tell_evcxr(&self, line: &str) {
        if let Err(error) = lock(&self.control).write_all(format!("{line}\n").as_bytes()) {
            tracing::debug!(%error, "the user process has ended");
        }
    }
}

/// Reads a stream of the user process in pieces.
#[derive(Default)]
struct StreamReader {
    filter: Filter,
    text: Utf8Stream,
}

impl StreamReader {
    /// `None` at the end. With `hurry`, or while something is held back, it comes back
    /// empty-handed after a moment.
    fn read(&mut self, stream: &mut UnixStream, hurry: bool) -> Option<Vec<Piece>> {
        let patience = (hurry || self.filter.holds_a_prefix()).then_some(HOLD);
        if stream.set_read_timeout(patience).is_err() {
            return None;
        }
        let mut buffer = vec![0; 64 * 1024];
        match stream.read(&mut buffer) {
            Ok(0) => {
                let rest = self.filter.finish();
                (!rest.is_empty()).then(|| vec![Piece::Text(rest)])
            }
            Ok(count) => Some(self.filter.push(&buffer[..count])),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                Some(self.filter.release().into_iter().map(Piece::Text).collect())
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Some(Vec::new()),
            Err(_) => None,
        }
    }
}

fn read_hello(stream: &mut UnixStream) -> std::io::Result<String> {
    let mut hello = Vec::new();
    let mut byte = [0];
    while hello.len() < 64 {
        stream.read_exact(&mut byte)?;
        if byte[0] == b'\n' {
            return Ok(String::from_utf8_lossy(&hello).into_owned());
        }
        hello.push(byte[0]);
    }
    Err(std::io::Error::other("a greeting without an end"))
}

fn parse(number: &str) -> std::io::Result<u32> {
    number.parse().map_err(std::io::Error::other)
}

fn panic_place(record: &str) -> Option<PanicPlace> {
    let mut parts = record.splitn(4, '\n');
    Some(PanicPlace {
        file: parts.next()?.to_owned(),
        line: parts.next()?.parse().ok()?,
        column: parts.next()?.parse().ok()?,
        message: parts.next()?.to_owned(),
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
