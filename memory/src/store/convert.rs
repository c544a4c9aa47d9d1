//! All rows of one database in another, sealed with another key or with none.

use duckdb::types::Value;
use duckdb::{appender_params_from_iter, params};

use super::Store;
use super::apply::numbered;
use super::vectors::{opened, sealed};
use crate::error::MemoryError;
use crate::event::fingerprint;
use crate::vault::{Vault, VaultError};

/// A table, what names a row of it, and which of its columns are sealed.
struct Table {
    name: &'static str,
    row: RowName,
    sealed: &'static [&'static str],
}

/// What sealed columns of a row are bound to.
enum RowName {
    Column(&'static str),
    /// The column and the row's position.
    Numbered(&'static str),
}

use RowName::{Column, Numbered};

/// Every table with contents. What is not named here is plain: identifiers, times, counts, names of models and tools.
const TABLES: [Table; 14] = [
    Table { name: "projects", row: Column("key"), sealed: &["root"] },
    Table { name: "conversations", row: Column("id"), sealed: &["notebook"] },
    Table { name: "turns", row: Column("id"), sealed: &["request", "answer", "prompt"] },
    Table { name: "messages", row: Numbered("turn"), sealed: &["content", "json"] },
    Table { name: "context_items", row: Numbered("turn"), sealed: &["origin", "title", "text", "details"] },
    Table { name: "tool_runs", row: Column("id"), sealed: &["arguments", "result"] },
    Table { name: "facts", row: Column("id"), sealed: &["text", "source", "reason"] },
    Table { name: "chunks", row: Numbered("document"), sealed: &["title", "text", "name", "place"] },
    Table { name: "documents", row: Column("name"), sealed: &["record"] },
    Table { name: "notes", row: Column("id"), sealed: &["value"] },
    Table { name: "model_calls", row: Column("id"), sealed: &[] },
    Table { name: "sent", row: Column("id"), sealed: &["columns"] },
    Table { name: "embeddings", row: Column("content"), sealed: &[] },
    Table { name: "journals", row: Column("name"), sealed: &[] },
];

impl Store {
    /// Copies every row of this database into an empty one, opened with this one's key and sealed with the other's.
    pub fn copy_to(&self, other: &mut Self) -> Result<(), MemoryError> {
        let name = other.name.clone();
        for table in &TABLES {
            let (old, new) = (&self.vault, other.vault.clone());
            let mut statement = self
                .connection
                .prepare(&format!("SELECT * FROM {}", table.name))
                .map_err(|error| self.explain(&error))?;
            let mut rows = statement.query([]).map_err(|error| self.explain(&error))?;
            let columns = rows.as_ref().map(|statement| statement.column_names()).unwrap_or_default();
            other.in_transaction(|connection, _, _| {
                let mut appender = connection.appender(table.name)?;
                while let Some(row) = rows.next()? {
                    let values =
                        (0..columns.len()).map(|column| row.get(column)).collect::<duckdb::Result<Vec<Value>>>()?;
                    let values = converted(table, &columns, values, old, &new)?;
                    appender.append_row(appender_params_from_iter(values))?;
                }
                appender.flush()
            })?;
        }
        let entry = other.vault_entry()?;
        if other.vault.is_on() != entry.is_some() {
            return Err(MemoryError::Database { path: name, reason: "the key was not written".to_owned() });
        }
        Ok(())
    }

    /// Reads every block of every table: what is damaged is noticed here, if nowhere else.
    pub fn read_everything(&self) -> Result<(), MemoryError> {
        for table in self.table_names()? {
            self.rows(&format!("SELECT bit_xor(hash(whole)) FROM \"{table}\" AS whole"), params![], |_| Ok(()))?;
        }
        Ok(())
    }

    pub fn table_names(&self) -> Result<Vec<String>, MemoryError> {
        let sql = "SELECT table_name FROM duckdb_tables() WHERE NOT internal ORDER BY table_oid";
        self.rows(sql, &[], |row| row.get(0))
    }

    /// Reads every column of every row of a table and opens what is sealed in it: how many rows there are, and how
    /// many of them do not open.
    pub fn check_table(&self, name: &str) -> Result<(usize, usize), MemoryError> {
        let known = TABLES.iter().find(|table| table.name == name);
        let (mut all, mut closed) = (0, 0);
        let mut read = || {
            let mut statement = self.connection.prepare(&format!("SELECT * FROM \"{name}\""))?;
            let mut rows = statement.query([])?;
            let columns = rows.as_ref().map(|statement| statement.column_names()).unwrap_or_default();
            while let Some(row) = rows.next()? {
                let values =
                    (0..columns.len()).map(|column| row.get(column)).collect::<duckdb::Result<Vec<Value>>>()?;
                all += 1;
                let opens = |table| converted(table, &columns, values, &self.vault, &Vault::off()).is_ok();
                closed += usize::from(!known.is_none_or(opens));
            }
            Ok(())
        };
        read().map_err(|error: duckdb::Error| self.explain(&error))?;
        Ok((all, closed))
    }
}

fn converted(
    table: &Table,
    columns: &[String],
    mut values: Vec<Value>,
    old: &Vault,
    new: &Vault,
) -> Result<Vec<Value>, VaultError> {
    let position = |name: &str| columns.iter().position(|column| column == name);
    let text = |values: &[Value], name: &str| match position(name).and_then(|column| values.get(column)) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    };
    if table.name == "embeddings" {
        return converted_vector(columns, values, old, new);
    }
    let row_name = |values: &[Value]| match table.row {
        Column(name) => text(values, name).unwrap_or_default(),
        Numbered(name) => {
            let number = match position("position").and_then(|column| values.get(column)) {
                Some(Value::BigInt(number)) => *number as usize,
                _ => 0,
            };
            numbered(&text(values, name).unwrap_or_default(), number)
        }
    };
    let before = row_name(&values);
    let mut plain = Vec::new();
    for name in table.sealed {
        if let (Some(column), Some(content)) = (position(name), text(&values, name)) {
            plain.push((column, *name, old.open_text(&format!("{}.{name}", table.name), &before, content)?));
        }
    }
    // What texts are compared by comes from the texts.
    let opened =
        |wanted: &str| plain.iter().find(|(_, name, _)| *name == wanted).map(|(_, _, content)| content.as_str());
    let compared = match table.name {
        "facts" => position("fingerprint").zip(opened("text").map(fingerprint)),
        "chunks" => position("document").zip(opened("name").map(str::to_owned)),
        "documents" => position("name").zip(opened("record").and_then(origin)),
        _ => None,
    };
    if let Some((value, content)) = compared.and_then(|(column, content)| Some((values.get_mut(column)?, content))) {
        *value = Value::Text(new.disguise(&content).into_owned());
    }
    let after = row_name(&values);
    for (column, name, content) in plain {
        if let Some(value) = values.get_mut(column) {
            *value = Value::Text(new.seal_text(&format!("{}.{name}", table.name), &after, &content)?.into_owned());
        }
    }
    Ok(values)
}

/// What a document's record says it was read from.
fn origin(record: &str) -> Option<String> {
    let record: serde_json::Value = serde_json::from_str(record).ok()?;
    record.get("origin")?.as_str().map(str::to_owned)
}

fn converted_vector(
    columns: &[String],
    mut values: Vec<Value>,
    old: &Vault,
    new: &Vault,
) -> Result<Vec<Value>, VaultError> {
    let position = |name: &str| columns.iter().position(|column| column == name).ok_or(VaultError::NotOpened);
    let (content, vector) = (position("content")?, position("vector")?);
    let (Some(Value::Text(name)), Some(Value::Blob(bytes))) = (values.get(content), values.get(vector)) else {
        return Err(VaultError::NotOpened);
    };
    let (name, numbers) = opened(old, name.clone(), bytes.clone())?;
    let bytes = sealed(new, &name, &numbers)?;
    for (column, value) in [(content, Value::Text(new.disguise(&name).into_owned())), (vector, Value::Blob(bytes))] {
        if let Some(place) = values.get_mut(column) {
            *place = value;
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::{Store, TABLES};

    /// What is plain on purpose. A new column has to be sealed, or to be named here.
    const PLAIN: [&str; 49] = [
        "projects.key",
        "conversations.id",
        "conversations.agent",
        "conversations.project",
        "turns.id",
        "turns.conversation",
        "turns.model",
        "messages.turn",
        "messages.conversation",
        "messages.role",
        "context_items.turn",
        "context_items.kind",
        "context_items.dropped",
        "tool_runs.id",
        "tool_runs.conversation",
        "tool_runs.tool",
        "tool_runs.policy",
        "tool_runs.status",
        "facts.id",
        "facts.fingerprint",
        "facts.scope",
        "facts.project",
        "facts.kind",
        "facts.turn",
        "facts.superseded_by",
        "chunks.document",
        "chunks.scope",
        "chunks.project",
        "documents.name",
        "documents.scope",
        "documents.project",
        "embeddings.content",
        "embeddings.model",
        "model_calls.id",
        "model_calls.conversation",
        "model_calls.turn",
        "model_calls.model",
        "model_calls.purpose",
        "journals.name",
        "notes.id",
        "notes.conversation",
        "notes.name",
        "sent.id",
        "sent.conversation",
        "sent.destination",
        "sent.model",
        "sent.purpose",
        "vault.entry",
        "schema_versions.description",
    ];

    #[test]
    fn every_column_with_text_is_sealed_or_plain_on_purpose() {
        let store = Store::in_memory().unwrap();
        let sql = "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND data_type = 'VARCHAR'";
        let columns = store.rows(sql, &[], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
        assert!(columns.len() > 40);
        for (table, column) in columns {
            let sealed = TABLES.iter().any(|known| known.name == table && known.sealed.contains(&column.as_str()));
            let plain = PLAIN.contains(&format!("{table}.{column}").as_str());
            assert!(
                sealed != plain,
                "{table}.{column} is {}",
                if sealed { "sealed and plain" } else { "neither sealed nor plain" }
            );
        }
    }
}
