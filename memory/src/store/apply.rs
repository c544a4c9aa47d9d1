//! Events become rows. Each function is harmless when its event is already there.

use std::collections::{HashMap, HashSet};

use duckdb::types::{TimeUnit, Value};
use duckdb::{Connection, ToSql, params};

use crate::event::{Entry, Event};
use crate::records::{ConversationId, FactPlace, ModelCall, NewChunk, NewToolRun, NewTurn, Sent, ToolRunId, TurnId};
use crate::store::documents::append_chunks;
use crate::store::quoted;
use crate::vault::Vault;

/// The last turn's number of each conversation that was written to: looking for it in a large table takes longer than writing.
pub(super) type Sequences = HashMap<ConversationId, i64>;

/// Writes inside the caller's transaction.
pub(super) struct Writer<'a> {
    pub connection: &'a Connection,
    pub vault: &'a Vault,
    pub sequences: &'a mut Sequences,
    /// The events were made here and now, with identifiers that cannot be there yet.
    pub fresh: bool,
    /// Rows with an identifier that are there, of those that the events would make.
    there: HashSet<(&'static str, String)>,
}

impl<'a> Writer<'a> {
    pub fn new(connection: &'a Connection, vault: &'a Vault, sequences: &'a mut Sequences, fresh: bool) -> Self {
        Self { connection, vault, sequences, fresh, there: HashSet::new() }
    }

    /// All of `entries`, in order.
    pub fn apply_all(&mut self, entries: &[Entry]) -> duckdb::Result<()> {
        if !self.fresh {
            self.there = self.find_there(entries)?;
        }
        entries.iter().try_for_each(|entry| self.apply(entry))?;
        // No other table depends on them.
        self.change_facts(entries)
    }

    /// All but facts.
    fn apply(&mut self, entry: &Entry) -> duckdb::Result<()> {
        if let Some((table, id)) = entry.event.makes()
            && self.is_there(table, id)
        {
            return Ok(());
        }
        let at = timestamp(entry.at);
        match &entry.event {
            Event::ConversationStarted { id, agent, notebook, project } => {
                self.sequences.insert(id.clone(), 0);
                let notebook = self.vault.seal_text("conversations.notebook", id.as_str(), notebook)?;
                let insert =
                    "INSERT INTO conversations (id, agent, notebook, started_at, project) VALUES (?, ?, ?, ?, ?)";
                self.run(insert, params![id.as_str(), agent, notebook, at, project.as_str()])
            }
            Event::ConversationReset { conversation } => self.run(
                "UPDATE conversations SET reset_at = ?, reset_sequence =
                    (SELECT coalesce(max(sequence), 0) FROM turns WHERE conversation = ?) WHERE id = ?",
                params![at, conversation.as_str(), conversation.as_str()],
            ),
            Event::ProjectSeen { key, root } => {
                if self.connection.prepare("SELECT 1 FROM projects WHERE key = ?")?.exists(params![key.as_str()])? {
                    return Ok(());
                }
                let root = self.vault.seal_text("projects.root", key.as_str(), root)?;
                self.run("INSERT INTO projects VALUES (?, ?, ?)", params![key.as_str(), root, at])
            }
            Event::TurnAppended { id, turn } => self.append_turn(id, turn, &at),
            Event::ToolRunStarted { id, run } => self.start_tool_run(id, run, &at),
            Event::ToolRunFinished { id, status, result, milliseconds } => {
                let result = self.vault.seal_text("tool_runs.result", id.as_str(), result)?;
                self.run(
                    "UPDATE tool_runs SET status = ?, result = ?, milliseconds = ? WHERE id = ?",
                    params![status, result, signed(*milliseconds), id.as_str()],
                )
            }
            Event::FactRemembered { .. }
            | Event::FactForgotten { .. }
            | Event::FactConfirmed { .. }
            | Event::FactPinned { .. } => Ok(()),
            Event::ChunksReplaced { document, chunks, place } => self.replace_chunks(document, chunks, place, &at),
            Event::NoteWritten { id, conversation, name, value } => {
                let value = self.vault.seal_text("notes.value", id, value)?;
                self.run(
                    "INSERT INTO notes VALUES (?, ?, ?, ?, ?)",
                    params![id, conversation.as_str(), name, value, at],
                )
            }
            Event::Sent { id, sent } => self.note_sent(id, sent, &at),
            Event::ModelCalled { id, call } => self.note_call(id, call, &at),
            Event::DocumentsKept { documents, place } => self.keep_documents(documents, place, &at),
            Event::DocumentsRemoved { origins, place } => self.remove_documents(origins, place, &at),
        }
    }

