//! Documents and their pieces as rows.

use std::collections::HashSet;

use duckdb::types::Value;
use duckdb::{Appender, params};

use super::apply::{Writer, numbered};
use super::read::{CHUNKS, StoredChunk, place};
use super::{Store, quoted};
use crate::error::MemoryError;
use crate::records::{FactPlace, NewChunk, NewDocument, StoredDocument};
use crate::vault::Vault;

/// What a row is sealed as.
const RECORD: &str = "documents.record";

impl Store {
    /// Of all scopes and projects, by origin.
    pub fn documents(&self) -> Result<Vec<(FactPlace, StoredDocument)>, MemoryError> {
        let sql = "SELECT name, scope, project, record FROM documents";
        let rows = self.rows(sql, &[], |row| {
            let name: String = row.get(0)?;
            Ok((place(row, 1)?, self.vault.open_text(RECORD, &name, row.get(3)?)?))
        })?;
        // A row that somebody edited is as good as none: its document is read again.
        let read = |(place, record): (FactPlace, String)| Some((place, serde_json::from_str(&record).ok()?));
        let mut documents: Vec<(FactPlace, StoredDocument)> = rows.into_iter().filter_map(read).collect();
        documents.sort_by(|(_, left), (_, right)| left.origin.cmp(&right.origin));
        Ok(documents)
    }

    /// One piece of a document.
    pub fn chunk_at(
        &self,
        document: &str,
        position: usize,
        place: &FactPlace,
    ) -> Result<Option<StoredChunk>, MemoryError> {
        let sql = format!("{CHUNKS} WHERE document = ? AND scope = ? AND project = ? AND position = ?");
        let name = self.vault.disguise(document);
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        let found = self
            .rows(&sql, params![name, place.scope.name(), place.project.as_str(), position], |row| self.chunk(row))?;
        Ok(found.into_iter().next())
    }
}

impl Writer<'_> {
    /// Documents with their pieces, in place of what was kept of the same origins.
    pub fn keep_documents(&self, documents: &[NewDocument], place: &FactPlace, at: &Value) -> duckdb::Result<()> {
        let newer = self.newer(documents.iter().map(|new| new.document.origin.as_str()), place, at)?;
        let name = |new: &NewDocument| self.vault.disguise(&new.document.origin).into_owned();
        let kept: Vec<&NewDocument> = documents.iter().filter(|new| !newer.contains(&name(new))).collect();
        self.delete("documents", "name", kept.iter().map(|new| name(new)), place)?;
        self.delete("chunks", "document", kept.iter().filter(|new| new.chunks.is_some()).map(|new| name(new)), place)?;
        let mut rows = self.connection.appender("documents")?;
        for new in &kept {
            let (name, record) = (name(new), serde_json::to_string(&new.document).unwrap_or_default());
            let record = self.vault.seal_text(RECORD, &name, &record)?;
            rows.append_row(params![name, place.scope.name(), place.project.as_str(), record, at])?;
        }
        rows.flush()?;
        let mut rows = self.connection.appender("chunks")?;
        for new in &kept {
            append_chunks(
                &mut rows,
                self.vault,
                &new.document.origin,
                new.chunks.as_deref().unwrap_or_default(),
                place,
                at,
            )?;
        }
        rows.flush()
    }

    pub fn remove_documents(&self, origins: &[String], place: &FactPlace, at: &Value) -> duckdb::Result<()> {
        let newer = self.newer(origins.iter().map(String::as_str), place, at)?;
        let names: Vec<String> = origins
            .iter()
            .map(|origin| self.vault.disguise(origin).into_owned())
            .filter(|name| !newer.contains(name))
            .collect();
        self.delete("documents", "name", names.iter().cloned(), place)?;
        self.delete("chunks", "document", names.into_iter(), place)
    }

    /// Those of these documents that were kept later than `at`: a journal may be merged long after it was written.
    fn newer<'a>(
        &self,
        origins: impl Iterator<Item = &'a str>,
        place: &FactPlace,
        at: &Value,
    ) -> duckdb::Result<HashSet<String>> {
        if self.fresh {
            return Ok(HashSet::new());
        }
        let names = quoted(origins.map(|origin| self.vault.disguise(origin).into_owned()));
        let sql =
            format!("SELECT name FROM documents WHERE scope = ? AND project = ? AND kept_at > ? AND name IN ({names})");
        let mut statement = self.connection.prepare(&sql)?;
        let names = statement.query_map(params![place.scope.name(), place.project.as_str(), at], |row| row.get(0))?;
        names.collect()
    }

    fn delete(
        &self,
        table: &str,
        column: &str,
        names: impl Iterator<Item = String>,
        place: &FactPlace,
    ) -> duckdb::Result<()> {
        let names = quoted(names);
        let sql = format!("DELETE FROM {table} WHERE scope = ? AND project = ? AND {column} IN ({names})");
        self.run(&sql, params![place.scope.name(), place.project.as_str()])
    }
}

/// Rows of a document's pieces.
pub(super) fn append_chunks(
    rows: &mut Appender<'_>,
    vault: &Vault,
    document: &str,
    chunks: &[NewChunk],
    place: &FactPlace,
    at: &Value,
) -> duckdb::Result<()> {
    let name = vault.disguise(document);
    for (position, chunk) in chunks.iter().enumerate() {
        let row = numbered(&name, position);
        let stands = serde_json::to_string(&chunk.place).unwrap_or_default();
        rows.append_row(params![
            name,
            position as i64,
            vault.seal_text("chunks.title", &row, &chunk.title)?,
            vault.seal_text("chunks.text", &row, &chunk.text)?,
            at,
            place.scope.name(),
            place.project.as_str(),
            vault.seal_text("chunks.name", &row, document)?,
            vault.seal_text("chunks.place", &row, &stands)?
        ])?;
    }
    Ok(())
}
