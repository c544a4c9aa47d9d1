//! What indexes are made of, and what tells whether they still fit.

use std::collections::{HashMap, HashSet};

use duckdb::params;

use super::Store;
use super::apply::numbered;
use super::read::{CHUNKS, Spoken, StoredChunk, place, time};
use crate::error::MemoryError;
use crate::index::kept::origin_of_document;
use crate::project::ProjectKey;
use crate::records::{ConversationId, FactPlace};

/// So many documents are looked for one by one.
const FEW: usize = 16;

/// Sums over the identifiers of messages, which are only ever added.
pub(crate) struct MessageSums {
    /// Rows there are.
    pub rows: u64,
    /// Over those before the row that was asked for.
    pub before: u64,
    /// Over all.
    pub all: u64,
}

impl Store {
    pub fn message_sums(&self, before: u64) -> Result<MessageSums, MemoryError> {
        let sql = "SELECT coalesce(max(rowid) + 1, 0)::UBIGINT, coalesce(bit_xor(hash(turn, position)) FILTER (rowid < ?), 0)::UBIGINT,
                coalesce(bit_xor(hash(turn, position)), 0)::UBIGINT FROM messages";
        let sums = self.rows(sql, params![before], |row| Ok(MessageSums { rows: row.get(0)?, before: row.get(1)?, all: row.get(2)? }))?;
        Ok(sums.into_iter().next().unwrap_or(MessageSums { rows: 0, before: 0, all: 0 }))
    }

    /// Documents, by the names they have in the database, with sums over their pieces.
    pub fn document_sums(&self) -> Result<Vec<(String, FactPlace, u64)>, MemoryError> {
        let sql = "SELECT document, scope, project, bit_xor(hash(position, title, text, created_at))::UBIGINT FROM chunks GROUP BY ALL";
        self.rows(sql, &[], |row| {
            Ok((row.get(0)?, place(row, 1)?, row.get(3)?))
        })
    }

    /// The pieces of documents, which [`origin_of_document`] numbers.
    pub fn chunks_among(&self, origins: &HashSet<u64>) -> Result<Vec<StoredChunk>, MemoryError> {
        if origins.is_empty() {
            return Ok(Vec::new());
        }
        let names = self.rows("SELECT DISTINCT document, scope, project FROM chunks", &[], |row| {
            Ok((row.get::<_, String>(0)?, place(row, 1)?))
        })?;
        let wanted: HashSet<(String, FactPlace)> =
            names.into_iter().filter(|(name, place)| origins.contains(&origin_of_document(name, place))).collect();
        if wanted.len() > FEW {
            let mut all = self.chunks()?;
            all.retain(|stored| wanted.contains(&(self.vault.disguise(&stored.document).into_owned(), stored.place.clone())));
            return Ok(all);
        }
        let sql = format!("{CHUNKS} WHERE document = ? AND scope = ? AND project = ? ORDER BY position");
        let mut found = Vec::new();
        for (name, place) in &wanted {
            found.extend(self.rows(&sql, params![name, place.scope.name(), place.project.as_str()], |row| self.chunk(row))?);
        }
        // As `chunks` gives them: of equals, what came later is found first.
        found.sort_by(|one, other| (one.kept_at, &one.document, one.position).cmp(&(other.kept_at, &other.document, other.position)));
        Ok(found)
    }

    /// What people and agents said, by row, those before resets included.
    pub fn spoken_between(&self, first: u64, end: u64) -> Result<Vec<Spoken>, MemoryError> {
        let sql = "SELECT m.turn, m.position, m.role, m.content, NULL, m.conversation, c.project, epoch_us(m.created_at), m.sequence
            FROM messages m JOIN conversations c ON c.id = m.conversation
            WHERE m.rowid >= ? AND m.rowid < ? AND m.role IN ('user', 'assistant') ORDER BY m.rowid";
        self.rows(sql, params![first, end], |row| {
            let (turn, message) = self.message(row)?;
            Ok(Spoken {
                turn,
                position: row.get::<_, i64>(1)? as usize,
                conversation: ConversationId::from(row.get::<_, String>(5)?),
                project: ProjectKey::from(row.get::<_, String>(6)?),
                sequence: row.get::<_, i64>(8)? as u64,
                role: message.role,
                content: message.content,
                said_at: time(row.get(7)?),
            })
        })
    }