    fn append_turn(&mut self, id: &TurnId, turn: &NewTurn, at: &Value) -> duckdb::Result<()> {
        let id = id.as_str();
        let (vault, conversation) = (self.vault, turn.conversation.as_str());
        let sequence = self.next_sequence(&turn.conversation)?;
        self.run(
            "INSERT INTO turns VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                id,
                conversation,
                sequence,
                vault.seal_text("turns.request", id, &turn.request)?,
                vault.seal_text("turns.answer", id, &turn.answer)?,
                turn.model,
                vault.seal_text("turns.prompt", id, &turn.prompt)?,
                turn.prompt_tokens as i64,
                turn.completion_tokens as i64,
                signed(turn.milliseconds),
                at
            ],
        )?;
        let mut messages = self.connection.appender("messages")?;
        for (position, new) in turn.messages.iter().enumerate() {
            let row = numbered(id, position);
            let json = new.json.as_ref().map(ToString::to_string);
            let json = json.as_deref().map(|json| vault.seal_text("messages.json", &row, json)).transpose()?;
            let content = vault.seal_text("messages.content", &row, &new.content)?;
            messages.append_row(params![id, conversation, sequence, position as i64, new.role, content, json, at])?;
        }
        messages.flush()?;
        let mut context = self.connection.appender("context_items")?;
        for (position, item) in turn.context.iter().enumerate() {
            let row = numbered(id, position);
            context.append_row(params![
                id,
                position as i64,
                item.kind,
                vault.seal_text("context_items.origin", &row, &item.origin)?,
                vault.seal_text("context_items.title", &row, &item.title)?,
                vault.seal_text("context_items.text", &row, &item.text)?,
                item.score,
                item.tokens as i64,
                item.dropped,
                vault.seal_text(
                    "context_items.details",
                    &row,
                    &serde_json::to_string(&item.details).unwrap_or_default()
                )?
            ])?;
        }
        context.flush()
    }

    fn start_tool_run(&self, id: &ToolRunId, run: &NewToolRun, at: &Value) -> duckdb::Result<()> {
        let id = id.as_str();
        let arguments = run.arguments.to_string();
        self.run(
            "INSERT INTO tool_runs VALUES (?, ?, ?, ?, ?, 'running', ?, 0, ?)",
            params![
                id,
                run.conversation.as_str(),
                run.tool,
                self.vault.seal_text("tool_runs.arguments", id, &arguments)?,
                run.policy,
                self.vault.seal_text("tool_runs.result", id, "")?,
                at
            ],
        )
    }

    fn replace_chunks(&self, document: &str, chunks: &[NewChunk], place: &FactPlace, at: &Value) -> duckdb::Result<()> {
        let name = self.vault.disguise(document);
        let (scope, project) = (place.scope.name(), place.project.as_str());
        let newer = "SELECT 1 FROM chunks WHERE document = ? AND scope = ? AND project = ? AND created_at > ? LIMIT 1";
        if !self.fresh && self.connection.prepare(newer)?.exists(params![name, scope, project, at])? {
            return Ok(());
        }
        self.run("DELETE FROM chunks WHERE document = ? AND scope = ? AND project = ?", params![name, scope, project])?;
        let mut rows = self.connection.appender("chunks")?;
        append_chunks(&mut rows, self.vault, document, chunks, place, at)?;
        rows.flush()
    }

    fn note_sent(&self, id: &str, sent: &Sent, at: &Value) -> duckdb::Result<()> {
        self.run(
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
                self.vault.seal_text("sent.columns", id, &sent.columns.join("\n"))?,
                at
            ],
        )
    }

    fn note_call(&self, id: &str, call: &ModelCall, at: &Value) -> duckdb::Result<()> {
        self.run(
            "INSERT INTO model_calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                id,
                call.conversation.as_str(),
                call.turn.as_ref().map(TurnId::as_str),
                call.model,
                call.purpose,
                call.prompt_tokens as i64,
                call.completion_tokens as i64,
                signed(call.milliseconds),
                at
            ],
        )
    }

    fn next_sequence(&mut self, conversation: &ConversationId) -> duckdb::Result<i64> {
        let last = match self.sequences.get(conversation) {
            Some(last) => *last,
            None => self
                .connection
                .prepare("SELECT coalesce(max(sequence), 0) FROM turns WHERE conversation = ?")?
                .query_row(params![conversation.as_str()], |row| row.get(0))?,
        };
        self.sequences.insert(conversation.clone(), last + 1);
        Ok(last + 1)
    }

    /// Whether it is there already; from now on it is.
    fn is_there(&mut self, table: &'static str, id: &str) -> bool {
        !self.fresh && !self.there.insert((table, id.to_owned()))
    }

    /// Those of the rows that entries would make, looked for once a table and not once an entry.
    fn find_there(&self, entries: &[Entry]) -> duckdb::Result<HashSet<(&'static str, String)>> {
        let mut named: HashMap<&'static str, Vec<&str>> = HashMap::new();
        for (table, id) in entries.iter().filter_map(|entry| entry.event.makes()) {
            named.entry(table).or_default().push(id);
        }
        let mut there = HashSet::new();
        for (table, ids) in named {
            let mut statement = self
                .connection
                .prepare(&format!("SELECT id FROM {table} WHERE id IN ({})", quoted(ids.into_iter())))?;
            for id in statement.query_map([], |row| row.get(0))? {
                there.insert((table, id?));
            }
        }
        Ok(there)
    }

    pub(super) fn run(&self, sql: &str, values: &[&dyn ToSql]) -> duckdb::Result<()> {
        self.connection.prepare(sql)?.execute(values).map(drop)
    }
}

/// Names a row that has no identifier of its own.
pub(super) fn numbered(owner: &str, position: usize) -> String {
    format!("{owner}#{position}")
}

pub(super) fn timestamp(microseconds: i64) -> Value {
    Value::Timestamp(TimeUnit::Microsecond, microseconds)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
