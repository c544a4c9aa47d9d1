//! The shape of the database and how an older one becomes the present one.

use duckdb::Connection;

use crate::error::MemoryError;

/// A step from the version before to `version`.
pub(crate) struct Migration {
    pub version: u32,
    pub description: &'static str,
    pub sql: &'static str,
}

/// Append only: a released step is never edited.
///
/// There are no keys or indexes: one process writes, identifiers are random, the events that
/// write are checked for repetition, and DuckDB scans these tables faster than it maintains
/// an index on them.
pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    description: "conversations, turns, tool runs, facts, documents",
    sql: "
    CREATE TABLE conversations (
        id VARCHAR NOT NULL, agent VARCHAR NOT NULL, notebook VARCHAR NOT NULL,
        started_at TIMESTAMP NOT NULL, reset_at TIMESTAMP, reset_sequence BIGINT NOT NULL DEFAULT 0);
    CREATE TABLE turns (
        id VARCHAR NOT NULL, conversation VARCHAR NOT NULL, sequence BIGINT NOT NULL,
        request VARCHAR NOT NULL, answer VARCHAR NOT NULL, model VARCHAR NOT NULL, prompt VARCHAR NOT NULL,
        prompt_tokens BIGINT NOT NULL, completion_tokens BIGINT NOT NULL, milliseconds BIGINT NOT NULL,
        created_at TIMESTAMP NOT NULL);
    CREATE TABLE messages (
        turn VARCHAR NOT NULL, conversation VARCHAR NOT NULL, sequence BIGINT NOT NULL, position BIGINT NOT NULL,
        role VARCHAR NOT NULL, content VARCHAR NOT NULL, json VARCHAR, created_at TIMESTAMP NOT NULL);
    CREATE TABLE context_items (
        turn VARCHAR NOT NULL, position BIGINT NOT NULL, kind VARCHAR NOT NULL, origin VARCHAR NOT NULL,
        title VARCHAR NOT NULL, text VARCHAR NOT NULL, score FLOAT, tokens BIGINT NOT NULL, dropped VARCHAR);
    CREATE TABLE tool_runs (
        id VARCHAR NOT NULL, conversation VARCHAR NOT NULL, tool VARCHAR NOT NULL, arguments VARCHAR NOT NULL,
        policy VARCHAR NOT NULL, status VARCHAR NOT NULL, result VARCHAR NOT NULL, milliseconds BIGINT NOT NULL,
        started_at TIMESTAMP NOT NULL);
    CREATE TABLE facts (
        id VARCHAR NOT NULL, text VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL, source VARCHAR NOT NULL,
        created_at TIMESTAMP NOT NULL);
    CREATE TABLE chunks (
        document VARCHAR NOT NULL, position BIGINT NOT NULL, title VARCHAR NOT NULL, text VARCHAR NOT NULL,
        created_at TIMESTAMP NOT NULL);
    CREATE TABLE embeddings (content VARCHAR NOT NULL, model VARCHAR NOT NULL, vector BLOB NOT NULL);
    CREATE TABLE journals (name VARCHAR NOT NULL, merged_bytes BIGINT NOT NULL);",
}, Migration {
    version: 2,
    description: "how an item came before a model, notes of a conversation, what left the machine",
    sql: "
    ALTER TABLE context_items ADD COLUMN details VARCHAR;
    CREATE TABLE notes (
        id VARCHAR NOT NULL, conversation VARCHAR NOT NULL, name VARCHAR NOT NULL, value VARCHAR NOT NULL,
        created_at TIMESTAMP NOT NULL);
    CREATE TABLE sent (
        id VARCHAR NOT NULL, conversation VARCHAR, destination VARCHAR NOT NULL, model VARCHAR NOT NULL,
        purpose VARCHAR NOT NULL, bytes BIGINT NOT NULL, prompt_tokens BIGINT NOT NULL, completion_tokens BIGINT NOT NULL,
        rows BIGINT NOT NULL, columns VARCHAR NOT NULL, sent_at TIMESTAMP NOT NULL);",
}];

