//! `%%bash` and `!command`: bash in its own process group.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid};

use super::utf8::Utf8Stream;
use super::{CellContext, CellError, CellOutcome, CellResult};

/// How long each signal is given before the next, stronger one.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long output is waited for once bash has ended. A background child may hold it open
/// for ever.
const LAST_OUTPUT: Duration = Duration::from_millis(300);

/// Runs scripts in the workspace.
#[derive(Debug, Clone)]
pub struct ShellEngine {
    workspace: PathBuf,
}

impl ShellEngine {
    pub fn new(workspace: impl Into<PathBuf>) -> Self {
        Self { workspace: workspace.into() }
    }

    /// Runs `script` with bash, streaming what it writes. A non-zero exit code is an error.
    pub fn execute(&self, script: &str, context: &CellContext) -> CellResult {
        let mut child = Command::new("bash")
            .args(["-c", script])
            .current_dir(&self.workspace)
            .env("TERM", "xterm-256color")
            .env("CLICOLOR_FORCE", "1")
            .env("PAGER", "cat")
            .env("GIT_PAGER", "cat")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| {
                CellError::new("ShellError", format!("cannot start bash in {}: {error}", self.workspace.display()))
            })?;
        let group = Group::of(child.id());
        let open = Arc::new(AtomicBool::new(true));
        let (ended, all_ended) = channel();
        if let Some(stdout) = child.stdout.take() {
            let output = context.output.clone();
            forward(stdout, Arc::clone(&open), ended.clone(), move |text| output.stdout(text));
        }
        if let Some(stderr) = child.stderr.take() {
            let output = context.output.clone();
            forward(stderr, Arc::clone(&open), ended, move |text| output.stderr(text));
        }
        let guard = context.interrupt.on_interrupt({
            let group = group.clone();
            move || group.stop()
        });
        let status = child.wait();
        group.finish(context.interrupt.is_set());
        drop(guard);
        let deadline = Instant::now() + LAST_OUTPUT;
        // Each reader says when it is through; both are gone when the channel closes.
        while all_ended.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok() {}
        open.store(false, Ordering::SeqCst);
        if context.interrupt.is_set() {
            return Err(CellError::interrupted("the shell command and what it started were stopped"));
        }
        outcome(status.map_err(|error| CellError::new("ShellError", format!("cannot wait for bash: {error}")))?)
    }
}

fn outcome(status: ExitStatus) -> CellResult {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(CellOutcome::default()),
        (Some(code), _) => Err(CellError::new("ShellError", format!("the command ended with exit code {code}"))),
        (None, Some(number)) => {
            let name = Signal::try_from(number).map_or_else(|_| String::new(), |signal| format!(" ({signal})"));
            Err(CellError::new("ShellError", format!("the command was ended by signal {number}{name}")))
        }
        (None, None) => Err(CellError::new("ShellError", "the command ended without an exit code")),
    }
}

/// Reads to the end on a thread of its own. Once `open` is false the text is dropped, but
/// still read, so that a background child is not stopped by a full or broken pipe.
fn forward(
    mut from: impl Read + Send + 'static,
    open: Arc<AtomicBool>,
    ended: Sender<()>,
    emit: impl Fn(String) + Send + 'static,
) {
    std::thread::spawn(move || {
        let mut stream = Utf8Stream::default();
        let mut buffer = vec![0; 64 * 1024];
        let send = |text: String| {
            if open.load(Ordering::SeqCst) && !text.is_empty() {
                emit(text);
            }
        };
        loop {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => send(stream.push(&buffer[..count])),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::debug!(%error, "a shell command's output broke off");
                    break;
                }
            }
        }
        send(stream.finish());
        if ended.send(()).is_err() {
            tracing::debug!("a background command's output ended after its cell");
        }
    });
}

/// bash and everything it started.
#[derive(Clone)]
struct Group {
    leader: Pid,
    /// Set once bash was waited for: its number may then belong to someone else.
    finished: Arc<AtomicBool>,
}

impl Group {
    fn of(id: u32) -> Self {
        Self { leader: Pid::from_raw(id.cast_signed()), finished: Arc::new(AtomicBool::new(false)) }
    }

    /// Asks, then insists, then kills, without blocking the caller.
    ///
    /// A script's background subshell ignores SIGINT, and the command it is waiting for does
    /// not: asked together, the command would end and the subshell go on with the next one.
    /// What is deaf to SIGINT is therefore frozen before anyone is asked.
    fn stop(&self) {
        let group = self.clone();
        std::thread::spawn(move || {
            group.freeze_the_deaf();
            for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
                if group.finished.load(Ordering::SeqCst) {
                    return;
                }
                group.send(signal);
                if signal == Signal::SIGTERM {
                    // The frozen wake up to the SIGTERM that waits for them.
                    group.send(Signal::SIGCONT);
                }
                let deadline = Instant::now() + PATIENCE;
                while Instant::now() < deadline && !group.finished.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
    }

    /// Stops every member but the leader that ignores SIGINT, where the system has a /proc
    /// to tell (proc(5), `SigIgn`).
    fn freeze_the_deaf(&self) {
        let Ok(processes) = std::fs::read_dir("/proc") else {
            return;
        };
        let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        for member in numbers.map(Pid::from_raw) {
            let ours = member != self.leader && getpgid(Some(member)) == Ok(self.leader);
            if ours
                && ignores_sigint(member)
                && let Err(error) = kill(member, Signal::SIGSTOP)
            {
                tracing::debug!(%error, %member, "a background job is gone");
            }
        }
    }

    /// bash has ended. After an interrupt nothing of its group stays behind. (The group's
    /// number is not reused while it has members.)
    fn finish(&self, interrupted: bool) {
        self.finished.store(true, Ordering::SeqCst);
        if interrupted {
            self.send(Signal::SIGKILL);
        }
    }

    fn send(&self, signal: Signal) {
        if let Err(error) = killpg(self.leader, signal) {
            tracing::debug!(%error, %signal, "the process group is gone");
        }
    }
}

fn ignores_sigint(process: Pid) -> bool {
    const SIGINT_BIT: u64 = 1 << (Signal::SIGINT as u64 - 1);
    std::fs::read_to_string(format!("/proc/{process}/status"))
        .ok()
        .and_then(|status| {
            let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
            u64::from_str_radix(mask.trim(), 16).ok()
        })
        .is_some_and(|ignored| ignored & SIGINT_BIT != 0)
}
