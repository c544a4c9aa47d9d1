//! What exists in the database: tables, columns, functions.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use codriver_inference::{ColumnSchema, TableSchema};
use duckdb::Connection;

use super::run::quote;
use crate::session::MimeBundle;

/// A text column with more distinct values than this is not listed by value.
const MOST_VALUES: usize = 50;
/// Rows looked at for distinct values.
const ROWS_SAMPLED: usize = 200_000;
/// Time spent on distinct values in one call.
const TIME_FOR_VALUES: Duration = Duration::from_millis(800);

/// Tables and views that the user made. Names outside the main schema are qualified.
pub fn schema(connection: &Connection) -> duckdb::Result<Vec<TableSchema>> {
    let mut statement = connection.prepare(
        "SELECT CASE WHEN schema_name = current_schema() AND database_name IN (current_database(), 'temp') THEN table_name
                     WHEN database_name = current_database() THEN schema_name || '.' || table_name
                     WHEN database_name = 'temp' THEN table_name
                     ELSE database_name || '.' || schema_name || '.' || table_name END,
                column_name, data_type,
                database_name || '.' || schema_name || '.' || table_name IN
                  (SELECT database_name || '.' || schema_name || '.' || table_name FROM duckdb_tables())
         FROM duckdb_columns() WHERE NOT internal AND database_name <> 'memory' ORDER BY database_name, schema_name, table_name, column_index",
    )?;
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?, row.get::<_, bool>(3)?))
    })?;
    let deadline = Instant::now() + TIME_FOR_VALUES;
    let mut tables: Vec<TableSchema> = Vec::new();
    for row in rows {
        let (table, name, data_type, is_table) = row?;
        let wants_values =
            is_table && (data_type == "VARCHAR" || data_type.starts_with("ENUM")) && Instant::now() < deadline;
        let values = if wants_values { distinct_values(connection, &table, &name)? } else { Vec::new() };
        let column = ColumnSchema { name, data_type, values };
        match tables.last_mut() {
            Some(last) if last.name == table => last.columns.push(column),
            _ => tables.push(TableSchema { name: table, columns: vec![column] }),
        }
    }
    Ok(tables)
}

/// Names of tables and views in lower case, system ones included.
pub fn table_names(connection: &Connection) -> duckdb::Result<BTreeSet<String>> {
    let mut statement = connection.prepare(
        "SELECT lower(table_name) FROM duckdb_tables() UNION
         SELECT lower(view_name) FROM duckdb_views() WHERE database_name <> 'memory'",
    )?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

/// Every function's name, operators left out.
pub fn function_names(connection: &Connection) -> duckdb::Result<Vec<String>> {
    strings(
        connection,
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE regexp_full_match(function_name, '[a-z][a-z0-9_]*') ORDER BY 1",
    )
}

pub fn keywords(connection: &Connection) -> duckdb::Result<Vec<String>> {
    strings(connection, "SELECT DISTINCT upper(keyword_name) FROM duckdb_keywords() ORDER BY 1")
}

/// Columns and size of a table or view, or a function's signatures.
pub fn inspect(connection: &Connection, word: &str) -> duckdb::Result<Option<MimeBundle>> {
    let word = word.trim_matches('"');
    if let Some(table) = schema(connection)?.into_iter().find(|table| table.name.eq_ignore_ascii_case(word)) {
        return Ok(Some(describe_table(&table)));
    }
    let mut statement = connection.prepare(
        "SELECT DISTINCT function_name || '(' || coalesce(array_to_string(list_transform(list_zip(parameters, parameter_types),
                    lambda pair: coalesce(pair[1], 'value') || ' ' || coalesce(pair[2], 'ANY')), ', '), '') || ')'
                || coalesce(' -> ' || return_type, ''),
                coalesce(description, ''), coalesce(array_to_string(examples, chr(10)), '')
         FROM duckdb_functions() WHERE function_name = lower(?) ORDER BY 1 LIMIT 20",
    )?;
    let rows = statement
        .query_map([word], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?)))?;
    let signatures = rows.collect::<duckdb::Result<Vec<_>>>()?;
    let Some((_, description, examples)) =
        signatures.iter().find(|(_, description, _)| !description.is_empty()).or(signatures.first())
    else {
        return Ok(None);
    };
    let mut text: String = signatures.iter().map(|(signature, _, _)| format!("{signature}\n")).collect();
    for part in [description, examples] {
        if !part.is_empty() {
            text.push_str(&format!("\n{part}\n"));
        }
    }
    Ok(Some(MimeBundle::plain(text)))
}

fn describe_table(table: &TableSchema) -> MimeBundle {
    let width = table.columns.iter().map(|column| column.name.len()).max().unwrap_or(0);
    let mut text = format!("{}\n", table.name);
    for column in &table.columns {
        text.push_str(&format!("  {:width$}  {}", column.name, column.data_type));
        if !column.values.is_empty() {
            let shown: Vec<&str> = column.values.iter().take(8).map(String::as_str).collect();
            let more = if column.values.len() > shown.len() { ", ..." } else { "" };
            text.push_str(&format!("  ({}{more})", shown.join(", ")));
        }
        text.push('\n');
    }
    MimeBundle::plain(text)
}

fn distinct_values(connection: &Connection, table: &str, column: &str) -> duckdb::Result<Vec<String>> {
    let table = table.split('.').map(quote).collect::<Vec<_>>().join(".");
    let column = quote(column);
    let values = strings(
        connection,
        &format!(
            "SELECT DISTINCT {column}::VARCHAR AS value FROM (SELECT {column} FROM {table} LIMIT {ROWS_SAMPLED}) \
             WHERE {column} IS NOT NULL LIMIT {}",
            MOST_VALUES + 1
        ),
    )?;
    if values.len() > MOST_VALUES {
        return Ok(Vec::new());
    }
    let mut values = values;
    values.sort();
    Ok(values)
}

fn strings(connection: &Connection, sql: &str) -> duckdb::Result<Vec<String>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    rows.collect()
}
