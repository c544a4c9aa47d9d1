//! Runs statements and reads their rows as DuckDB prints them.

use duckdb::Connection;
use duckdb::types::Value;

use super::error::cell_error;
use super::lexer::Statement;
use super::{Frame, FrameColumn};
use crate::languages::CellError;

/// Lines put before the user's text by [`as_query`].
const WRAPPED: usize = 1;

/// Whether a statement's first word promises rows.
pub fn returns_rows(statement: &Statement) -> bool {
    is_query(statement) || matches!(statement.keyword.as_str(), "explain" | "pragma" | "call")
}

fn is_query(statement: &Statement) -> bool {
    matches!(
        statement.keyword.as_str(),
        "select"
            | "with"
            | "from"
            | "values"
            | "table"
            | "("
            | "describe"
            | "desc"
            | "show"
            | "summarize"
            | "pivot"
            | "unpivot"
    )
}

/// Runs a statement for its effect and returns how many rows it changed.
pub fn execute(connection: &Connection, cell: &str, statement: &Statement) -> Result<usize, CellError> {
    connection.execute(&statement.padded(cell), []).map_err(|error| cell_error(&error, cell, 0))
}

/// Runs a query once, counts its rows and reads the first `limit` of them.
pub fn fetch(connection: &Connection, cell: &str, statement: &Statement, limit: usize) -> Result<Frame, CellError> {
    if !is_query(statement) {
        return fetch_as_is(connection, cell, statement, limit);
    }
    let sql = as_query(cell, statement);
    let columns = match describe(connection, &sql) {
        Ok(columns) => columns,
        // `WITH ... INSERT`, and whatever else cannot be described.
        Err(_) if statement.keyword == "with" => {
            return fetch_as_is(connection, cell, statement, limit);
        }
        Err(error) => return Err(cell_error(&error, cell, WRAPPED)),
    };
    let counted = format!(
        "WITH __codriver_result AS MATERIALIZED ({sql}) \
         SELECT (SELECT count(*) FROM __codriver_result), COLUMNS(*)::VARCHAR FROM __codriver_result LIMIT {}",
        limit.max(1)
    );
    read_counted(connection, &counted, columns, limit).map_err(|error| cell_error(&error, cell, WRAPPED))
}

/// Keeps a query's result as table `name` and reads it back.
pub fn keep(
    connection: &Connection,
    cell: &str,
    statement: &Statement,
    name: &str,
    limit: usize,
) -> Result<Frame, CellError> {
    if !is_query(statement) {
        return Err(CellError::new(
            "SqlError",
            "-o keeps the result of a query, but the cell's last statement is not one",
        ));
    }
    let sql = as_query(cell, statement);
    connection
        .execute_batch(&format!("CREATE OR REPLACE TABLE {} AS ({sql})", quote(name)))
        .map_err(|error| cell_error(&error, cell, WRAPPED))?;
    table(connection, name, limit)
}

/// The first `limit` rows of a table or view.
pub fn table(connection: &Connection, name: &str, limit: usize) -> Result<Frame, CellError> {
    let sql = format!("FROM {}", quote(name));
    let statement = Statement { start: 0, end: sql.len(), keyword: "from".to_owned(), terminated: true };
    fetch(connection, &sql, &statement, limit)
}

pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The statement's text on lines of its own, as something that can stand where a query does.
fn as_query(cell: &str, statement: &Statement) -> String {
    let sql = statement.padded(cell);
    match statement.keyword.as_str() {
        "describe" | "desc" | "show" | "summarize" => format!("FROM (\n{sql}\n)"),
        _ => format!("\n{sql}\n"),
    }
}

fn describe(connection: &Connection, sql: &str) -> duckdb::Result<Vec<FrameColumn>> {
    let mut statement = connection.prepare(&format!("DESCRIBE {sql}"))?;
    let columns = statement.query_map([], |row| Ok(FrameColumn { name: row.get(0)?, data_type: row.get(1)? }))?;
    columns.collect()
}

fn read_counted(connection: &Connection, sql: &str, columns: Vec<FrameColumn>, limit: usize) -> duckdb::Result<Frame> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut frame = Frame { columns, rows: Vec::new(), total_rows: 0 };
    while let Some(row) = rows.next()? {
        frame.total_rows = usize::try_from(row.get::<_, i64>(0)?).unwrap_or_default();
        if frame.rows.len() < limit {
            let cells = (1..=frame.columns.len()).map(|index| row.get(index)).collect::<duckdb::Result<_>>()?;
            frame.rows.push(cells);
        }
    }
    Ok(frame)
}

/// For statements that cannot stand inside a query (`EXPLAIN`, `PRAGMA`, `CALL`).
fn fetch_as_is(connection: &Connection, cell: &str, statement: &Statement, limit: usize) -> Result<Frame, CellError> {
    read_as_is(connection, &statement.padded(cell), limit).map_err(|error| cell_error(&error, cell, 0))
}

fn read_as_is(connection: &Connection, sql: &str, limit: usize) -> duckdb::Result<Frame> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut frame = Frame::default();
    if let Some(statement) = rows.as_ref() {
        frame.columns = (statement.column_names().into_iter().enumerate())
            .map(|(index, name)| FrameColumn { name, data_type: type_name(&statement.column_type(index).to_string()) })
            .collect();
    }
    while let Some(row) = rows.next()? {
        frame.total_rows += 1;
        if frame.rows.len() < limit {
            let cells = (0..frame.columns.len())
                .map(|index| Ok(text(row.get::<_, Value>(index)?)))
                .collect::<duckdb::Result<_>>()?;
            frame.rows.push(cells);
        }
    }
    Ok(frame)
}

/// Arrow's name of the few types that `PRAGMA` and `EXPLAIN` return, as DuckDB's.
fn type_name(arrow: &str) -> String {
    match arrow {
        "Utf8" => "VARCHAR".to_owned(),
        "Int64" => "BIGINT".to_owned(),
        "Int32" => "INTEGER".to_owned(),
        "Boolean" => "BOOLEAN".to_owned(),
        "Float64" => "DOUBLE".to_owned(),
        other => other.to_uppercase(),
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Boolean(value) => Some(value.to_string()),
        Value::TinyInt(value) => Some(value.to_string()),
        Value::SmallInt(value) => Some(value.to_string()),
        Value::Int(value) => Some(value.to_string()),
        Value::BigInt(value) => Some(value.to_string()),
        Value::HugeInt(value) => Some(value.to_string()),
        Value::UTinyInt(value) => Some(value.to_string()),
        Value::USmallInt(value) => Some(value.to_string()),
        Value::UInt(value) => Some(value.to_string()),
        Value::UBigInt(value) => Some(value.to_string()),
        Value::Float(value) => Some(value.to_string()),
        Value::Double(value) => Some(value.to_string()),
        Value::Text(value) | Value::Enum(value) => Some(value),
        other => Some(format!("{other:?}")),
    }
}
