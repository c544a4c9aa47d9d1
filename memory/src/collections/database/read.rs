//! What is read of a collection's database.

use std::collections::{HashMap, HashSet};

use duckdb::{Row, params};

use super::{Database, METADATA, TEXT, TITLE, among, damaged};
use crate::collections::Record;
use crate::error::MemoryError;
use crate::event::digest;

impl Database {
    /// Contents (by digest) without a vector of this model.
    pub fn without_vectors(&self, model: &str) -> Result<Vec<String>, MemoryError> {
        let sql = "SELECT content, min(slot) AS first FROM documents
            WHERE content NOT IN (SELECT content FROM embeddings WHERE model = ?) GROUP BY content ORDER BY first";
        self.rows(sql, params![model], |row| row.get(0))
    }

    /// How many documents have no vector of this model.
    pub fn unembedded(&self, model: &str) -> Result<usize, MemoryError> {
        let sql =
            "SELECT count(*) FROM documents WHERE content NOT IN (SELECT content FROM embeddings WHERE model = ?)";
        let count = self.rows(sql, params![model], |row| row.get::<_, i64>(0))?;
        Ok(count.first().and_then(|count| usize::try_from(*count).ok()).unwrap_or_default())
    }

    /// The texts of contents, by digest.
    pub fn contents(&self, digests: &[String]) -> Result<Vec<(String, String)>, MemoryError> {
        let list: Vec<String> = digests
            .iter()
            .filter(|digest| digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .map(|digest| format!("'{digest}'"))
            .collect();
        if list.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT min(slot), arg_min(title, slot), arg_min(text, slot), content FROM documents WHERE content IN ({}) GROUP BY content",
            list.join(",")
        );
        self.rows(&sql, params![], |row| Ok((row.get(3)?, self.content(row)?.1)))
    }

    pub fn slots(&self) -> Result<Vec<u64>, MemoryError> {
        self.rows("SELECT slot FROM documents ORDER BY slot", params![], |row| row.get(0))
    }

    /// In the order of the documents' identifiers.
    pub fn slots_by_identifier(&self) -> Result<Vec<u64>, MemoryError> {
        self.rows("SELECT slot FROM documents ORDER BY id, slot", params![], |row| row.get(0))
    }

    /// Slots that have a vector of this model.
    pub fn embedded_slots(&self, model: &str) -> Result<Vec<u64>, MemoryError> {
        let sql = "SELECT slot FROM documents SEMI JOIN (SELECT content FROM embeddings WHERE model = ? AND octet_length(vector) > 0) e
            USING (content) ORDER BY slot";
        self.rows(sql, params![model], |row| row.get(0))
    }

    /// Slots (these, in order) and their contents, some thousands at a time.
    pub fn contents_of(&self, slots: &[u64]) -> Result<Vec<(u64, String)>, MemoryError> {
        let Some((first, last)) = slots.first().zip(slots.last()) else { return Ok(Vec::new()) };
        let wanted: HashSet<u64> = slots.iter().copied().collect();
        let sql = "SELECT slot, title, text FROM documents WHERE slot BETWEEN ? AND ? ORDER BY slot";
        let rows = self.rows(sql, params![first, last], |row| self.content(row))?;
        Ok(rows.into_iter().filter(|(slot, _)| wanted.contains(slot)).collect())
    }

    /// Slots (these, in order) and their windows' vectors of one model, some thousands at a time.
    pub fn vectors_of(&self, model: &str, slots: &[u64]) -> Result<Vec<(u64, Vec<Vec<f32>>)>, MemoryError> {
        let Some((first, last)) = slots.first().zip(slots.last()) else { return Ok(Vec::new()) };
        let wanted: HashSet<u64> = slots.iter().copied().collect();
        let sql =
            "SELECT d.slot, e.vector, e.content, e.windows FROM documents d JOIN embeddings e ON e.content = d.content
            WHERE e.model = ? AND d.slot BETWEEN ? AND ? ORDER BY d.slot";
        let rows = self.rows(sql, params![model, first, last], |row| {
            let bytes: Vec<u8> = row.get(1)?;
            let bytes =
                if bytes.is_empty() { bytes } else { self.vault.open(&bytes, row.get::<_, String>(2)?.as_bytes())? };
            let numbers: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
            let dimensions = numbers.len() / row.get::<_, u32>(3)?.max(1) as usize;
            Ok((row.get::<_, u64>(0)?, numbers.chunks_exact(dimensions.max(1)).map(<[f32]>::to_vec).collect()))
        })?;
        Ok(rows.into_iter().filter(|(slot, _)| wanted.contains(slot)).collect())
    }

