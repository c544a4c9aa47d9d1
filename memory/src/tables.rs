//! Memory's tables row by row, opened where they are sealed: what SQL and statistics are made of.

use std::borrow::Cow;

use duckdb::Row;

use crate::error::MemoryError;
use crate::memory::Memory;
use crate::store::Store;

/// A table as queries see it.
#[derive(Debug)]
pub struct MemoryTable {
    pub name: &'static str,
    pub description: &'static str,
    pub columns: &'static [MemoryColumn],
    /// Of a row, as it is sealed.
    key: &'static str,
    /// Which rows belong to the project at hand; `?` is its key.
    of_project: &'static str,
}

#[derive(Debug)]
pub struct MemoryColumn {
    pub name: &'static str,
    pub kind: CellKind,
    /// In the database.
    expression: &'static str,
    is_sealed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellKind {
    Text,
    Integer,
    Real,
    Boolean,
    /// Microseconds since 1970, UTC.
    Time,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Text(String),
    Integer(i64),
    Real(f64),
    Boolean(bool),
    Time(i64),
}

/// Some rows of a table, in the order in which they were written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TablePage {
    pub rows: Vec<Vec<Cell>>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<i64>,
}

/// Whose rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Of the project at hand, and what holds everywhere.
    ThisProject,
    /// All: for figures that tell nothing of what was said.
    Everyone,
}

const fn plain(name: &'static str, kind: CellKind) -> MemoryColumn {
    MemoryColumn { name, kind, expression: name, is_sealed: false }
}

const fn sealed(name: &'static str) -> MemoryColumn {
    MemoryColumn { name, kind: CellKind::Text, expression: name, is_sealed: true }
}

const fn time(name: &'static str) -> MemoryColumn {
    plain(name, CellKind::Time)
}

const OF_CONVERSATION: &str = "conversation IN (SELECT id FROM conversations WHERE project = ?)";
const OF_PLACE: &str = "project IN ('', ?)";

/// All of them; the names are those of the views `memory.NAME`.
pub const TABLES: &[MemoryTable] = &[
    MemoryTable {
        name: "conversations",
        description: "one agent's talk in one notebook's run",
        columns: &[
            plain("id", CellKind::Text),
            plain("agent", CellKind::Text),
            sealed("notebook"),
            time("started_at"),
            time("reset_at"),
        ],
        key: "id",
        of_project: "project = ?",
    },
    MemoryTable {
        name: "turns",
        description: "one request and its answer",
        columns: &[
            plain("id", CellKind::Text),
            plain("conversation", CellKind::Text),
            plain("sequence", CellKind::Integer),
            sealed("request"),
            sealed("answer"),
            plain("model", CellKind::Text),
            sealed("prompt"),
            plain("prompt_tokens", CellKind::Integer),
            plain("completion_tokens", CellKind::Integer),
            plain("milliseconds", CellKind::Integer),
            time("created_at"),
        ],
        key: "id",
        of_project: OF_CONVERSATION,
    },
    MemoryTable {
        name: "messages",
        description: "everything said in a turn: requests, calls, results, answers",
        columns: &[
            plain("turn", CellKind::Text),
            plain("conversation", CellKind::Text),
            plain("sequence", CellKind::Integer),
            plain("position", CellKind::Integer),
            plain("role", CellKind::Text),
            sealed("content"),
            time("created_at"),
        ],
        key: "turn || '#' || position",
        of_project: OF_CONVERSATION,
    },
    MemoryTable {
        name: "tool_runs",
        description: "what tools did, and by whose leave",
        columns: &[
            plain("id", CellKind::Text),
            plain("conversation", CellKind::Text),
            plain("tool", CellKind::Text),
            sealed("arguments"),
            plain("policy", CellKind::Text),
            plain("status", CellKind::Text),
            sealed("result"),
            plain("milliseconds", CellKind::Integer),
            time("started_at"),
        ],
        key: "id",
        of_project: OF_CONVERSATION,
    },
    MemoryTable {
        name: "context_items",
        description: "what went before a model in each turn, and what was left out",
        columns: &[
            plain("turn", CellKind::Text),
            plain("position", CellKind::Integer),
            plain("kind", CellKind::Text),
            sealed("origin"),
            sealed("title"),
            sealed("text"),
            plain("score", CellKind::Real),
            plain("tokens", CellKind::Integer),
            plain("dropped", CellKind::Text),
        ],
        key: "turn || '#' || position",
        of_project: "turn IN (SELECT t.id FROM turns t JOIN conversations c ON c.id = t.conversation WHERE c.project = ?)",
    },
    MemoryTable {
        name: "facts",
        description: "what is remembered, with what it replaced",
        columns: &[
            plain("id", CellKind::Text),
            sealed("text"),
            plain("scope", CellKind::Text),
            plain("kind", CellKind::Text),
            sealed("source"),
            sealed("reason"),
            plain("importance", CellKind::Real),
            plain("pinned", CellKind::Boolean),
            plain("turn", CellKind::Text),
            time("created_at"),
            time("confirmed_at"),
            time("valid_until"),
            plain("superseded_by", CellKind::Text),
        ],
        key: "id",
        of_project: OF_PLACE,
    },
    MemoryTable {
        name: "chunks",
        description: "pieces of documents",
        columns: &[
            MemoryColumn { name: "document", kind: CellKind::Text, expression: "name", is_sealed: true },
            plain("position", CellKind::Integer),
            sealed("title"),
            sealed("text"),
            plain("scope", CellKind::Text),
            time("created_at"),
        ],
        key: "document || '#' || position",
        of_project: OF_PLACE,
    },
    MemoryTable {
        name: "model_calls",
        description: "what models were asked beside turns: to find facts, ...",
        columns: &[
            plain("conversation", CellKind::Text),
            plain("turn", CellKind::Text),
            plain("model", CellKind::Text),
            plain("purpose", CellKind::Text),
            plain("prompt_tokens", CellKind::Integer),
            plain("completion_tokens", CellKind::Integer),
            plain("milliseconds", CellKind::Integer),
            time("called_at"),
        ],
        key: "id",
        of_project: OF_CONVERSATION,
    },
    MemoryTable {
        name: "sent",
        description: "what left the machine",
        columns: &[
            plain("conversation", CellKind::Text),
            plain("destination", CellKind::Text),
            plain("model", CellKind::Text),
            plain("purpose", CellKind::Text),
            plain("bytes", CellKind::Integer),
            plain("prompt_tokens", CellKind::Integer),
            plain("completion_tokens", CellKind::Integer),
            plain("rows", CellKind::Integer),
            sealed("columns"),
            time("sent_at"),
        ],
        key: "id",
        of_project: OF_CONVERSATION,
    },
];

