//! PDF files, read by a process of their own: the library panics on broken files, and a hostile one can exhaust stack,
//! memory and time. None of that reaches the notebook.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, setrlimit};

use crate::session::Interrupt;

/// The subcommand that reads one file from standard input. Not for people.
pub const COMMAND: &str = "read-pdf";

/// What the reader may use.
const MEMORY: u64 = 2 << 30;
const SECONDS: u64 = 30;
/// Bytes of text that are taken from it.
const MOST_TEXT: u64 = 64 << 20;

/// What the subcommand does: a PDF file on standard input, its pages as a JSON list of texts on standard output, or
/// the reason why not as a JSON string.
pub fn read() -> anyhow::Result<ExitCode> {
    setrlimit(Resource::RLIMIT_AS, MEMORY, MEMORY)?;
    setrlimit(Resource::RLIMIT_CPU, seconds(), seconds())?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    std::panic::set_hook(Box::new(|_| {}));
    let mut contents = Vec::new();
    std::io::stdin().lock().read_to_end(&mut contents)?;
    let answer = match codriver_memory::chunk::pages(&contents) {
        Ok(pages) => serde_json::to_vec(&pages)?,
        Err(reason) => serde_json::to_vec(&reason)?,
    };
    std::io::stdout().lock().write_all(&answer)?;
    Ok(ExitCode::SUCCESS)
}

/// The text of each page.
pub(super) fn pages(contents: &[u8], interrupt: &Interrupt) -> Result<Vec<String>, String> {
    let answer =
        ask_reader(contents, interrupt).map_err(|error| format!("the PDF reader does not start: {error}"))??;
    match serde_json::from_slice::<Result<Vec<String>, String>>(&wrapped(&answer)) {
        Ok(answer) => answer,
        Err(_) => Err("it brought the PDF reader down".to_owned()),
    }
}

/// A list is an answer, a string is a reason.
fn wrapped(answer: &[u8]) -> Vec<u8> {
    let name = if answer.starts_with(b"[") { "Ok" } else { "Err" };
    [format!("{{\"{name}\":").as_bytes(), answer, b"}"].concat()
}

fn ask_reader(contents: &[u8], interrupt: &Interrupt) -> std::io::Result<Result<Vec<u8>, String>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(COMMAND).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    // Where the libraries are found, and nothing of the user's.
    for name in ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PATH", "CODRIVER_PDF_SECONDS"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let mut reader = Reader(command.spawn()?);
    let (stdin, stdout) = (reader.0.stdin.take(), reader.0.stdout.take());
    thread::scope(|scope| {
        scope.spawn(move || {
            // A reader that gave up closes its end: its answer says why.
            if let Some(mut stdin) = stdin
                && let Err(error) = stdin.write_all(contents)
            {
                tracing::debug!(%error, "the PDF reader stopped listening");
            }
        });
        let answer = scope.spawn(move || {
            let mut answer = Vec::new();
            let read = stdout.map(|stdout| stdout.take(MOST_TEXT).read_to_end(&mut answer));
            read.transpose().map(|_| answer)
        });
        let end = Instant::now() + Duration::from_secs(seconds());
        let reason = loop {
            if answer.is_finished() {
                break None;
            }
            if interrupt.is_set() {
                break Some("interrupted");
            }
            if Instant::now() > end {
                break Some("reading it takes too long (CODRIVER_PDF_SECONDS allows more)");
            }
            thread::sleep(Duration::from_millis(5));
        };
        // Ends both threads: their pipes break.
        reader.end();
        let answer = answer.join().map_err(|_| std::io::Error::other("its answer was not read"))?;
        match reason {
            Some(reason) => Ok(Err(reason.to_owned())),
            None => answer.map(Ok),
        }
    })
}

/// `CODRIVER_PDF_SECONDS`, or what nearly every file takes less than.
fn seconds() -> u64 {
    std::env::var("CODRIVER_PDF_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(SECONDS)
}

/// Ended when it is no longer needed, however that comes about.
struct Reader(Child);

impl Reader {
    fn end(&mut self) {
        // It may have ended by itself.
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait().map(drop)) {
            tracing::debug!(%error, "the PDF reader");
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.end();
    }
}
