//! `%%sql`: DuckDB in this process.

mod catalog;
mod complete;
mod error;
mod guard;
mod lexer;
mod memory;
mod progress;
mod run;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use codriver_inference::TableSchema;
use codriver_memory::Memory;
use duckdb::{Config, Connection, InterruptHandle};

use self::lexer::{Statement, statements};
use self::progress::Progress;
use super::{CellContext, CellError, CellOutcome, CellResult, Completeness, Completions};
use crate::render;
use crate::session::{Interrupt, InterruptGuard, MimeBundle};

/// Rows of a query's result as DuckDB prints them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    pub columns: Vec<FrameColumn>,
    /// The first rows, a cell each; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// How many rows the query returned, shown or not.
    pub total_rows: usize,
}

/// A column of a [`Frame`], with DuckDB's name of its type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FrameColumn {
    pub name: String,
    pub data_type: String,
}

/// What the `%%sql` line says about one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlOptions {
    /// Rows shown; all of them are counted.
    pub limit: usize,
    /// Keeps the last statement's result as a table of this name.
    pub output: Option<String>,
}

impl Default for SqlOptions {
    fn default() -> Self {
        Self { limit: 100, output: None }
    }
}

/// The session's database. Clones share it.
#[derive(Clone)]
pub struct SqlEngine(Arc<Inner>);

struct Inner {
    connection: Mutex<Connection>,
    interrupt: Arc<InterruptHandle>,
    /// Answers completion and inspection while a cell's query runs. It does not see what
    /// an open transaction did.
    aside: Mutex<Connection>,
}

impl SqlEngine {
    /// An in-memory database whose relative paths start at the current folder.
    pub fn open() -> Result<Self, CellError> {
        Self::connect().map_err(|error| error::cell_error(&error, "", 0))
    }

    /// The same, with relative paths starting at `workspace`.
    pub fn open_in(workspace: &Path) -> Result<Self, CellError> {
        let engine = Self::open()?;
        if std::env::current_dir().ok().as_deref() != Some(workspace) {
            let path = workspace.to_string_lossy().replace('\'', "''");
            engine
                .connection()
                .execute_batch(&format!("SET GLOBAL file_search_path = '{path}'"))
                .map_err(|error| error::cell_error(&error, "", 0))?;
        }
        Ok(engine)
    }

    fn connect() -> duckdb::Result<Self> {
        let spill = std::env::temp_dir().join(format!("codriver-duckdb-{}", std::process::id()));
        let config = Config::default()
            .with("autoinstall_known_extensions", "false")?
            .with("autoload_known_extensions", "false")?
            .with("temp_directory", spill.to_string_lossy())?;
        let connection = Connection::open_in_memory_with_flags(config)?;
        let aside = connection.try_clone()?;
        // The first database is left to what is remembered; it is called `memory`.
        let session = memory::SESSION;
        connection.execute_batch(&format!("ATTACH ':memory:' AS {session}; USE {session}"))?;
        aside.execute_batch(&format!("USE {session}"))?;
        let interrupt = connection.interrupt_handle();
        Ok(Self(Arc::new(Inner { connection: Mutex::new(connection), interrupt, aside: Mutex::new(aside) })))
    }

    /// Shows what is remembered as views `memory.NAME` and `recall('text', k)`.
    pub fn attach_memory(&self, remembered: &Arc<Memory>) -> Result<(), CellError> {
        memory::attach(&self.connection(), remembered).map_err(|error| error::cell_error(&error, "", 0))
    }

    /// Runs a cell: every statement in turn. The outcome is the last statement's rows, or
    /// those of the last statement that has any.
    pub fn execute(&self, sql: &str, options: &SqlOptions, context: &CellContext) -> CellResult {
        let statements = statements(sql);
        if let Some(name) = &options.output {
            check_name(name)?;
        }
        let connection = self.connection();
        let _interrupt = self.stop_on(&context.interrupt);
        let _progress = Progress::start(&context.output);
        let shown = match options.output {
            Some(_) => statements.len().checked_sub(1),
            None => statements.iter().rposition(run::returns_rows),
        };
        let mut outcome = CellOutcome::default();
        for (index, statement) in statements.iter().enumerate() {
            if context.interrupt.is_set() {
                return Err(CellError::interrupted("the cell was stopped; statements before took effect"));
            }
            if Some(index) == shown {
                let frame = match &options.output {
                    Some(name) => run::keep(&connection, sql, statement, name, options.limit)?,
                    None => run::fetch(&connection, sql, statement, options.limit)?,
                };
                outcome.result = Some(show(&frame, statement));
            } else {
                let changed = run::execute(&connection, sql, statement)?;
                if shown.is_none() && index + 1 == statements.len() {
                    outcome.result = changed_rows(statement, changed);
                }
            }
        }
        Ok(outcome)
    }

