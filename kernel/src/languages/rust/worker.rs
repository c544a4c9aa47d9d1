//! The evaluator process: evcxr, kept apart from the kernel so that its panics, its
//! working folder and its environment are its own. The only place that names evcxr.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evcxr::{CommandContext, CompilationError, Error, EvalCallbacks, EvalContext};

use super::protocol::{Diagnostic, DiagnosticSpan, Executed, Request, Response, SOCKET, WORKER, WORKSPACE};
use super::{cell_crate, child, processes};

/// Evaluated first in every user process.
const SETUP: &str = include_str!("setup.rs.txt");
/// Takes the place of the display trait in [`SETUP`] when it would be in the way.
const PLAIN_DISPLAY: &str = "trait CodriverDisplay {}";

/// A session that is quiet for this long is warmed up further.
const IDLE: Duration = Duration::from_millis(200);

type ChildHandle = Arc<Mutex<std::process::Child>>;

/// The first line of `main`: a process that was started to run user code, to evaluate it
/// or to wrap rustc never comes back from here.
pub fn runtime_hook() {
    if std::env::var_os("EVCXR_IS_RUNTIME").is_some() {
        if let Some(socket) = std::env::var_os(SOCKET)
            && let Err(error) = child::attach(&socket)
        {
            tracing::error!(%error, "the kernel's socket cannot be reached");
            std::process::exit(1);
        }
    } else if let Some(folder) = std::env::var_os(WORKER)
        && std::env::var_os("EVCXR_RUSTC_WRAPPER").is_none()
    {
        let folder = PathBuf::from(folder);
        let code = i32::from(run(&folder).is_err());
        end(&folder, code);
    }
    evcxr::runtime_hook();
}

/// Leaves nothing behind: neither compilers nor files. What still writes may need a moment.
fn end(folder: &Path, code: i32) -> ! {
    processes::end_descendants(std::process::id().cast_signed());
    for _ in 0..20 {
        match fs_err::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::debug!(%error, "the session's folder is still written to");
                std::thread::sleep(Duration::from_millis(50));
            }
            _ => break,
        }
    }
    std::process::exit(code)
}

fn run(folder: &Path) -> std::io::Result<()> {
    let socket = std::env::var_os(SOCKET).unwrap_or_default();
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(b"worker\n")?;
    let (sender, requests) = channel();
    let child: Arc<Mutex<Option<ChildHandle>>> = Arc::default();
    let reader = stream.try_clone()?;
    std::thread::spawn({
        let (child, folder) = (Arc::clone(&child), folder.to_owned());
        move || {
            read_requests(reader, &sender);
            // The kernel is gone; so is whoever could stop an endless cell.
            if let Some(child) = child.lock().unwrap_or_else(PoisonError::into_inner).take()
                && let Err(error) = child.lock().unwrap_or_else(PoisonError::into_inner).kill()
            {
                tracing::debug!(%error, "the user process had ended");
            }
            end(&folder, 0);
        }
    });
    let kernel = Kernel { stream, requests };
    let mut evaluator = match Evaluator::start() {
        Ok(evaluator) => evaluator,
        Err(message) => return kernel.send(&Response::Unavailable { message }),
    };
    *child.lock().unwrap_or_else(PoisonError::into_inner) = Some(evaluator.context.process_handle());
    kernel.send(&Response::Ready)?;
    let mut warm_up = Some(Evaluator::warm_inference);
    loop {
        let request = match kernel.requests.recv_timeout(IDLE) {
            Ok(request) => request,
            Err(RecvTimeoutError::Timeout) => match warm_up.take() {
                Some(step) => {
                    step(&mut evaluator);
                    continue;
                }
                None => match kernel.requests.recv() {
                    Ok(request) => request,
                    Err(_) => return Ok(()),
                },
            },
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let answer = match request {
            Request::Execute { code } => {
                let outcome = evaluator.execute(&code, &kernel);
                Response::Executed { outcome, variables: evaluator.variables() }
            }
            Request::Complete { code, cursor } => evaluator.complete(&code, cursor),
            Request::Inspect { code, cursor } => evaluator.inspect(&code, cursor),
            Request::Input { .. } => continue,
        };
        kernel.send(&answer)?;
        evaluator.repair();
    }
}

fn read_requests(stream: UnixStream, sender: &Sender<Request>) {
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        match serde_json::from_str(&line) {
            Ok(request) => {
                if sender.send(request).is_err() {
                    return;
                }
            }
            Err(error) => tracing::warn!(%error, "a request from the kernel is unreadable"),
        }
    }
}

