//! Vectors, kept by the text they are of and the model that made them.

use std::collections::HashMap;

use duckdb::params;

use super::Store;
use crate::error::MemoryError;
use crate::vault::{Vault, VaultError};

impl Store {
    /// Keeps `vectors` (by content) for `model`; an empty one says that the model gave none.
    pub fn add_vectors(&mut self, model: &str, vectors: &[(String, Vec<f32>)]) -> Result<(), MemoryError> {
        if vectors.is_empty() {
            return Ok(());
        }
        self.in_transaction(|connection, vault, _| {
            let mut rows = connection.appender("embeddings")?;
            for (content, vector) in vectors {
                rows.append_row(params![vault.disguise(content), model, sealed(vault, content, vector)?])?;
            }
            rows.flush()
        })
    }

    pub fn remove_vectors(&mut self, contents: &[String]) -> Result<(), MemoryError> {
        if contents.is_empty() {
            return Ok(());
        }
        self.in_transaction(|connection, vault, _| {
            let mut delete = connection.prepare("DELETE FROM embeddings WHERE content = ?")?;
            contents.iter().try_for_each(|content| delete.execute(params![vault.disguise(content)]).map(drop))
        })
    }

    /// How many there are of which model, the most first.
    pub fn vectors_by_model(&self) -> Result<Vec<(String, usize)>, MemoryError> {
        let sql = "SELECT model, count(*) FROM embeddings GROUP BY model ORDER BY count(*) DESC, model";
        self.rows(sql, &[], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as usize)))
    }

    pub fn remove_vectors_of(&mut self, model: &str) -> Result<(), MemoryError> {
        self.in_transaction(|connection, _, _| {
            connection.execute("DELETE FROM embeddings WHERE model = ?", params![model]).map(drop)
        })
    }

    pub fn vectors(&self, model: &str) -> Result<HashMap<String, Vec<f32>>, MemoryError> {
        let rows = self.rows("SELECT content, vector FROM embeddings WHERE model = ?", params![model], |row| {
            Ok(opened(&self.vault, row.get(0)?, row.get(1)?)?)
        })?;
        Ok(rows.into_iter().collect())
    }
}

/// Where things are encrypted, a vector says what it is of only inside: the column has a disguise.
pub(super) fn sealed(vault: &Vault, content: &str, vector: &[f32]) -> Result<Vec<u8>, VaultError> {
    let numbers = vector.iter().flat_map(|number| number.to_le_bytes());
    if !vault.is_on() {
        return Ok(numbers.collect());
    }
    let mut plain = vec![u8::try_from(content.len()).map_err(|_| VaultError::TooLarge)?];
    plain.extend(content.bytes().chain(numbers));
    vault.seal(&plain, vault.disguise(content).as_bytes())
}

/// What it is of, and the vector.
pub(super) fn opened(vault: &Vault, column: String, bytes: Vec<u8>) -> Result<(String, Vec<f32>), VaultError> {
    let numbers = |bytes: &[u8]| {
        bytes.chunks_exact(4).filter_map(|four| Some(f32::from_le_bytes(four.try_into().ok()?))).collect()
    };
    if !vault.is_on() {
        return Ok((column, numbers(&bytes)));
    }
    let plain = vault.open(&bytes, column.as_bytes())?;
    let split = || {
        let (length, rest) = plain.split_first()?;
        let (content, vector) = rest.split_at_checked(usize::from(*length))?;
        Some((String::from_utf8(content.to_vec()).ok()?, numbers(vector)))
    };
    split().ok_or(VaultError::NotOpened)
}