    /// Identifiers by slot: of all, or of these.
    pub fn identifiers(&self, slots: Option<&[u64]>) -> Result<HashMap<u64, String>, MemoryError> {
        let sql = format!("SELECT slot, id FROM documents {}", among(slots));
        Ok(self.rows(&sql, params![], |row| Ok((row.get(0)?, row.get(1)?)))?.into_iter().collect())
    }

    /// Whole records by slot.
    pub fn records(&self, slots: &[u64]) -> Result<HashMap<u64, Record>, MemoryError> {
        let sql = format!("SELECT slot, id, title, text, metadata FROM documents {}", among(Some(slots)));
        Ok(self.rows(&sql, params![], |row| self.record(row))?.into_iter().collect())
    }

    /// Gives slots and their metadata.
    pub fn each_metadata(&self, each: &mut dyn FnMut(u64, &str)) -> Result<(), MemoryError> {
        self.streamed("SELECT slot, metadata FROM documents", params![], |row| {
            let slot: u64 = row.get(0)?;
            each(slot, &self.vault.open_text(METADATA, &slot.to_string(), row.get(1)?)?);
            Ok(true)
        })
    }

    pub fn export(&self, each: &mut dyn FnMut(&Record) -> std::io::Result<()>) -> Result<usize, MemoryError> {
        let (mut given, mut failed) = (0, None);
        self.streamed("SELECT slot, id, title, text, metadata FROM documents ORDER BY slot", params![], |row| {
            failed = each(&self.record(row)?.1).err();
            given += 1;
            Ok(failed.is_none())
        })?;
        match failed {
            Some(error) => Err(MemoryError::Output(error.to_string())),
            None => Ok(given),
        }
    }

    /// Embedding models, with how many contents each has embedded.
    pub fn models(&self) -> Result<Vec<(String, usize)>, MemoryError> {
        self.rows(
            "SELECT model, count(*) FROM embeddings GROUP BY model ORDER BY count(*) DESC, model",
            params![],
            |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as usize)),
        )
    }

    /// Reads every row, vectors' too; gives how many documents there are.
    pub fn check(&self) -> Result<usize, MemoryError> {
        let mut wrong = 0;
        let mut count = 0;
        self.streamed("SELECT slot, id, title, text, metadata, content FROM documents", params![], |row| {
            let content = digest(&self.record(row)?.1.content());
            wrong += usize::from(*self.vault.disguise(&content) != row.get::<_, String>(5)?);
            count += 1;
            Ok(true)
        })?;
        self.streamed("SELECT content, vector FROM embeddings", params![], |row| {
            let (content, vector): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
            if !vector.is_empty() {
                self.vault.open(&vector, content.as_bytes())?;
            }
            Ok(true)
        })?;
        match wrong {
            0 => Ok(count),
            wrong => Err(damaged(&self.path, format!("{wrong} of {count} documents are not what was stored"))),
        }
    }

    /// Of a row of slot, identifier, title, text and metadata.
    pub(super) fn record(&self, row: &Row<'_>) -> duckdb::Result<(u64, Record)> {
        let slot: u64 = row.get(0)?;
        let place = slot.to_string();
        let title = self.vault.open_text(TITLE, &place, row.get(2)?)?;
        let text = self.vault.open_text(TEXT, &place, row.get(3)?)?;
        let metadata = self.vault.open_text(METADATA, &place, row.get(4)?)?;
        let metadata = serde_json::from_str(&metadata).unwrap_or_default();
        Ok((slot, Record { id: row.get(1)?, title, text, metadata }))
    }

    /// Of a row of slot, title and text: the slot and what is compared with queries.
    fn content(&self, row: &Row<'_>) -> duckdb::Result<(u64, String)> {
        let slot: u64 = row.get(0)?;
        let title = self.vault.open_text(TITLE, &slot.to_string(), row.get(1)?)?;
        let text = self.vault.open_text(TEXT, &slot.to_string(), row.get(2)?)?;
        Ok((slot, Record { title, text, ..Record::default() }.content()))
    }
}
