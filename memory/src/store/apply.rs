//! Events become rows. Each function is harmless when its event is already there.

use duckdb::types::{TimeUnit, Value};
use duckdb::{Connection, ToSql, params};

use crate::event::{Entry, Event, fingerprint};
use crate::records::{ConversationId, NewTurn, TurnId};

/// Writes `entry` inside the caller's transaction.
pub(super) fn apply(connection: &Connection, entry: &Entry) -> duckdb::Result<()> {
    let at = Value::Timestamp(TimeUnit::Microsecond, entry.at);
    match &entry.event {
        Event::ConversationStarted { id, agent, notebook } => insert_once(
            connection,
            "SELECT 1 FROM conversations WHERE id = ?",
            id.as_str(),
            "INSERT INTO conversations (id, agent, notebook, started_at) VALUES (?, ?, ?, ?)",
            params![id.as_str(), agent, notebook, at],
        ),
        Event::ConversationReset { conversation } => run(
            connection,
            "UPDATE conversations SET reset_at = ?, reset_sequence =
                (SELECT coalesce(max(sequence), 0) FROM turns WHERE conversation = ?) WHERE id = ?",
            params![at, conversation.as_str(), conversation.as_str()],
        ),
        Event::TurnAppended { id, turn } => append_turn(connection, id, turn, &at),
        Event::ToolRunStarted { id, run } => insert_once(
            connection,
            "SELECT 1 FROM tool_runs WHERE id = ?",
            id.as_str(),
            "INSERT INTO tool_runs VALUES (?, ?, ?, ?, ?, 'running', '', 0, ?)",
            params![id.as_str(), run.conversation.as_str(), run.tool, run.arguments.to_string(), run.policy, at],
        ),
        Event::ToolRunFinished { id, status, result, milliseconds } => run(
            connection,
            "UPDATE tool_runs SET status = ?, result = ?, milliseconds = ? WHERE id = ?",
            params![status, result, signed(*milliseconds), id.as_str()],
        ),
        Event::FactRemembered { id, text, source } => {
            let fingerprint = fingerprint(text);
            insert_once(
                connection,
                "SELECT 1 FROM facts WHERE fingerprint = ?",
                &fingerprint,
                "INSERT INTO facts VALUES (?, ?, ?, ?, ?)",
                params![id.as_str(), text, fingerprint, source, at],
            )
        }
        // A journal may be merged long after it was written: what was remembered anew since stays.
        Event::FactForgotten { fingerprint } => {
            run(connection, "DELETE FROM facts WHERE fingerprint = ? AND created_at <= ?", params![fingerprint, at])
        }
        Event::ChunksReplaced { document, chunks } => {
            let newer = "SELECT 1 FROM chunks WHERE document = ? AND created_at > ? LIMIT 1";
            if connection.prepare(newer)?.exists(params![document, at])? {
                return Ok(());
            }
            run(connection, "DELETE FROM chunks WHERE document = ?", params![document])?;
            let mut rows = connection.appender("chunks")?;
            for (position, chunk) in chunks.iter().enumerate() {
                rows.append_row(params![document, position as i64, chunk.title, chunk.text, at])?;
            }
            rows.flush()
        }
        Event::NoteWritten { id, conversation, name, value } => insert_once(
            connection,
            "SELECT 1 FROM notes WHERE id = ?",
            id,
            "INSERT INTO notes VALUES (?, ?, ?, ?, ?)",
            params![id, conversation.as_str(), name, value, at],
        ),
        Event::Sent { id, sent } => insert_once(
            connection,
            "SELECT 1 FROM sent WHERE id = ?",
            id,
            "INSERT INTO sent VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                id,
                sent.conversation.as_ref().map(ConversationId::as_str),
                sent.destination,
                sent.model,
                sent.purpose,
                sent.bytes as i64,
                sent.prompt_tokens as i64,
                sent.completion_tokens as i64,
                sent.rows as i64,
                sent.columns.join("\n"),
                at
            ],
        ),
    }
}

fn append_turn(connection: &Connection, id: &TurnId, turn: &NewTurn, at: &Value) -> duckdb::Result<()> {
    let id = id.as_str();
    if connection.prepare("SELECT 1 FROM turns WHERE id = ?")?.exists(params![id])? {
        return Ok(());
    }
    let conversation = turn.conversation.as_str();
    let sequence: i64 = connection
        .prepare("SELECT coalesce(max(sequence), 0) + 1 FROM turns WHERE conversation = ?")?
        .query_row(params![conversation], |row| row.get(0))?;
    run(
        connection,
        "INSERT INTO turns VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            id,
            conversation,
            sequence,
            turn.request,
            turn.answer,
            turn.model,
            turn.prompt,
            turn.prompt_tokens as i64,
            turn.completion_tokens as i64,
            signed(turn.milliseconds),
            at
        ],
    )?;
    let mut messages = connection.appender("messages")?;
    for (position, new) in turn.messages.iter().enumerate() {
        let json = new.json.as_ref().map(ToString::to_string);
        messages.append_row(params![id, conversation, sequence, position as i64, new.role, new.content, json, at])?;
    }
    messages.flush()?;
    let mut context = connection.appender("context_items")?;
    for (position, item) in turn.context.iter().enumerate() {
        context.append_row(params![
            id,
            position as i64,
            item.kind,
            item.origin,
            item.title,
            item.text,
            item.score,
            item.tokens as i64,
            item.dropped,
            serde_json::to_string(&item.details).ok()
        ])?;
    }
    context.flush()
}

fn insert_once(connection: &Connection, exists: &str, key: &str, insert: &str, values: &[&dyn ToSql]) -> duckdb::Result<()> {
    if connection.prepare(exists)?.exists(params![key])? { Ok(()) } else { run(connection, insert, values) }
}

fn run(connection: &Connection, sql: &str, values: &[&dyn ToSql]) -> duckdb::Result<()> {
    connection.prepare(sql)?.execute(values).map(drop)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
