//! What an agent's query may be, decided on DuckDB's own parse of it.

use std::collections::BTreeSet;

use duckdb::Connection;
use serde_json::Value;

use super::lexer::{Statement, statements, tokens};
use crate::languages::CellError;

/// Table functions that read nothing outside the session.
const SAFE_TABLE_FUNCTIONS: &[&str] = &[
    "range",
    "generate_series",
    "unnest",
    "repeat",
    "repeat_row",
    "summary",
    "duckdb_tables",
    "duckdb_views",
    "duckdb_columns",
    "duckdb_types",
    "duckdb_functions",
    "duckdb_keywords",
    "duckdb_constraints",
    "pragma_table_info",
    "json_each",
    "json_tree",
];

/// Scalar functions that change something, reach outside or run text as a query.
const UNSAFE_FUNCTIONS: &[&str] = &[
    "nextval",
    "setseed",
    "getenv",
    "write_log",
    "read_text",
    "read_blob",
    "glob",
    "query",
    "query_table",
    "json_execute_serialized_sql",
];

/// System tables that exist in every session.
const SYSTEM_SCHEMAS: &[&str] = &["information_schema", "pg_catalog"];

/// Checks that `sql` is one `SELECT` (or `DESCRIBE`, `SHOW`, `SUMMARIZE`, `EXPLAIN` of
/// one) over tables that exist, and returns it.
pub fn read_only(connection: &Connection, sql: &str, tables: &BTreeSet<String>) -> Result<Statement, CellError> {
    let mut found = statements(sql);
    let statement = match (found.pop(), found.is_empty()) {
        (Some(statement), true) => statement,
        (None, _) => return Err(refused("the query is empty")),
        (Some(_), false) => return Err(refused("one statement at a time")),
    };
    let checked = without_explain(&sql[statement.start..statement.end]);
    let tree = parse(connection, checked)?;
    let mut names: BTreeSet<String> = tables.clone();
    common_table_expressions(&tree, &mut names);
    check(&tree, &names)?;
    Ok(statement)
}

/// DuckDB's syntax tree of a query. A statement that is not a query has none.
fn parse(connection: &Connection, sql: &str) -> Result<Value, CellError> {
    let text: String = connection
        .query_row("SELECT json_serialize_sql(?::VARCHAR)::VARCHAR", [sql], |row| row.get(0))
        .map_err(|error| super::error::cell_error(&error, sql, 0))?;
    let tree: Value =
        serde_json::from_str(&text).map_err(|error| refused(&format!("DuckDB's parse is unreadable ({error})")))?;
    if tree["error"] == Value::Bool(true) {
        let message = tree["error_message"].as_str().unwrap_or("it does not parse");
        return Err(match tree["error_type"].as_str() {
            Some("not implemented") => refused("only SELECT, DESCRIBE, SHOW, SUMMARIZE and EXPLAIN are allowed"),
            _ => CellError::new("SqlError", format!("Parser Error: {message}")),
        });
    }
    Ok(tree)
}

fn check(node: &Value, names: &BTreeSet<String>) -> Result<(), CellError> {
    match node {
        Value::Array(items) => items.iter().try_for_each(|item| check(item, names)),
        Value::Object(fields) => {
            match fields.get("type").and_then(Value::as_str) {
                Some("BASE_TABLE") => check_table(node, names)?,
                Some("TABLE_FUNCTION") => check_table_function(node)?,
                Some("FUNCTION") => check_function(node)?,
                Some("SHOW_REF") => check_show(node, names)?,
                _ => {}
            }
            // A table function's own call was judged above; its arguments were not.
            fields.iter().try_for_each(|(key, value)| match key.as_str() {
                "function" => check(&value["arguments"], names).and_then(|()| check(&value["children"], names)),
                _ => check(value, names),
            })
        }
        _ => Ok(()),
    }
}

fn check_table(node: &Value, names: &BTreeSet<String>) -> Result<(), CellError> {
    let name = node["table_name"].as_str().unwrap_or_default().to_lowercase();
    let schema = node["schema_name"].as_str().unwrap_or_default().to_lowercase();
    let catalog = node["catalog_name"].as_str().unwrap_or_default();
    if schema == super::memory::CATALOG || catalog.eq_ignore_ascii_case(super::memory::CATALOG) {
        return Err(refused("what is remembered is asked with the tool recall"));
    }
    if SYSTEM_SCHEMAS.contains(&schema.as_str()) || names.contains(&name) {
        return Ok(());
    }
    Err(refused(&format!("there is no table {name:?}; files cannot be read")))
}

fn check_table_function(node: &Value) -> Result<(), CellError> {
    let name = node["function"]["function_name"].as_str().unwrap_or_default().to_lowercase();
    if SAFE_TABLE_FUNCTIONS.contains(&name.as_str()) {
        return Ok(());
    }
    Err(refused(&format!("the table function {name} is not allowed")))
}

fn check_function(node: &Value) -> Result<(), CellError> {
    let name = node["function_name"].as_str().unwrap_or_default().to_lowercase();
    if UNSAFE_FUNCTIONS.contains(&name.as_str()) {
        return Err(refused(&format!("the function {name} is not allowed")));
    }
    Ok(())
}

fn check_show(node: &Value, names: &BTreeSet<String>) -> Result<(), CellError> {
    let shown = node["table_name"].as_str().unwrap_or_default().trim_matches('"').to_lowercase();
    let special = ["", "tables", "databases", "schemas", "variables", "__show_tables_expanded"];
    if special.contains(&shown.as_str()) || names.contains(&shown) {
        return Ok(());
    }
    Err(refused(&format!("there is no table {shown:?}")))
}

fn common_table_expressions(node: &Value, names: &mut BTreeSet<String>) {
    match node {
        Value::Array(items) => items.iter().for_each(|item| common_table_expressions(item, names)),
        Value::Object(fields) => {
            for entry in fields.get("cte_map").and_then(|map| map["map"].as_array()).into_iter().flatten() {
                // A name that could be a file's would hide a file read outside its scope.
                names.extend(entry["key"].as_str().filter(|name| is_plain(name)).map(str::to_lowercase));
            }
            fields.values().for_each(|value| common_table_expressions(value, names));
        }
        _ => {}
    }
}

fn is_plain(name: &str) -> bool {
    name.chars().all(|character| character.is_alphanumeric() || character == '_')
}

/// `sql` without `EXPLAIN [ANALYZE]`, which the serializer does not take.
fn without_explain(sql: &str) -> &str {
    let mut start = 0;
    for (expected, token) in ["explain", "analyze"].iter().zip(tokens(sql)) {
        if !token.text(sql).eq_ignore_ascii_case(expected) {
            break;
        }
        start = token.end;
    }
    &sql[start..]
}

fn refused(reason: &str) -> CellError {
    CellError::new("SqlRefused", format!("not a read-only query: {reason}"))
}
