//! `sql`: queries over the session's tables.

use codriver_memory::Redactor;
use codriver_tools::{Effect, Tool, ToolContext, ToolDisplay, ToolError, ToolOutput, ToolSpecification};
use serde_json::{Value, json};

use super::{SessionParts, failed, text_argument};
use crate::agent::context::clean_to_cut;
use crate::languages::sql::Frame;
use crate::render::cards::one_line;

pub(super) const NAME: &str = "sql";

/// Rows fetched; all of them are counted.
const MOST_ROWS: usize = 200;
/// Rows a model reads.
const ROWS_FOR_MODEL: usize = 50;
const LONGEST_CELL: usize = 200;

pub(super) struct Sql {
    parts: SessionParts,
    specification: ToolSpecification,
}

impl Sql {
    pub(super) fn new(parts: &SessionParts) -> Self {
        Self {
            parts: parts.clone(),
            specification: ToolSpecification {
                name: NAME,
                description: "Runs one SQL query (DuckDB dialect) on the session's tables and returns its rows.",
                parameters: json!({
                    "type": "object",
                    "properties": { "query": { "type": "string", "description": "one SQL statement, usually a SELECT" } },
                    "required": ["query"],
                    "additionalProperties": false,
                }),
                effect: Effect::Read,
            },
        }
    }
}

impl Tool for Sql {
    fn specification(&self) -> &ToolSpecification {
        &self.specification
    }

    fn run(&self, arguments: &Value, _context: &ToolContext) -> Result<ToolOutput, ToolError> {
        query(&self.parts, arguments, true)
    }
}

/// Whether the statement is one that a person has to allow. Explaining it asks the guard
/// without running it.
pub(super) fn changes_something(parts: &SessionParts, arguments: &Value) -> bool {
    let explained = format!("EXPLAIN {}", text_argument(arguments, "query"));
    let refusal = parts.sql.query(&explained, true, 1, &parts.context.interrupt).err();
    refusal.is_some_and(|error| error.name == "SqlRefused" && error.value.contains("only SELECT"))
}

/// Runs a statement that a person has allowed.
pub(super) fn run_allowed(parts: &SessionParts, arguments: &Value) -> Result<ToolOutput, ToolError> {
    query(parts, arguments, false)
}

fn query(parts: &SessionParts, arguments: &Value, read_only: bool) -> Result<ToolOutput, ToolError> {
    let frame = parts
        .sql
        .query(text_argument(arguments, "query"), read_only, MOST_ROWS, &parts.context.interrupt)
        .map_err(|error| failed(&error))?;
    Ok(output(&frame, &parts.memory.redactor()))
}

/// A header, a row a line, cells between ` | `, and how many there are.
fn output(frame: &Frame, redactor: &Redactor) -> ToolOutput {
    let columns: Vec<String> = frame.columns.iter().map(|column| column.name.clone()).collect();
    let cell = |value: &Option<String>| value.clone().unwrap_or_else(|| "NULL".to_owned());
    let rows: Vec<Vec<String>> = frame.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let mut text = columns.join(" | ");
    for row in rows.iter().take(ROWS_FOR_MODEL) {
        let brief = |cell: &String| one_line(&clean_to_cut(cell, LONGEST_CELL, redactor), LONGEST_CELL);
        let cells: Vec<String> = row.iter().map(brief).collect();
        text.push('\n');
        text.push_str(&cells.join(" | "));
    }
    let shown = rows.len().min(ROWS_FOR_MODEL);
    let plural = if frame.total_rows == 1 { "" } else { "s" };
    text.push_str(&if shown < frame.total_rows {
        format!("\n({} rows, the first {shown} shown)", frame.total_rows)
    } else {
        format!("\n({} row{plural})", frame.total_rows)
    });
    ToolOutput { text, display: ToolDisplay::Table { columns, rows, total_rows: frame.total_rows } }
}