struct Kernel {
    stream: UnixStream,
    requests: Receiver<Request>,
}

impl Kernel {
    fn send(&self, response: &Response) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(response)?;
        line.push(b'\n');
        (&self.stream).write_all(&line)
    }

    /// Asks the person for a line on behalf of user code.
    fn input(&self, prompt: String, password: bool) -> String {
        if self.send(&Response::Input { prompt, password }).is_err() {
            return String::new();
        }
        match self.requests.recv() {
            Ok(Request::Input { text }) => text,
            _ => String::new(),
        }
    }
}

struct Evaluator {
    context: CommandContext,
    /// Set once the session has the `cell` module.
    has_cell: bool,
    /// Whether the display trait of [`SETUP`] is in place.
    fast_display: bool,
    /// The user process is new and knows nothing of [`SETUP`].
    needs_setup: bool,
}

impl Evaluator {
    fn start() -> Result<Self, String> {
        let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
        if let Some(workspace) = std::env::var_os(WORKSPACE) {
            command.current_dir(workspace);
        }
        let (context, outputs) = EvalContext::with_subprocess_command(command).map_err(|error| error.to_string())?;
        // evcxr waits until what it passes on was taken.
        std::thread::spawn(move || outputs.stdout.iter().for_each(drop));
        std::thread::spawn(move || outputs.stderr.iter().for_each(drop));
        // Only now: evcxr would have read an `evcxr.toml` there.
        if let Some(workspace) = std::env::var_os(WORKSPACE) {
            std::env::set_current_dir(workspace).map_err(|error| error.to_string())?;
        }
        let mut evaluator = Self {
            context: CommandContext::with_eval_context(context),
            has_cell: false,
            fast_display: true,
            needs_setup: true,
        };
        evaluator.repair();
        Ok(evaluator)
    }

    /// Prepares a new user process, while nobody waits.
    fn repair(&mut self) {
        if !std::mem::take(&mut self.needs_setup) {
            return;
        }
        let setup = match SETUP.split_once("drop({") {
            Some((_, rest)) if !self.fast_display => format!("{PLAIN_DISPLAY}\ndrop({{{rest}"),
            _ => SETUP.to_owned(),
        };
        if let Err(error) = self.context.execute(&setup) {
            // Another chance after the next cell.
            self.needs_setup = true;
            tracing::error!(%error, "the user process could not be prepared");
        }
    }

    fn execute(&mut self, code: &str, kernel: &Kernel) -> Executed {
        if self.fast_display && wants_plain_display(code) {
            self.fast_display = false;
            if let Err(error) = self.context.execute(PLAIN_DISPLAY) {
                tracing::warn!(%error, "the display trait stays");
            }
        }
        self.provide_cell(code);
        let mut callbacks =
            EvalCallbacks { input_reader: &|request| kernel.input(request.prompt, request.is_password) };
        let result = catch_unwind(AssertUnwindSafe(|| self.context.execute_with_callbacks(code, &mut callbacks)));
        self.needs_setup = restarts(code);
        self.has_cell &= !clears(code);
        match result {
            Ok(Ok(outputs)) => Executed::Done { content: outputs.content_by_mime_type.into_iter().collect() },
            Ok(Err(Error::CompilationErrors(errors))) => {
                Executed::Rejected { diagnostics: errors.iter().map(diagnostic).collect() }
            }
            Ok(Err(Error::SubprocessTerminated(message))) => {
                self.needs_setup = true;
                Executed::Terminated { message }
            }
            Ok(Err(error)) => Executed::Failed { message: error.to_string() },
            Err(panic) => Executed::Failed { message: format!("evcxr failed: {}", panic_message(panic.as_ref())) },
        }
    }

