//! What is remembered, as SQL sees it: read-only views `memory.turns`, `memory.facts`, ... and
//! `recall('text', k)`.
//!
//! Rows are read, and opened where memory is encrypted, in this process: nothing of memory's file is
//! attached. DuckDB calls back for rows of text; the views give them their types.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use codriver_memory::{Cell, CellKind, Memory, SearchOptions, TABLES, TablePage, Whose};
use duckdb::Connection;
use duckdb::core::{DataChunkHandle, Inserter, LogicalTypeHandle, LogicalTypeId};
use duckdb::vtab::{BindInfo, InitInfo, TableFunctionInfo, VTab, Value};

/// The database that holds the views: in-memory databases are called that.
pub(super) const CATALOG: &str = "memory";
/// The database in which a session's own tables live.
pub(super) const SESSION: &str = "session";

/// Rows asked of memory at once; DuckDB's own vectors hold as many.
const PAGE: usize = 2048;
/// What `recall` finds when it is not said.
const DEFAULT_HITS: usize = 10;
const MOST_HITS: usize = 1_000;

/// Memories by the number that stands in the views: functions in DuckDB are told no more than SQL says.
static MEMORIES: LazyLock<Mutex<BTreeMap<i64, Weak<Memory>>>> = LazyLock::new(Mutex::default);
static NEXT: AtomicI64 = AtomicI64::new(1);

/// Puts views and functions over `memory` into the connection's database.
pub(super) fn attach(connection: &Connection, memory: &Arc<Memory>) -> duckdb::Result<()> {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut memories = memories();
    memories.retain(|_, memory| memory.strong_count() > 0);
    memories.insert(number, Arc::downgrade(memory));
    drop(memories);
    connection.register_table_function::<TableRows>("codriver_memory")?;
    connection.register_table_function::<Recall>("codriver_recall")?;
    for table in TABLES {
        let columns: Vec<String> = table.columns.iter().map(|column| typed(column.name, column.kind)).collect();
        connection.execute_batch(&format!(
            "CREATE VIEW {CATALOG}.main.{name} AS SELECT {columns} FROM codriver_memory({number}, '{name}') AS stored;
             COMMENT ON VIEW {CATALOG}.main.{name} IS '{comment}';",
            name = table.name,
            columns = columns.join(", "),
            comment = table.description.replace('\'', "''"),
        ))?;
    }
    let columns: Vec<String> = HIT_COLUMNS.iter().map(|(name, kind)| typed(name, *kind)).collect();
    for catalog in [SESSION, CATALOG] {
        connection.execute_batch(&format!(
            "CREATE MACRO {catalog}.main.recall(query, k := {DEFAULT_HITS}, kind := '', origin := '', since := '', before := '') AS TABLE
             SELECT {} FROM codriver_recall({number}, query::VARCHAR, k::BIGINT, kind::VARCHAR, origin::VARCHAR, since::VARCHAR,
                 before::VARCHAR) AS stored",
            columns.join(", ")
        ))?;
    }
    Ok(())
}

/// A column of `stored`, named so that no parameter of a macro is meant.
fn typed(name: &str, kind: CellKind) -> String {
    let value = format!("stored.\"{name}\"");
    let typed = match kind {
        CellKind::Text => value,
        CellKind::Integer => format!("{value}::BIGINT"),
        CellKind::Real => format!("{value}::DOUBLE"),
        CellKind::Boolean => format!("{value}::BOOLEAN"),
        CellKind::Time => format!("make_timestamp({value}::BIGINT)"),
    };
    format!("{typed} AS \"{name}\"")
}

fn memories() -> MutexGuard<'static, BTreeMap<i64, Weak<Memory>>> {
    MEMORIES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn memory(number: i64) -> Result<Arc<Memory>, Box<dyn Error>> {
    let found = memories().get(&number).and_then(Weak::upgrade);
    found.ok_or_else(|| "the session that this view belongs to has ended".into())
}

/// The argument at this position; `None` for NULL, of which DuckDB's own conversions throw what Rust cannot catch.
fn argument(bind: &BindInfo, position: u64) -> Option<Value> {
    Some(bind.get_parameter(position)).filter(|value| !value.is_null())
}

/// Of the session that a function was registered for.
fn memory_of(bind: &BindInfo) -> Result<Arc<Memory>, Box<dyn Error>> {
    let number = argument(bind, 0).ok_or("which session's memory is meant was not said")?;
    memory(number.to_int64())
}

fn text() -> LogicalTypeHandle {
    LogicalTypeHandle::from(LogicalTypeId::Varchar)
}

fn number() -> LogicalTypeHandle {
    LogicalTypeHandle::from(LogicalTypeId::Bigint)
}

/// Writes rows of text; a NULL stays one.
fn write(rows: &[Vec<Option<String>>], output: &mut DataChunkHandle) {
    let columns = rows.first().map_or(0, Vec::len);
    for column in 0..columns {
        let mut vector = output.flat_vector(column);
        for (index, row) in rows.iter().enumerate() {
            match row.get(column).and_then(Option::as_deref) {
                Some(text) => vector.insert(index, text),
                None => vector.set_null(index),
            }
        }
    }
    output.set_len(rows.len());
}

