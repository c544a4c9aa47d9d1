//! A collection's rows under another key or none, and what its database says of how it is sealed.

use std::collections::HashMap;

use duckdb::params;

use super::{Database, METADATA, TEXT, TITLE};
use crate::collections::Record;
use crate::error::MemoryError;
use crate::event::digest;
use crate::vault::VaultFile;

/// In the place of what opens it, where a database is in the clear.
const IN_THE_CLEAR: &str = "";

/// How a database says it is sealed.
pub(crate) enum SealedAs {
    /// It was made when databases did not say.
    Unsaid,
    Clear,
    Sealed(VaultFile),
}

impl Database {
    pub fn sealed_as(&self) -> Result<SealedAs, MemoryError> {
        let tables = "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'vault'";
        if self.rows(tables, params![], |row| row.get::<_, i64>(0))?.first() == Some(&0) {
            return Ok(SealedAs::Unsaid);
        }
        let entries: Vec<String> = self.rows("SELECT entry FROM vault", params![], |row| row.get(0))?;
        match entries.first().map(String::as_str) {
            None => Ok(SealedAs::Unsaid),
            Some(IN_THE_CLEAR) => Ok(SealedAs::Clear),
            Some(entry) => VaultFile::parse(entry, &self.path.display().to_string()).map(SealedAs::Sealed),
        }
    }

    /// On disk when it returns.
    pub fn say_sealed_as(&mut self, file: Option<&VaultFile>) -> Result<(), MemoryError> {
        let entry = file.map_or_else(|| IN_THE_CLEAR.to_owned(), VaultFile::to_text);
        self.in_transaction(|connection| {
            connection.execute("DELETE FROM vault", [])?;
            connection.execute("INSERT INTO vault VALUES (?)", params![entry]).map(drop)
        })
    }

    /// The same database, opened with what it turned out to be sealed with.
    pub fn with_vault(self, vault: crate::vault::Vault) -> Self {
        Self { vault, ..self }
    }

    /// Every document and every vector of one into an empty database, sealed as that one is.
    pub fn copy_to(&self, other: &mut Self) -> Result<(), MemoryError> {
        let (old, new) = (self.vault.clone(), other.vault.clone());
        // By their names in this database.
        let mut contents: HashMap<String, String> = HashMap::new();
        other.in_transaction(|connection| {
            let mut documents = connection.appender("documents")?;
            let sql = "SELECT slot, id, title, text, metadata, content FROM documents ORDER BY slot";
            let mut statement = self.connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let slot: u64 = row.get(0)?;
                let place = slot.to_string();
                let title = old.open_text(TITLE, &place, row.get(2)?)?;
                let text = old.open_text(TEXT, &place, row.get(3)?)?;
                let metadata = old.open_text(METADATA, &place, row.get(4)?)?;
                let record = Record { id: row.get(1)?, title, text, ..Record::default() };
                let content = new.disguise(&digest(&record.content())).into_owned();
                let title = new.seal_text(TITLE, &place, &record.title)?;
                let text = new.seal_text(TEXT, &place, &record.text)?;
                let metadata = new.seal_text(METADATA, &place, &metadata)?;
                documents.append_row(params![slot, record.id, title, text, metadata, content])?;
                contents.insert(row.get(5)?, content);
            }
            documents.flush()?;
            let mut vectors = connection.appender("embeddings")?;
            let mut statement = self.connection.prepare("SELECT content, model, vector, windows FROM embeddings")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (name, bytes): (String, Vec<u8>) = (row.get(0)?, row.get(2)?);
                let Some(content) = contents.get(&name) else { continue };
                let bytes = match bytes.is_empty() {
                    true => bytes,
                    false => new.seal(&old.open(&bytes, name.as_bytes())?, content.as_bytes())?,
                };
                vectors.append_row(params![content, row.get::<_, String>(1)?, bytes, row.get::<_, u32>(3)?])?;
            }
            vectors.flush()?;
            let (revision, next): (u64, u64) =
                self.connection
                    .query_row("SELECT revision, next_slot FROM state", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            connection.execute("UPDATE state SET revision = ?, next_slot = ?", params![revision, next]).map(drop)
        })
    }

    /// Everything that is in the log, into the file.
    pub fn checkpoint(&self) -> Result<(), MemoryError> {
        self.explained(|connection| connection.execute_batch("FORCE CHECKPOINT"))
    }
}
