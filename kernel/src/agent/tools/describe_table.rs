//! `describe_table`: columns, types and values of one table.

use codriver_inference::TableSchema;
use codriver_tools::{Effect, Tool, ToolContext, ToolDisplay, ToolError, ToolOutput, ToolSpecification, nearest};
use serde_json::{Value, json};

use super::{SessionParts, failed, text_argument};

const MOST_VALUES: usize = 12;

pub(super) struct DescribeTable {
    parts: SessionParts,
    specification: ToolSpecification,
}

impl DescribeTable {
    pub(super) fn new(parts: &SessionParts) -> Self {
        Self {
            parts: parts.clone(),
            specification: ToolSpecification {
                name: "describe_table",
                description: "Shows a table's columns with their types and values, and how many rows it has.",
                parameters: json!({
                    "type": "object",
                    "properties": { "table": { "type": "string", "description": "the table's name" } },
                    "required": ["table"],
                    "additionalProperties": false,
                }),
                effect: Effect::Read,
            },
        }
    }
}

impl Tool for DescribeTable {
    fn specification(&self) -> &ToolSpecification {
        &self.specification
    }

    fn run(&self, arguments: &Value, _context: &ToolContext) -> Result<ToolOutput, ToolError> {
        let name = text_argument(arguments, "table").trim().trim_matches('"');
        let tables = self.parts.sql.schema();
        let table =
            tables.iter().find(|table| table.name.eq_ignore_ascii_case(name)).ok_or_else(|| unknown(name, &tables))?;
        let count = format!("SELECT count(*) FROM \"{}\"", table.name.replace('"', "\"\""));
        let counted =
            self.parts.sql.query(&count, true, 1, &self.parts.context.interrupt).map_err(|error| failed(&error))?;
        let rows = counted.rows.first().and_then(|row| row.first().cloned().flatten()).unwrap_or_default();
        Ok(output(table, &rows))
    }
}

fn unknown(name: &str, tables: &[TableSchema]) -> ToolError {
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let hint = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None if names.is_empty() => "the session has no tables yet".to_owned(),
        None => format!("there are: {}", names.join(", ")),
    };
    ToolError::Failed(format!("there is no table {name:?}; {hint}"))
}

fn output(table: &TableSchema, row_count: &str) -> ToolOutput {
    let mut rows = Vec::new();
    for column in &table.columns {
        let mut values = column.values.iter().take(MOST_VALUES).cloned().collect::<Vec<_>>().join(", ");
        if column.values.len() > MOST_VALUES {
            values.push_str(", …");
        }
        rows.push(vec![column.name.clone(), column.data_type.clone(), values]);
    }
    let columns = ["column", "type", "values"].map(str::to_owned).to_vec();
    let mut text = columns.join(" | ");
    for row in &rows {
        text.push('\n');
        text.push_str(row.join(" | ").trim_end_matches([' ', '|']));
    }
    text.push_str(&format!("\n({} columns; the table {} has {row_count} rows)", rows.len(), table.name));
    ToolOutput { text, display: ToolDisplay::Table { columns, total_rows: rows.len(), rows } }
}