impl Memory {
    /// The rows of one of [`TABLES`] from `from` on, `limit` at most; those of the session's facts and
    /// documents are not in a table. An unknown table has no rows.
    pub fn table_rows(&self, table: &str, whose: Whose, from: i64, limit: usize) -> Result<TablePage, MemoryError> {
        let Some(table) = TABLES.iter().find(|known| known.name == table) else { return Ok(TablePage::default()) };
        let mut state = self.state();
        state.refresh();
        let project = state.project.clone();
        let mut page =
            state.store.table_rows(table, (whose == Whose::ThisProject).then_some(project.as_str()), from, limit)?;
        for cell in page.rows.iter_mut().flatten() {
            if let Cell::Text(text) = cell
                && let Cow::Owned(clear) = state.veil.lifted(text)
            {
                *text = clear;
            }
        }
        Ok(page)
    }
}

impl Store {
    fn table_rows(
        &self,
        table: &MemoryTable,
        project: Option<&str>,
        from: i64,
        limit: usize,
    ) -> Result<TablePage, MemoryError> {
        let columns: Vec<String> = table.columns.iter().map(MemoryColumn::selected).collect();
        let condition = project.map_or_else(String::new, |_| format!(" AND {}", table.of_project));
        let sql = format!(
            "SELECT rowid, {}, {} FROM {} WHERE rowid >= {from}{condition} ORDER BY rowid LIMIT {limit}",
            table.key,
            columns.join(", "),
            table.name
        );
        let values: Vec<&dyn duckdb::ToSql> = project.iter().map(|key| key as &dyn duckdb::ToSql).collect();
        let mut last = None;
        let rows = self.rows(&sql, &values, |row| {
            last = Some(row.get::<_, i64>(0)?);
            let key: String = row.get(1)?;
            let cells = table.columns.iter().enumerate();
            cells
                .map(|(index, column)| self.cell(table, column, &key, row, index + 2))
                .collect::<duckdb::Result<Vec<_>>>()
        })?;
        let next = last.filter(|_| rows.len() == limit).map(|last| last + 1);
        Ok(TablePage { rows, next })
    }

    fn cell(
        &self,
        table: &MemoryTable,
        column: &MemoryColumn,
        key: &str,
        row: &Row<'_>,
        index: usize,
    ) -> duckdb::Result<Cell> {
        Ok(match column.kind {
            CellKind::Text => match row.get::<_, Option<String>>(index)? {
                Some(text) if column.is_sealed => {
                    let place = format!("{}.{}", table.name, column.expression);
                    Cell::Text(self.vault().open_text(&place, key, text)?)
                }
                text => text.map_or(Cell::Null, Cell::Text),
            },
            CellKind::Integer => row.get::<_, Option<i64>>(index)?.map_or(Cell::Null, Cell::Integer),
            CellKind::Real => row.get::<_, Option<f64>>(index)?.map_or(Cell::Null, Cell::Real),
            CellKind::Boolean => row.get::<_, Option<bool>>(index)?.map_or(Cell::Null, Cell::Boolean),
            CellKind::Time => row.get::<_, Option<i64>>(index)?.map_or(Cell::Null, Cell::Time),
        })
    }
}

impl MemoryColumn {
    fn selected(&self) -> String {
        match self.kind {
            CellKind::Time => format!("epoch_us({})", self.expression),
            CellKind::Real => format!("{}::DOUBLE", self.expression),
            _ => self.expression.to_owned(),
        }
    }
}