    /// Conversations that were reset, with the last turn before it.
    pub fn resets(&self) -> Result<Vec<(ConversationId, u64)>, MemoryError> {
        self.rows("SELECT id, reset_sequence FROM conversations WHERE reset_sequence > 0", &[], |row| {
            Ok((ConversationId::from(row.get::<_, String>(0)?), row.get::<_, i64>(1)? as u64))
        })
    }

    /// Who said what, by `turn#position`.
    pub fn messages_among(&self, ids: &[&str]) -> Result<HashMap<String, (String, String)>, MemoryError> {
        let turns: HashSet<&str> = ids.iter().filter_map(|id| Some(id.rsplit_once('#')?.0)).collect();
        let sql = format!("SELECT turn, position, role, content, NULL FROM messages WHERE turn IN ({})", quoted(turns.into_iter()));
        let rows = self.rows(&sql, &[], |row| {
            let (turn, message) = self.message(row)?;
            Ok((numbered(turn.as_str(), row.get::<_, i64>(1)? as usize), (message.role, message.content)))
        })?;
        Ok(rows.into_iter().filter(|(id, _)| ids.contains(&id.as_str())).collect())
    }

    /// Pieces of documents of these names and positions, wherever they are kept.
    pub fn pieces_among(&self, wanted: &[(&str, usize)]) -> Result<Vec<StoredChunk>, MemoryError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let names: HashSet<String> = wanted.iter().map(|(name, _)| self.vault.disguise(name).into_owned()).collect();
        let positions: HashSet<String> = wanted.iter().map(|(_, position)| position.to_string()).collect();
        let positions: Vec<&str> = positions.iter().map(String::as_str).collect();
        let names = quoted(names.iter().map(String::as_str));
        self.rows(&format!("{CHUNKS} WHERE position IN ({}) AND document IN ({names})", positions.join(",")), &[], |row| self.chunk(row))
    }

    /// Documents of which there are pieces: their names as the database has them, their names, where they are kept.
    pub fn document_names(&self) -> Result<Vec<(String, String, FactPlace)>, MemoryError> {
        self.rows("SELECT document, any_value(name), scope, project, any_value(position) FROM chunks WHERE position = 0 GROUP BY ALL", &[], |row| {
            let stored: String = row.get(0)?;
            let row_name = numbered(&stored, row.get::<_, i64>(4)? as usize);
            let name = self.vault.open_text("chunks.name", &row_name, row.get(1)?)?;
            Ok((stored, name, place(row, 2)?))
        })
    }

    pub fn conversation_ids(&self) -> Result<Vec<String>, MemoryError> {
        self.rows("SELECT id FROM conversations", &[], |row| row.get(0))
    }

    /// A sum over the contents that have a vector of this model, by the beginnings of their digests, and the contents that
    /// the model had none for.
    pub fn vector_sum(&self, model: &str) -> Result<(u64, Vec<String>), MemoryError> {
        let sum = "SELECT coalesce(bit_xor(TRY_CAST('0x' || substr(content, 1, 16) AS UBIGINT)), 0)::UBIGINT
            FROM embeddings WHERE model = ? AND octet_length(vector) > 0";
        let sums = self.rows(sum, params![model], |row| row.get(0))?;
        let none = "SELECT content FROM embeddings WHERE model = ? AND octet_length(vector) = 0";
        Ok((sums.first().copied().unwrap_or_default(), self.rows(none, params![model], |row| row.get(0))?))
    }
}

fn quoted<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts: Vec<String> = texts.map(|text| format!("'{}'", text.replace('\'', "''"))).collect();
    if texts.is_empty() { "NULL".to_owned() } else { texts.join(",") }
}