/// Brings the database to the newest of `migrations`, each step in its own transaction.
pub(crate) fn migrate(connection: &mut Connection, path: &str, migrations: &[Migration]) -> Result<(), MemoryError> {
    let known = migrations.last().map_or(0, |migration| migration.version);
    let found = version(connection, path)?;
    if found > known {
        return Err(MemoryError::NewerSchema { path: path.to_owned(), found, known });
    }
    for migration in migrations.iter().filter(|migration| migration.version > found) {
        step(connection, migration).map_err(|error| MemoryError::Migration {
            path: path.to_owned(),
            from: migration.version - 1,
            to: migration.version,
            reason: error.to_string(),
        })?;
    }
    Ok(())
}

/// The version of the schema that is there; 0 for an empty database.
pub(crate) fn version(connection: &Connection, path: &str) -> Result<u32, MemoryError> {
    let explain = |error| MemoryError::from_database(path, &error);
    let tables: Vec<String> = connection
        .prepare("SELECT table_name FROM duckdb_tables()")
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .map_err(explain)?;
    if tables.is_empty() {
        return Ok(0);
    }
    if !tables.iter().any(|table| table == "schema_versions") {
        let reason = format!("it is a DuckDB database of something else (it holds {})", tables.join(", "));
        return Err(MemoryError::Unreadable { path: path.to_owned(), reason });
    }
    connection.query_row("SELECT coalesce(max(version), 0) FROM schema_versions", [], |row| row.get(0)).map_err(explain)
}

fn step(connection: &mut Connection, migration: &Migration) -> duckdb::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_versions (version UINTEGER NOT NULL, description VARCHAR NOT NULL, applied_at TIMESTAMP NOT NULL)",
    )?;
    transaction.execute_batch(migration.sql)?;
    transaction.execute(
        "INSERT INTO schema_versions VALUES (?, ?, current_timestamp::TIMESTAMP)",
        duckdb::params![migration.version, migration.description],
    )?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use duckdb::Connection;

    use super::{MIGRATIONS, Migration, migrate, version};
    use crate::error::MemoryError;

    const NEXT: Migration = Migration {
        version: 2,
        description: "facts have a weight",
        sql: "ALTER TABLE facts ADD COLUMN weight INTEGER DEFAULT 1; UPDATE facts SET weight = 5 WHERE source = 'user';",
    };

    /// A database in the shape of version 1, with a fact in it.
    fn first() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, "here", &MIGRATIONS[..1]).unwrap();
        connection.execute_batch("INSERT INTO facts VALUES ('a', 'b', 'c', 'user', now()::TIMESTAMP)").unwrap();
        connection
    }

    fn with(last: Migration) -> [Migration; 2] {
        let Migration { version, description, sql } = MIGRATIONS[0];
        [Migration { version, description, sql }, last]
    }

    #[test]
    fn an_older_schema_is_brought_up_to_date_with_its_rows() {
        let mut connection = first();
        for _ in 0..2 {
            migrate(&mut connection, "here", &with(NEXT)).unwrap();
            assert_eq!(version(&connection, "here").unwrap(), 2);
        }
        let weight: i32 = connection.query_row("SELECT weight FROM facts", [], |row| row.get(0)).unwrap();
        assert_eq!(weight, 5);
        let error = migrate(&mut connection, "here", &MIGRATIONS[..1]).unwrap_err();
        assert!(matches!(error, MemoryError::NewerSchema { found: 2, known: 1, .. }));
    }

    #[test]
    fn a_migration_that_fails_leaves_everything_as_it_was() {
        let mut connection = first();
        let sql = "ALTER TABLE facts ADD COLUMN weight INTEGER; DROP TABLE turns; SELECT * FROM nowhere;";
        let error = migrate(&mut connection, "here", &with(Migration { sql, ..NEXT })).unwrap_err();
        assert!(matches!(error, MemoryError::Migration { from: 1, to: 2, .. }));
        assert_eq!(version(&connection, "here").unwrap(), 1);
        connection.execute_batch("SELECT * FROM turns").unwrap();
        assert!(connection.execute_batch("SELECT weight FROM facts").is_err());
    }
}