fn plain(cell: Cell) -> Option<String> {
    match cell {
        Cell::Null => None,
        Cell::Text(text) => Some(text),
        Cell::Integer(number) | Cell::Time(number) => Some(number.to_string()),
        Cell::Real(number) => Some(number.to_string()),
        Cell::Boolean(yes) => Some(yes.to_string()),
    }
}

/// `codriver_memory(session, table)`: a table of memory, page by page.
struct TableRows;

struct Pages {
    memory: Arc<Memory>,
    table: String,
}

impl VTab for TableRows {
    /// Where the next page begins; `None` after the last one.
    type InitData = Mutex<Option<i64>>;
    type BindData = Pages;

    fn bind(bind: &BindInfo) -> Result<Self::BindData, Box<dyn Error>> {
        let memory = memory_of(bind)?;
        let name = argument(bind, 1).ok_or("which table of memory is meant was not said")?.to_string();
        let table =
            TABLES.iter().find(|table| table.name == name).ok_or_else(|| format!("memory has no table {name}"))?;
        table.columns.iter().for_each(|column| bind.add_result_column(column.name, text()));
        Ok(Pages { memory, table: name })
    }

    fn init(_: &InitInfo) -> Result<Self::InitData, Box<dyn Error>> {
        Ok(Mutex::new(Some(0)))
    }

    fn func(function: &TableFunctionInfo<Self>, output: &mut DataChunkHandle) -> Result<(), Box<dyn Error>> {
        let pages = function.get_bind_data();
        let mut next = function.get_init_data().lock().unwrap_or_else(PoisonError::into_inner);
        let page = match *next {
            Some(from) => pages.memory.table_rows(&pages.table, Whose::ThisProject, from, PAGE)?,
            None => TablePage::default(),
        };
        *next = page.next;
        let rows: Vec<Vec<Option<String>>> =
            page.rows.into_iter().map(|row| row.into_iter().map(plain).collect()).collect();
        write(&rows, output);
        Ok(())
    }

    fn parameters() -> Option<Vec<LogicalTypeHandle>> {
        Some(vec![number(), text()])
    }
}

const HIT_COLUMNS: [(&str, CellKind); 10] = [
    ("kind", CellKind::Text),
    ("text", CellKind::Text),
    ("title", CellKind::Text),
    ("origin", CellKind::Text),
    ("scope", CellKind::Text),
    ("score", CellKind::Real),
    ("meaning", CellKind::Real),
    ("words", CellKind::Real),
    ("reranker", CellKind::Real),
    ("id", CellKind::Text),
];

/// `codriver_recall(session, text, k, kind, origin, since, before)`: the best of all that is remembered and asked for.
struct Recall;

impl VTab for Recall {
    type InitData = Mutex<bool>;
    /// All rows: there are few.
    type BindData = Vec<Vec<Option<String>>>;

    fn bind(bind: &BindInfo) -> Result<Self::BindData, Box<dyn Error>> {
        HIT_COLUMNS.iter().for_each(|(name, _)| bind.add_result_column(name, text()));
        let memory = memory_of(bind)?;
        let query = argument(bind, 1).ok_or(
            "recall needs a text to look for, and was given NULL: recall('fiscal year'), or recall('fiscal year', 3)",
        )?;
        let hits = match argument(bind, 2).map(|wanted| wanted.to_int64()) {
            Some(wanted) => {
                usize::try_from(wanted).map_err(|_| format!("recall finds 0 to {MOST_HITS} things, not {wanted}"))?
            }
            None => DEFAULT_HITS,
        };
        // NULL asks for nothing, as if it was not said.
        let given = |position| argument(bind, position).map(|value| value.to_string()).unwrap_or_default();
        let options = SearchOptions::asked(&given(3), &given(4), &given(5), &given(6))?;
        let found = memory.search_with(&query.to_string(), hits.min(MOST_HITS), &options)?;
        let real = |value: f32| value.to_string();
        let row = |hit: codriver_memory::Hit| {
            vec![
                Some(hit.kind.to_owned()),
                Some(hit.text),
                (!hit.title.is_empty()).then_some(hit.title),
                Some(hit.origin),
                Some(hit.scope.to_string()),
                Some(real(hit.score)),
                hit.cosine.map(real),
                hit.bm25.map(real),
                hit.reranker.map(real),
                Some(hit.id),
            ]
        };
        Ok(found.into_iter().map(row).collect())
    }

    fn init(_: &InitInfo) -> Result<Self::InitData, Box<dyn Error>> {
        Ok(Mutex::new(false))
    }

    fn func(function: &TableFunctionInfo<Self>, output: &mut DataChunkHandle) -> Result<(), Box<dyn Error>> {
        let mut done = function.get_init_data().lock().unwrap_or_else(PoisonError::into_inner);
        let rows = if std::mem::replace(&mut *done, true) { &[][..] } else { function.get_bind_data().as_slice() };
        write(rows, output);
        Ok(())
    }

    fn parameters() -> Option<Vec<LogicalTypeHandle>> {
        Some(vec![number(), text(), number(), text(), text(), text(), text()])
    }
}
