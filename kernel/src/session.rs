//! One notebook's run: what it holds and how a cell is executed in it.

mod bound;
pub mod folders;
mod history;
mod interrupt;
mod lazy_rust;
mod output;
mod runs;
mod values;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use codriver_memory::{Memory, MemoryError, MemoryOptions, Mode, Project, Redactor};

use crate::agent::Agents;
use crate::cells::{self, MagicRegistry};
use crate::languages::rust::RustOptions;
use crate::languages::shell::ShellEngine;
use crate::languages::sql::SqlEngine;
use crate::languages::{CellContext, CellError, CellResult, Completeness, Completions};

pub use bound::{OUTPUT_LIMIT, StreamBound};
pub use history::{History, HistoryEntry};
pub use interrupt::{Interrupt, InterruptGuard};
pub use lazy_rust::LazyRust;
pub use output::{LiveDisplay, MimeBundle, Output, OutputEvent, OutputSink, RecordingSink};
pub use runs::{Runs, StaleCell};
pub use values::Values;

/// The database of memory, in the data folder.
pub(crate) const MEMORY: &str = "memory.duckdb";

/// What a notebook's cells share. Lives on the one thread that runs cells.
pub struct Session {
    pub sql: SqlEngine,
    pub rust: LazyRust,
    pub shell: ShellEngine,
    pub memory: Arc<Memory>,
    pub agents: Agents,
    /// The folder agents' file and git tools may not leave; absolute.
    pub workspace: PathBuf,
    /// Of the last cell, if it failed.
    pub last_error: Option<CellError>,
    pub history: History,
    /// What ran, and what it made and read.
    pub runs: Runs,
    /// What `{{name}}` stands for: `%set` values and notebook parameters.
    pub values: Values,
    pub magics: Arc<MagicRegistry>,
}

/// How a session is opened.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    pub workspace: PathBuf,
    /// `None`: nothing outlives the process (memory and history stay in the process).
    pub data_folder: Option<PathBuf>,
}

/// Why a session cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("the SQL engine does not start: {0}")]
    Sql(CellError),
    #[error("memory does not start: {0}")]
    Memory(#[from] MemoryError),
}

impl SessionOptions {
    /// The current folder as workspace, the user's data folder.
    pub fn of_this_process() -> std::io::Result<Self> {
        Ok(Self { workspace: std::env::current_dir()?, data_folder: Some(folders::data_folder()) })
    }
}

impl Session {
    /// Opens the engines. Rust gets ready in the background, models when they are asked.
    pub fn new(options: &SessionOptions) -> Result<Self, SessionError> {
        let session = Self::without_rust(options)?;
        session.rust.warm_up();
        session.agents.warm_up();
        back_up_later(&session.memory);
        Ok(session)
    }

    /// The same, with Rust not started before it is used: for requests from a terminal.
    pub fn without_rust(options: &SessionOptions) -> Result<Self, SessionError> {
        let sql = SqlEngine::open_in(&options.workspace).map_err(SessionError::Sql)?;
        let rust = LazyRust::new(RustOptions {
            frames: Some(sql.clone()),
            workspace: Some(options.workspace.clone()),
            ..RustOptions::default()
        });
        let memory = Arc::new(open_memory(options)?);
        sql.attach_memory(&memory).map_err(SessionError::Sql)?;
        let history = options.data_folder.as_deref().map_or_else(History::in_memory, |folder| history(folder, &memory));
        Ok(Self {
            sql,
            rust,
            shell: ShellEngine::new(&options.workspace),
            agents: Agents::new(Arc::clone(&memory), &options.workspace),
            memory,
            workspace: options.workspace.clone(),
            last_error: None,
            runs: Runs::default(),
            history,
            values: Values::default(),
            magics: Arc::new(cells::registry()),
        })
    }

    /// Runs one cell, whatever it is written in. A panic in a handler is an error of the cell.
    pub fn execute(&mut self, code: &str, context: &CellContext) -> CellResult {
        let result = catch_unwind(AssertUnwindSafe(|| cells::execute(self, code, context)))
            .unwrap_or_else(|panic| Err(panic_error(panic.as_ref())));
        self.last_error = result.as_ref().err().cloned();
        result
    }

    /// What could stand at `cursor`, a byte offset.
    pub fn complete(&self, code: &str, cursor: usize) -> Completions {
        cells::complete(self, code, cursor)
    }

    /// What is known about the word at `cursor`, a byte offset.
    pub fn inspect(&self, code: &str, cursor: usize) -> Option<MimeBundle> {
        cells::inspect(self, code, cursor)
    }

    /// Whether the cell can run as typed.
    pub fn is_complete(&self, code: &str) -> Completeness {
        cells::is_complete(self, code)
    }
}

/// A memory file that cannot be opened must not keep the notebook from working.
fn open_memory(options: &SessionOptions) -> Result<Memory, MemoryError> {
    let of_project = |path: PathBuf| MemoryOptions {
        project: Some(Project::of(&options.workspace)),
        redactor: Redactor::with_environment().with_personal_data(hides_personal_data()),
        ..MemoryOptions::new(path)
    };
    let Some(folder) = &options.data_folder else { return Memory::in_memory_with(of_project(PathBuf::new())) };
    Memory::open_with(of_project(folder.join(MEMORY))).or_else(|error| {
        tracing::warn!("memory lasts for this session only: {error}");
        let memory = Memory::in_memory_with(of_project(PathBuf::new()))?;
        memory.notice(format!("memory lasts for this session only: {error}"));
        Ok(memory)
    })
}

/// Sealed as memory is; where memory's key is missing, nothing is kept.
fn history(folder: &Path, memory: &Memory) -> History {
    let has_no_key = memory.mode() == Mode::InMemory && Memory::is_encrypted(&folder.join(MEMORY));
    if has_no_key { History::in_memory() } else { History::open(folder, memory.vault(), memory.redactor()) }
}

/// Whether e-mail addresses, telephone, account and card numbers are blanked out too before anything is kept
/// or sent: `CODRIVER_HIDE_PERSONAL_DATA=1`.
pub(crate) fn hides_personal_data() -> bool {
    std::env::var("CODRIVER_HIDE_PERSONAL_DATA").is_ok_and(|value| matches!(value.trim(), "1" | "true" | "yes"))
}

/// Once a day, at a quiet moment, and only while the session lives.
fn back_up_later(memory: &Arc<Memory>) {
    const QUIET: Duration = Duration::from_secs(90);
    let memory = Arc::downgrade(memory);
    let work = move || {
        thread::sleep(QUIET);
        if let Some(Err(error)) = memory.upgrade().map(|memory| memory.back_up_if_due()) {
            tracing::warn!("memory was not backed up: {error}");
        }
    };
    if let Err(error) = thread::Builder::new().name("codriver-backup".to_owned()).spawn(work) {
        tracing::warn!("memory is not backed up: {error}");
    }
}

fn panic_error(panic: &(dyn Any + Send)) -> CellError {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    CellError::new("KernelPanic", format!("a bug in Codriver stopped this cell, the session goes on: {message}"))
}