    /// Runs one statement and returns its rows. With `read_only`, only what DuckDB itself
    /// parses as a query over the session's tables is run.
    pub fn query(&self, sql: &str, read_only: bool, limit: usize, interrupt: &Interrupt) -> Result<Frame, CellError> {
        let connection = self.connection();
        let _interrupt = self.stop_on(interrupt);
        let statement = if read_only {
            let tables = catalog::table_names(&connection).map_err(|error| error::cell_error(&error, sql, 0))?;
            guard::read_only(&connection, sql, &tables)?
        } else {
            match statements(sql).as_slice() {
                [statement] => statement.clone(),
                found => {
                    return Err(CellError::new("SqlError", format!("expected one statement, found {}", found.len())));
                }
            }
        };
        if run::returns_rows(&statement) {
            return run::fetch(&connection, sql, &statement, limit);
        }
        let changed = run::execute(&connection, sql, &statement)?;
        Ok(Frame { total_rows: changed, ..Frame::default() })
    }

    /// The rows of a kept frame, a table or a view.
    pub fn frame(&self, name: &str, limit: usize) -> Result<Frame, CellError> {
        run::table(&self.connection(), name, limit)
    }

    /// Tables and views of the session, with the values of low-cardinality text columns.
    pub fn schema(&self) -> Vec<TableSchema> {
        self.look_up(catalog::schema).unwrap_or_default()
    }

    /// Completions at `cursor` (a byte offset into `code`).
    pub fn complete(&self, code: &str, cursor: usize) -> Completions {
        let names = self.look_up(|connection| {
            Ok(complete::Names {
                tables: catalog::schema(connection)?,
                functions: catalog::function_names(connection)?,
                keywords: catalog::keywords(connection)?,
            })
        });
        match names {
            Some(names) => complete::complete(code, cursor, &names),
            None => Completions { start: cursor, end: cursor, matches: Vec::new() },
        }
    }

    /// What is known about a table, view or function.
    pub fn inspect(&self, word: &str) -> Option<MimeBundle> {
        self.look_up(|connection| catalog::inspect(connection, word)).flatten()
    }

    pub fn is_complete(&self, code: &str) -> Completeness {
        complete::is_complete(code, |sql| self.look_up(|connection| parse_error(connection, sql)).flatten())
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop_on(&self, interrupt: &Interrupt) -> InterruptGuard {
        let handle = Arc::clone(&self.0.interrupt);
        interrupt.on_interrupt(move || handle.interrupt())
    }

    /// Asks the database about itself without waiting for a running cell.
    fn look_up<T>(&self, question: impl Fn(&Connection) -> duckdb::Result<T>) -> Option<T> {
        let answer = match self.0.connection.try_lock() {
            Ok(connection) => question(&connection),
            Err(TryLockError::Poisoned(poisoned)) => question(&poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => question(&self.0.aside.lock().unwrap_or_else(PoisonError::into_inner)),
        };
        answer.inspect_err(|error| tracing::debug!(%error, "the catalog did not answer")).ok()
    }
}

fn check_name(name: &str) -> Result<(), CellError> {
    let starts_well = name.starts_with(|first: char| first.is_alphabetic() || first == '_');
    if starts_well && name.chars().all(|character| character.is_alphanumeric() || character == '_') {
        return Ok(());
    }
    Err(CellError::new("SqlError", format!("{name:?} is no name for a frame; use letters, digits and underscores")))
}

/// Plans read better as text than as a table of one wide cell.
fn show(frame: &Frame, statement: &Statement) -> MimeBundle {
    if statement.keyword == "explain" {
        let plan = frame.rows.iter().filter_map(|row| row.last()?.as_deref());
        return MimeBundle::plain(plan.collect::<Vec<_>>().join("\n"));
    }
    render::table::frame(frame)
}

fn changed_rows(statement: &Statement, changed: usize) -> Option<MimeBundle> {
    let verb = match statement.keyword.as_str() {
        "insert" => "inserted",
        "update" => "updated",
        "delete" => "deleted",
        "merge" => "merged",
        "copy" => "copied",
        _ => return None,
    };
    let rows = if changed == 1 { "row" } else { "rows" };
    Some(MimeBundle::plain(format!("{} {rows} {verb}", render::table::grouped(changed))))
}

/// The parser's complaint about a statement, if it has one.
fn parse_error(connection: &Connection, sql: &str) -> duckdb::Result<Option<String>> {
    connection.query_row(
        "SELECT CASE WHEN tree->>'error_type' = 'parser' THEN tree->>'error_message' END \
         FROM (SELECT json_serialize_sql(?::VARCHAR) AS tree)",
        [sql],
        |row| row.get(0),
    )
}
