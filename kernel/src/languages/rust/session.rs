//! The evaluator process, from its start to its end.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::RustOptions;
use super::link::{Event, Link};
use super::protocol::{Request, Response, SOCKET, WORKER, WORKSPACE};
use crate::languages::{CellContext, CellError};

/// How long completion and inspection may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Output of background threads kept between cells.
const MOST_HELD: usize = 1000;

pub struct Session {
    state: State,
    events: Receiver<Event>,
    pub link: Arc<Link>,
    worker: Option<UnixStream>,
    process: Option<Child>,
    /// Holds everything the session writes; the evaluator deletes it when it ends, this
    /// deletes it when the evaluator could not.
    folder: Option<TempDir>,
    /// Output that came while no cell ran.
    pub held: Vec<Event>,
}

enum State {
    Starting,
    Ready,
    Unavailable(String),
}

impl Session {
    /// Starts the evaluator and returns before it is ready.
    pub fn start(options: &RustOptions) -> Self {
        let (sender, events) = sync_channel(256);
        let link = Link::new(sender, options.frames.clone());
        let mut session =
            Self { state: State::Starting, events, link, worker: None, process: None, folder: None, held: Vec::new() };
        if let Err(error) = session.spawn(options) {
            session.state = State::Unavailable(error.to_string());
        }
        session
    }

    fn spawn(&mut self, options: &RustOptions) -> std::io::Result<()> {
        let folder = tempfile::Builder::new().prefix("codriver-rust-").tempdir()?;
        let socket = folder.path().join("socket");
        self.link.listen(UnixListener::bind(&socket)?);
        let runtime = match &options.runtime {
            Some(runtime) => runtime.clone(),
            None => std::env::current_exe()?,
        };
        let workspace = match &options.workspace {
            Some(workspace) => workspace.clone(),
            None => std::env::current_dir()?,
        };
        let mut process = Command::new(runtime)
            .env(WORKER, folder.path())
            .env(WORKSPACE, workspace)
            .env(SOCKET, &socket)
            // evcxr's own settings belong to evcxr's own kernel, and its folder to one session.
            .env("EVCXR_CONFIG_DIR", folder.path().join("config"))
            .env("EVCXR_TMPDIR", folder.path().join("rust"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(stderr) = process.stderr.take() {
            let link = Arc::clone(&self.link);
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    link.send(Event::Build(line));
                }
            });
        }
        self.process = Some(process);
        self.folder = Some(folder);
        Ok(())
    }

    pub fn is_unavailable(&self) -> bool {
        matches!(self.state, State::Unavailable(_))
    }

    pub fn wait_until_ready(&mut self, context: &CellContext) -> Result<(), CellError> {
        while matches!(self.state, State::Starting) {
            if context.interrupt.is_set() {
                return Err(CellError::interrupted("Rust was still starting; nothing ran"));
            }
            self.poll(Duration::from_millis(50));
        }
        match &self.state {
            State::Unavailable(reason) => Err(unavailable(reason)),
            State::Starting | State::Ready => Ok(()),
        }
    }

    pub fn send(&mut self, request: &Request) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        match &mut self.worker {
            Some(worker) => worker.write_all(&line),
            None => Err(std::io::Error::other("the Rust evaluator is not connected")),
        }
    }

    pub fn receive(&mut self, timeout: Duration) -> Result<Event, RecvTimeoutError> {
        self.events.recv_timeout(timeout)
    }

    /// The generated source of the last cell.
    pub fn generated_source(&self) -> Option<String> {
        let path = self.folder.as_ref()?.path().join("rust/src/lib.rs");
        fs_err::read_to_string(path).ok()
    }

    pub fn worker_id(&self) -> Option<i32> {
        self.process.as_ref().map(|process| process.id().cast_signed())
    }

    pub fn complete(&mut self, code: &str, cursor: usize) -> Option<(usize, usize, Vec<(String, String)>)> {
        match self.ask(&Request::Complete { code: code.to_owned(), cursor })? {
            Response::Completions { start, end, matches } => Some((start, end, matches)),
            _ => None,
        }
    }

    pub fn inspect(&mut self, code: &str, cursor: usize) -> Option<(String, String)> {
        match self.ask(&Request::Inspect { code: code.to_owned(), cursor })? {
            Response::Inspected { plain, html } if !plain.is_empty() => Some((plain, html)),
            _ => None,
        }
    }

    /// Asks something that has one answer and prints nothing.
    fn ask(&mut self, request: &Request) -> Option<Response> {
        while self.poll(Duration::ZERO).is_some() {}
        if !matches!(self.state, State::Ready) || self.send(request).is_err() {
            return None;
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && matches!(self.state, State::Ready) {
            if let Some(Some(response)) = self.poll(Duration::from_millis(100)) {
                return Some(response);
            }
        }
        None
    }

    /// Takes one event while no cell runs: `None` if there was none, else the answer it
    /// carried, if it carried one.
    fn poll(&mut self, timeout: Duration) -> Option<Option<Response>> {
        match self.receive(timeout).ok()? {
            Event::WorkerConnected(stream) => self.worker = Some(stream),
            Event::Worker(Response::Ready) => self.state = State::Ready,
            Event::Worker(Response::Unavailable { message }) => self.state = State::Unavailable(message),
            Event::Worker(response) => return Some(Some(response)),
            Event::WorkerGone => {
                if !self.is_unavailable() {
                    self.state = State::Unavailable("the Rust evaluator ended unexpectedly".to_owned());
                }
            }
            Event::Build(line) => tracing::debug!(%line, "evaluator"),
            event @ (Event::Stdout(_) | Event::Stderr(_) | Event::Display { .. }) => {
                if self.held.len() < MOST_HELD {
                    self.held.push(event);
                }
            }
            Event::Content { .. }
            | Event::Result(_)
            | Event::PanicPlace(_)
            | Event::Panicked
            | Event::EarlyReturn
            | Event::ChildGone => {}
        }
        Some(None)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The evaluator ends, and cleans up, when its connection does.
        if let Some(worker) = self.worker.take()
            && let Err(error) = worker.shutdown(std::net::Shutdown::Both)
        {
            tracing::debug!(%error, "the evaluator had gone");
        }
        let Some(mut process) = self.process.take() else {
            return;
        };
        let deadline = Instant::now() + Duration::from_secs(1);
        while Instant::now() < deadline {
            if !matches!(process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let gone = process.kill().and_then(|()| process.wait());
        if let Err(error) = gone {
            tracing::warn!(%error, "the evaluator does not end");
        }
    }
}

fn unavailable(reason: &str) -> CellError {
    let missing_tool = reason.contains("Cannot find `rustc`")
        || reason.contains("Cannot find `cargo`")
        || reason.contains("Failed to run rustc");
    let advice = if missing_tool {
        "Rust cells need rustc and cargo, which are not on the PATH. Install them from https://rustup.rs, then run the cell again. Other cells work without."
    } else {
        "the Rust evaluator did not start; `codriver doctor` checks what it needs"
    };
    let mut error = CellError::new("RustUnavailable", advice);
    error.traceback.extend(reason.lines().map(str::to_owned));
    error
}

/// Whether the standard library's sources, which type inference reads, are missing.
pub fn lacks_standard_sources() -> bool {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output();
    output.is_ok_and(|output| {
        let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        !Path::new(&sysroot.join("lib/rustlib/src/rust/library/std")).exists()
    })
}