    /// Gives the session the `cell` module when code first names it.
    fn provide_cell(&mut self, code: &str) {
        if self.has_cell || !cell_crate::is_mentioned(code) {
            return;
        }
        match self.context.execute(&cell_crate::module()) {
            Ok(_) => self.has_cell = true,
            Err(error) => tracing::warn!(%error, "there is no cell module"),
        }
    }

    /// The first inference reads much of the standard library.
    fn warm_inference(&mut self) {
        let code = "let warm = vec![1].iter().map(|number| number.to_string()).collect::<Vec<_>>(); warm.le";
        self.complete(code, code.len());
    }

    fn variables(&self) -> Vec<String> {
        let mut variables: Vec<String> =
            self.context.variables_and_types().map(|(name, kind)| format!("{name}: {kind}")).collect();
        variables.sort();
        variables
    }

    fn complete(&mut self, code: &str, cursor: usize) -> Response {
        self.provide_cell(code);
        let found = catch_unwind(AssertUnwindSafe(|| self.context.completions(code, cursor)));
        match found {
            Ok(Ok(completions)) => Response::Completions {
                start: completions.start_offset,
                end: completions.end_offset,
                matches: (completions.completions.into_iter())
                    .filter(|completion| !completion.code.contains("evcxr_") && !completion.code.contains("Codriver"))
                    .map(|completion| (completion.code, completion.kind.to_owned()))
                    .collect(),
            },
            _ => Response::Completions { start: cursor, end: cursor, matches: Vec::new() },
        }
    }

    fn inspect(&mut self, code: &str, cursor: usize) -> Response {
        let end = end_of_word(code, cursor);
        let hover = catch_unwind(AssertUnwindSafe(|| self.context.hover_at(code, end)));
        match hover {
            Ok(Ok((plain, html))) if plain != "No documentation found" => Response::Inspected { plain, html },
            _ => Response::Inspected { plain: String::new(), html: String::new() },
        }
    }
}

/// Cells that name evcxr bring a display of their own, and `:fmt` and `:types` change
/// evcxr's: both want evcxr's two attempts instead of the trait.
fn wants_plain_display(code: &str) -> bool {
    code.contains("evcxr") || commands(code).any(|command| command == ":fmt" || command == ":types")
}

fn restarts(code: &str) -> bool {
    clears(code) || commands(code).any(|command| command == ":restart")
}

fn clears(code: &str) -> bool {
    commands(code).any(|command| command == ":clear")
}

/// The evcxr commands a cell begins with.
fn commands(code: &str) -> impl Iterator<Item = &str> {
    code.lines().filter_map(|line| {
        line.trim_start().strip_prefix(':').map(|_| line.split_whitespace().next().unwrap_or_default())
    })
}

fn end_of_word(code: &str, cursor: usize) -> usize {
    let mut cursor = cursor.min(code.len());
    while !code.is_char_boundary(cursor) {
        cursor -= 1;
    }
    let rest = &code[cursor..];
    cursor + rest.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(rest.len())
}

fn diagnostic(error: &CompilationError) -> Diagnostic {
    let spans = (error.spanned_messages().iter())
        .filter_map(|spanned| {
            let span = spanned.span.as_ref()?;
            Some(DiagnosticSpan {
                start_line: span.start_line,
                start_column: span.start_column,
                end_line: span.end_line,
                end_column: span.end_column,
                label: spanned.label.clone(),
                primary: spanned.is_primary,
            })
        })
        .collect();
    let notes = error.json["children"].as_array().into_iter().flatten().filter_map(|child| {
        let (level, message) = (child["level"].as_str()?, child["message"].as_str()?);
        let replacement =
            child["spans"][0]["suggested_replacement"].as_str().map(str::trim).filter(|text| !text.is_empty());
        Some(format!("{level}: {message}{}", replacement.map(|text| format!(": `{text}`")).unwrap_or_default()))
    });
    Diagnostic {
        level: error.level().to_owned(),
        code: error.code().map(str::to_owned),
        message: error.message(),
        spans,
        notes: notes.chain(error.evcxr_extra_hint().map(|hint| format!("help: {hint}"))).collect(),
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no reason given".to_owned())
}
