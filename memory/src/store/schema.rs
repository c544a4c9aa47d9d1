//! The shape of the database and how an older one becomes the present one.

use duckdb::Connection;

use crate::error::MemoryError;

/// A step from the version before to `version`.
pub(crate) struct Migration {
    pub version: u32,
    pub description: &'static str,
    pub sql: &'static str,
}

/// Append only: a released step is never edited. A table that gets columns and values in one step is
/// made anew: DuckDB does not commit an UPDATE of a table that the same transaction has altered.
///
/// There are no keys or indexes: one process writes, identifiers are random, the events that
/// write are checked for repetition, and DuckDB scans these tables faster than it maintains
/// an index on them.
pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration {
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
    },
    Migration {
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
    },
    Migration {
        version: 3,
        description: "projects; facts with scope, worth and history; where pieces of documents stand; encryption",
        sql: "
    CREATE TABLE projects (key VARCHAR NOT NULL, root VARCHAR NOT NULL, first_seen TIMESTAMP NOT NULL);
    CREATE TABLE vault (entry VARCHAR NOT NULL);
    ALTER TABLE conversations ADD COLUMN project VARCHAR DEFAULT '';
    CREATE TABLE facts_anew (
        id VARCHAR NOT NULL, text VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL, source VARCHAR NOT NULL,
        created_at TIMESTAMP NOT NULL, scope VARCHAR NOT NULL, project VARCHAR NOT NULL, kind VARCHAR NOT NULL,
        importance FLOAT NOT NULL, pinned BOOLEAN NOT NULL, turn VARCHAR, reason VARCHAR NOT NULL,
        confirmed_at TIMESTAMP NOT NULL, valid_until TIMESTAMP, superseded_by VARCHAR);
    INSERT INTO facts_anew SELECT id, text, fingerprint, source, created_at, 'global', '', 'fact', 0.7, false, NULL, '', created_at, NULL, NULL
        FROM facts;
    DROP TABLE facts;
    ALTER TABLE facts_anew RENAME TO facts;
    CREATE TABLE chunks_anew (
        document VARCHAR NOT NULL, position BIGINT NOT NULL, title VARCHAR NOT NULL, text VARCHAR NOT NULL,
        created_at TIMESTAMP NOT NULL, scope VARCHAR NOT NULL, project VARCHAR NOT NULL, name VARCHAR NOT NULL,
        place VARCHAR NOT NULL);
    INSERT INTO chunks_anew SELECT document, position, title, text, created_at, 'global', '', document, '{}' FROM chunks;
    DROP TABLE chunks;
    ALTER TABLE chunks_anew RENAME TO chunks;",
    },
    Migration {
        version: 4,
        description: "documents: what pieces were read from, and what that was then",
        sql: "
    CREATE TABLE documents (
        name VARCHAR NOT NULL, scope VARCHAR NOT NULL, project VARCHAR NOT NULL, record VARCHAR NOT NULL,
        kept_at TIMESTAMP NOT NULL);",
    },
    Migration {
        version: 5,
        description: "what models were asked beside turns",
        sql: "
    CREATE TABLE model_calls (
        id VARCHAR NOT NULL, conversation VARCHAR NOT NULL, turn VARCHAR, model VARCHAR NOT NULL, purpose VARCHAR NOT NULL,
        prompt_tokens BIGINT NOT NULL, completion_tokens BIGINT NOT NULL, milliseconds BIGINT NOT NULL, called_at TIMESTAMP NOT NULL);",
    },
];

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
        version: 99,
        description: "facts have a colour",
        sql: "ALTER TABLE turns ADD COLUMN colour INTEGER DEFAULT 5;",
    };

    /// A database in the shape of version 1, with a row in every table.
    fn first() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, "here", &MIGRATIONS[..1]).unwrap();
        connection
            .execute_batch(
                "INSERT INTO conversations VALUES ('c', 'codriver', 'a.ipynb', now()::TIMESTAMP, NULL, 0);
                INSERT INTO turns VALUES ('t', 'c', 1, 'why?', 'so', 'starter', 'why?', 1, 1, 1, now()::TIMESTAMP);
                INSERT INTO messages VALUES ('t', 'c', 1, 0, 'user', 'why?', NULL, now()::TIMESTAMP);
                INSERT INTO context_items VALUES ('t', 0, 'fact', 'user', '', 'a fact', 0.5, 3, NULL);
                INSERT INTO tool_runs VALUES ('r', 'c', 'sql', '{}', 'allowed', 'ok', '', 3, now()::TIMESTAMP);
                INSERT INTO facts VALUES ('a', 'b', 'c', 'user', now()::TIMESTAMP);
                INSERT INTO chunks VALUES ('notes.md', 0, 'A', 'text', now()::TIMESTAMP);
                INSERT INTO embeddings VALUES ('d', 'm', ''::BLOB);
                INSERT INTO journals VALUES ('j', 7);",
            )
            .unwrap();
        connection
    }

    fn with(last: Migration) -> Vec<Migration> {
        let copy =
            |Migration { version, description, sql }: &Migration| Migration { version: *version, description, sql };
        MIGRATIONS.iter().map(copy).chain([last]).collect()
    }

    #[test]
    fn the_first_schema_becomes_the_present_one_with_its_rows() {
        let mut connection = first();
        migrate(&mut connection, "here", MIGRATIONS).unwrap();
        let text = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
        let fact = "SELECT concat_ws(',', id, text, scope, project, kind, importance, pinned, reason, confirmed_at = created_at,
            valid_until IS NULL, superseded_by IS NULL, turn IS NULL) FROM facts";
        assert_eq!(text(fact), "a,b,global,,fact,0.7,false,,true,true,true,true");
        assert_eq!(
            text("SELECT concat_ws(',', document, position, title, text, scope, name, place) FROM chunks"),
            "notes.md,0,A,text,global,notes.md,{}"
        );
        assert_eq!(text("SELECT concat_ws(',', id, notebook, project) FROM conversations"), "c,a.ipynb,");
        for table in ["turns", "messages", "context_items", "tool_runs", "embeddings", "journals"] {
            assert_eq!(text(&format!("SELECT count(*)::VARCHAR FROM {table}")), "1", "{table}");
        }
    }

    #[test]
    fn an_older_schema_is_brought_up_to_date_with_its_rows() {
        let mut connection = first();
        for _ in 0..2 {
            migrate(&mut connection, "here", &with(NEXT)).unwrap();
            assert_eq!(version(&connection, "here").unwrap(), 99);
        }
        let colour: i32 = connection.query_row("SELECT colour FROM turns", [], |row| row.get(0)).unwrap();
        assert_eq!(colour, 5);
        let error = migrate(&mut connection, "here", &MIGRATIONS[..1]).unwrap_err();
        assert!(matches!(error, MemoryError::NewerSchema { found: 99, known: 1, .. }));
    }

    #[test]
    fn a_migration_that_fails_leaves_everything_as_it_was() {
        let mut connection = first();
        let sql = "ALTER TABLE facts ADD COLUMN colour INTEGER; DROP TABLE turns; SELECT * FROM nowhere;";
        let error = migrate(&mut connection, "here", &with(Migration { sql, ..NEXT })).unwrap_err();
        assert!(matches!(error, MemoryError::Migration { to: 99, .. }));
        assert_eq!(version(&connection, "here").unwrap(), MIGRATIONS.last().unwrap().version);
        connection.execute_batch("SELECT * FROM turns").unwrap();
        assert!(connection.execute_batch("SELECT colour FROM turns").is_err());
    }
}
