//! Rows become records.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use duckdb::{Row, ToSql, params};
use serde_json::Value;

use super::Store;
use super::apply::numbered;
use crate::error::MemoryError;
use crate::project::ProjectKey;
use crate::records::{
    ContextItem, ConversationId, EarlierTurn, FactPlace, NewChunk, NewMessage, NewToolRun, NewTurn, Scope, Sent,
    StoredConversation, StoredMessage, StoredSent, StoredToolRun, StoredTurn, TurnId,
};

/// Something a person or an agent said.
pub(crate) struct Spoken {
    pub turn: TurnId,
    pub position: usize,
    pub conversation: ConversationId,
    pub project: ProjectKey,
    /// The turn's number in its conversation.
    pub sequence: u64,
    pub role: String,
    pub content: String,
    pub said_at: DateTime<Utc>,
}

/// Where a turn was.
pub(crate) struct TurnPlace {
    pub conversation: ConversationId,
    pub agent: String,
    pub notebook: String,
    /// In the conversation, from 1.
    pub number: usize,
    pub at: DateTime<Utc>,
}

/// A piece of a document, where it is kept.
pub(crate) struct StoredChunk {
    pub document: String,
    pub position: usize,
    pub place: FactPlace,
    pub chunk: NewChunk,
    pub kept_at: DateTime<Utc>,
}

impl Store {
    pub fn version(&self) -> Result<u32, MemoryError> {
        super::schema::version(&self.connection, &self.name)
    }

    pub fn count(&self, table: &str) -> Result<usize, MemoryError> {
        let rows = self.rows(&format!("SELECT count(*) FROM {table}"), &[], |row| row.get::<_, i64>(0))?;
        Ok(rows.first().map_or(0, |count| usize::try_from(*count).unwrap_or(0)))
    }

    pub fn has_rows(&self, table: &str) -> Result<bool, MemoryError> {
        Ok(!self.rows(&format!("SELECT 1 FROM {table} LIMIT 1"), &[], |_| Ok(()))?.is_empty())
    }

    pub fn has_conversation(&self, id: &ConversationId) -> Result<bool, MemoryError> {
        if self.sequences.contains_key(id) {
            return Ok(true);
        }
        let rows = self.rows("SELECT 1 FROM conversations WHERE id = ?", params![id.as_str()], |_| Ok(()))?;
        Ok(!rows.is_empty())
    }

    pub fn has_tool_run(&self, id: &str) -> Result<bool, MemoryError> {
        Ok(!self.rows("SELECT 1 FROM tool_runs WHERE id = ?", params![id], |_| Ok(()))?.is_empty())
    }

    /// Those with the newest turns first.
    pub fn conversations(&self, limit: usize) -> Result<Vec<StoredConversation>, MemoryError> {
        let sql = "WITH spoken AS (
                SELECT conversation, count(*) AS turns, arg_min(id, sequence) AS first, max(created_at) AS last
                FROM turns GROUP BY conversation),
            shown AS (
                SELECT c.*, c.rowid AS number, s.turns, s.first, s.last
                FROM conversations c LEFT JOIN spoken s ON s.conversation = c.id
                ORDER BY coalesce(s.last, c.started_at) DESC, c.rowid DESC LIMIT ?)
            SELECT shown.id, agent, notebook, epoch_us(started_at), epoch_us(reset_at), coalesce(turns, 0), project,
                t.id, t.request, epoch_us(last)
            FROM shown LEFT JOIN turns t ON t.id = shown.first
            ORDER BY coalesce(last, started_at) DESC, number DESC";
        self.rows(sql, params![bounded(limit)], |row| {
            let id: String = row.get(0)?;
            let first_request = match row.get::<_, Option<String>>(7)? {
                Some(turn) => self.vault.open_text("turns.request", &turn, row.get(8)?)?,
                None => String::new(),
            };
            Ok(StoredConversation {
                notebook: self.vault.open_text("conversations.notebook", &id, row.get(2)?)?,
                id: ConversationId::from(id),
                agent: row.get(1)?,
                started_at: time(row.get(3)?),
                reset_at: row.get::<_, Option<i64>>(4)?.map(time),
                turns: row.get::<_, i64>(5)? as usize,
                project: ProjectKey::from(row.get::<_, String>(6)?),
                first_request,
                last_turn_at: row.get::<_, Option<i64>>(9)?.map(time),
            })
        })
    }

    /// The last `limit` messages since the conversation's last reset, oldest first.
    pub fn recent_messages(
        &self,
        conversation: &ConversationId,
        limit: usize,
    ) -> Result<Vec<StoredMessage>, MemoryError> {
        let sql = "SELECT turn, position, role, content, json, epoch_us(created_at) FROM messages
            WHERE conversation = ? AND sequence > (SELECT max(reset_sequence) FROM conversations WHERE id = ?)
            ORDER BY sequence DESC, position DESC LIMIT ?";
        let id = conversation.as_str();
        let mut messages = self.rows(sql, params![id, id, bounded(limit)], |row| {
            let (turn, message) = self.message(row)?;
            let NewMessage { role, content, json } = message;
            Ok(StoredMessage { turn, role, content, json, created_at: time(row.get(5)?) })
        })?;
        messages.reverse();
        Ok(messages)
    }

    /// The last `limit` turns, oldest first, those before a reset included.
    pub fn turns(&self, conversation: &ConversationId, limit: usize) -> Result<Vec<StoredTurn>, MemoryError> {
        self.turns_between(conversation, 0, i64::MAX, limit)
    }

    /// One turn by its number, from 1.
    pub fn turn(&self, conversation: &ConversationId, number: usize) -> Result<Option<StoredTurn>, MemoryError> {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        Ok(self.turns_between(conversation, number, number, 1)?.pop())
    }

    fn turns_between(
        &self,
        conversation: &ConversationId,
        first: i64,
        last: i64,
        limit: usize,
    ) -> Result<Vec<StoredTurn>, MemoryError> {
        let sql = "SELECT id, request, answer, model, prompt, prompt_tokens, completion_tokens, milliseconds, epoch_us(created_at), sequence
            FROM turns WHERE conversation = ? AND sequence BETWEEN ? AND ? ORDER BY sequence DESC LIMIT ?";
        let mut oldest = i64::MAX;
        let mut turns = self.rows(sql, params![conversation.as_str(), first, last, bounded(limit)], |row| {
            oldest = oldest.min(row.get(9)?);
            self.stored_turn(conversation, row)
        })?;
        turns.reverse();
        self.fill_turns(&mut turns, conversation, oldest)?;
        Ok(turns)
    }

    /// What was said after turn `after`, oldest first: the last `limit` of those turns.
    pub fn earlier_turns(
        &self,
        conversation: &ConversationId,
        after: usize,
        limit: usize,
    ) -> Result<Vec<EarlierTurn>, MemoryError> {
        let sql = "WITH earlier AS (
                SELECT id, sequence, request, answer FROM turns WHERE conversation = ? AND sequence > ? ORDER BY sequence DESC LIMIT ?),
            last AS (
                SELECT turn, max(position) AS position, arg_max(json, position) AS json
                FROM messages WHERE conversation = ? AND sequence > ? GROUP BY turn)
            SELECT earlier.id, sequence, request, answer, position, json FROM earlier LEFT JOIN last ON last.turn = earlier.id ORDER BY sequence";
        let (id, after) = (conversation.as_str(), after as i64);
        self.rows(sql, params![id, after, bounded(limit), id, after], |row| {
            let turn: String = row.get(0)?;
            let ended = match row.get::<_, Option<String>>(5)? {
                Some(text) => {
                    let name = numbered(&turn, row.get::<_, i64>(4)? as usize);
                    json(self.vault.open_text("messages.json", &name, text)?)["ended"].as_str().map(str::to_owned)
                }
                None => None,
            };
            Ok(EarlierTurn {
                number: row.get::<_, i64>(1)? as usize,
                request: self.vault.open_text("turns.request", &turn, row.get(2)?)?,
                answer: self.vault.open_text("turns.answer", &turn, row.get(3)?)?,
                ended,
                id: TurnId::from(turn),
            })
        })
    }

    /// The newest note of that name.
    pub fn note(&self, conversation: &ConversationId, name: &str) -> Result<Option<String>, MemoryError> {
        let sql = "SELECT id, value FROM notes WHERE conversation = ? AND name = ? ORDER BY created_at DESC, rowid DESC LIMIT 1";
        let notes = self.rows(sql, params![conversation.as_str(), name], |row| {
            Ok(self.vault.open_text("notes.value", &row.get::<_, String>(0)?, row.get(1)?)?)
        })?;
        Ok(notes.into_iter().next())
    }

    /// The last `limit` entries of the ledger, oldest first.
    pub fn sent(&self, limit: usize) -> Result<Vec<StoredSent>, MemoryError> {
        let sql =
            "SELECT conversation, destination, model, purpose, bytes, prompt_tokens, completion_tokens, rows, columns,
                epoch_us(sent_at), id FROM sent ORDER BY sent_at DESC, rowid DESC LIMIT ?";
        let mut sent = self.rows(sql, params![bounded(limit)], |row| {
            let count = |index| row.get::<_, i64>(index).map(|count| count as usize);
            let columns = self.vault.open_text("sent.columns", &row.get::<_, String>(10)?, row.get(8)?)?;
            let sent = Sent {
                conversation: row.get::<_, Option<String>>(0)?.map(ConversationId::from),
                destination: row.get(1)?,
                model: row.get(2)?,
                purpose: row.get(3)?,
                bytes: count(4)?,
                prompt_tokens: count(5)?,
                completion_tokens: count(6)?,
                rows: count(7)?,
                columns: columns.lines().map(str::to_owned).collect(),
            };
            Ok(StoredSent { sent, at: time(row.get(9)?) })
        })?;
        sent.reverse();
        Ok(sent)
    }

    /// One turn, whole.
    pub fn find_turn(&self, id: &TurnId) -> Result<Option<StoredTurn>, MemoryError> {
        let sql = "SELECT id, request, answer, model, prompt, prompt_tokens, completion_tokens, milliseconds, epoch_us(created_at),
                sequence, conversation FROM turns WHERE id = ?";
        let found = self.rows(sql, params![id.as_str()], |row| {
            let conversation = ConversationId::from(row.get::<_, String>(10)?);
            Ok((self.stored_turn(&conversation, row)?, row.get::<_, i64>(9)?))
        })?;
        let Some((turn, sequence)) = found.into_iter().next() else { return Ok(None) };
        let conversation = turn.turn.conversation.clone();
        let mut turns = vec![turn];
        self.fill_turns(&mut turns, &conversation, sequence)?;
        Ok(turns.pop())
    }

    pub fn turn_place(&self, id: &TurnId) -> Result<Option<TurnPlace>, MemoryError> {
        let sql = "SELECT c.id, c.agent, c.notebook, t.sequence, epoch_us(t.created_at)
            FROM turns t JOIN conversations c ON c.id = t.conversation WHERE t.id = ?";
        let found = self.rows(sql, params![id.as_str()], |row| {
            let conversation: String = row.get(0)?;
            Ok(TurnPlace {
                agent: row.get(1)?,
                notebook: self.vault.open_text("conversations.notebook", &conversation, row.get(2)?)?,
                number: row.get::<_, i64>(3)? as usize,
                at: time(row.get(4)?),
                conversation: ConversationId::from(conversation),
            })
        })?;
        Ok(found.into_iter().next())
    }

    /// The last `limit` tool runs of a conversation, oldest first.
    pub fn tool_runs(&self, conversation: &ConversationId, limit: usize) -> Result<Vec<StoredToolRun>, MemoryError> {
        let sql = "SELECT id, tool, arguments, policy, status, result, milliseconds, epoch_us(started_at)
            FROM tool_runs WHERE conversation = ? ORDER BY started_at DESC, rowid DESC LIMIT ?";
        let mut runs = self.rows(sql, params![conversation.as_str(), bounded(limit)], |row| {
            let id: String = row.get(0)?;
            let run = NewToolRun {
                conversation: conversation.clone(),
                tool: row.get(1)?,
                arguments: json(self.vault.open_text("tool_runs.arguments", &id, row.get(2)?)?),
                policy: row.get(3)?,
            };
            Ok(StoredToolRun {
                run,
                status: row.get(4)?,
                result: self.vault.open_text("tool_runs.result", &id, row.get(5)?)?,
                milliseconds: row.get::<_, i64>(6)? as u64,
                started_at: time(row.get(7)?),
                id: id.into(),
            })
        })?;
        runs.reverse();
        Ok(runs)
    }

    /// One document's chunks in order.
    pub fn chunks_of(&self, document: &str, place: &FactPlace) -> Result<Vec<NewChunk>, MemoryError> {
        let sql = format!("{CHUNKS} WHERE document = ? AND scope = ? AND project = ? ORDER BY position");
        let (name, scope, project) = (self.vault.disguise(document), place.scope.name(), place.project.as_str());
        let chunks = self.rows(&sql, params![name, scope, project], |row| self.chunk(row))?;
        Ok(chunks.into_iter().map(|stored| stored.chunk).collect())
    }

    pub fn chunks(&self) -> Result<Vec<StoredChunk>, MemoryError> {
        let sql = format!("{CHUNKS} ORDER BY created_at, document, position");
        self.rows(&sql, &[], |row| self.chunk(row))
    }

    pub fn merged_bytes(&self, journal: &str) -> Result<u64, MemoryError> {
        let rows = self
            .rows("SELECT merged_bytes FROM journals WHERE name = ?", params![journal], |row| row.get::<_, i64>(0))?;
        Ok(rows.first().map_or(0, |bytes| u64::try_from(*bytes).unwrap_or(0)))
    }

    /// Messages and context of turns that follow one another, in one look at each table.
    fn fill_turns(
        &self,
        turns: &mut [StoredTurn],
        conversation: &ConversationId,
        first: i64,
    ) -> Result<(), MemoryError> {
        let last = first.saturating_add(i64::try_from(turns.len()).unwrap_or(i64::MAX));
        let bounds = params![conversation.as_str(), first, last];
        let sql = "SELECT turn, position, role, content, json FROM messages
            WHERE conversation = ? AND sequence BETWEEN ? AND ? ORDER BY sequence, position";
        let mut messages: HashMap<TurnId, Vec<NewMessage>> = HashMap::new();
        for (turn, message) in self.rows(sql, bounds, |row| self.message(row))? {
            messages.entry(turn).or_default().push(message);
        }
        let sql = "SELECT turn, position, kind, origin, title, text, score, tokens, dropped, details FROM context_items
            WHERE turn IN (SELECT id FROM turns WHERE conversation = ? AND sequence BETWEEN ? AND ?) ORDER BY position";
        let mut context: HashMap<TurnId, Vec<ContextItem>> = HashMap::new();
        for (turn, item) in self.rows(sql, bounds, |row| self.context_item(row))? {
            context.entry(turn).or_default().push(item);
        }
        for stored in turns {
            stored.turn.messages = messages.remove(&stored.id).unwrap_or_default();
            stored.turn.context = context.remove(&stored.id).unwrap_or_default();
        }
        Ok(())
    }

    fn stored_turn(&self, conversation: &ConversationId, row: &Row<'_>) -> duckdb::Result<StoredTurn> {
        let id: String = row.get(0)?;
        let turn = NewTurn {
            conversation: conversation.clone(),
            request: self.vault.open_text("turns.request", &id, row.get(1)?)?,
            answer: self.vault.open_text("turns.answer", &id, row.get(2)?)?,
            model: row.get(3)?,
            messages: Vec::new(),
            context: Vec::new(),
            prompt: self.vault.open_text("turns.prompt", &id, row.get(4)?)?,
            prompt_tokens: row.get::<_, i64>(5)? as usize,
            completion_tokens: row.get::<_, i64>(6)? as usize,
            milliseconds: row.get::<_, i64>(7)? as u64,
        };
        Ok(StoredTurn { id: TurnId::from(id), turn, created_at: time(row.get(8)?) })
    }

    /// Of a row that begins with turn, position, role, content and JSON.
    pub(super) fn message(&self, row: &Row<'_>) -> duckdb::Result<(TurnId, NewMessage)> {
        let turn: String = row.get(0)?;
        let name = numbered(&turn, row.get::<_, i64>(1)? as usize);
        let text = row
            .get::<_, Option<String>>(4)?
            .map(|text| self.vault.open_text("messages.json", &name, text))
            .transpose()?;
        let content = self.vault.open_text("messages.content", &name, row.get(3)?)?;
        Ok((TurnId::from(turn), NewMessage { role: row.get(2)?, content, json: text.map(json) }))
    }

    fn context_item(&self, row: &Row<'_>) -> duckdb::Result<(TurnId, ContextItem)> {
        let turn: String = row.get(0)?;
        let name = numbered(&turn, row.get::<_, i64>(1)? as usize);
        let details = row.get::<_, Option<String>>(9)?;
        let details = details.map(|text| self.vault.open_text("context_items.details", &name, text)).transpose()?;
        let item = ContextItem {
            kind: row.get(2)?,
            origin: self.vault.open_text("context_items.origin", &name, row.get(3)?)?,
            title: self.vault.open_text("context_items.title", &name, row.get(4)?)?,
            text: self.vault.open_text("context_items.text", &name, row.get(5)?)?,
            score: row.get(6)?,
            tokens: row.get::<_, i64>(7)? as usize,
            dropped: row.get(8)?,
            details: details.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default(),
        };
        Ok((TurnId::from(turn), item))
    }

    pub(super) fn chunk(&self, row: &Row<'_>) -> duckdb::Result<StoredChunk> {
        let position = row.get::<_, i64>(1)? as usize;
        let name = numbered(&row.get::<_, String>(0)?, position);
        let stands = self.vault.open_text("chunks.place", &name, row.get(7)?)?;
        Ok(StoredChunk {
            document: self.vault.open_text("chunks.name", &name, row.get(6)?)?,
            position,
            place: place(row, 4)?,
            chunk: NewChunk {
                title: self.vault.open_text("chunks.title", &name, row.get(2)?)?,
                text: self.vault.open_text("chunks.text", &name, row.get(3)?)?,
                place: serde_json::from_str(&stands).unwrap_or_default(),
            },
            kept_at: time(row.get(8)?),
        })
    }

    /// Planned anew each time: DuckDB plans with the statistics of the moment (how long the
    /// texts are, which values occur), and a kept plan goes on believing them as the table
    /// grows. Seen in 1.5.6: garbage from ORDER BY, and rows that a filter does not find.
    pub(crate) fn rows<T>(
        &self,
        sql: &str,
        values: &[&dyn ToSql],
        read: impl FnMut(&Row<'_>) -> duckdb::Result<T>,
    ) -> Result<Vec<T>, MemoryError> {
        if let Some(reason) = &self.given_up {
            return Err(MemoryError::Database { path: self.name.clone(), reason: reason.clone() });
        }
        let read_all = || self.connection.prepare(sql)?.query_map(values, read)?.collect::<duckdb::Result<_>>();
        read_all().map_err(|error| self.explain(&error))
    }
}

pub(super) const CHUNKS: &str =
    "SELECT document, position, title, text, scope, project, name, place, epoch_us(created_at) FROM chunks";

/// Of a scope's column and the project's after it.
pub(super) fn place(row: &Row<'_>, column: usize) -> duckdb::Result<FactPlace> {
    Ok(FactPlace::new(Scope::of(&row.get::<_, String>(column)?), &ProjectKey::from(row.get::<_, String>(column + 1)?)))
}

pub(super) fn time(microseconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(microseconds).unwrap_or_default()
}

/// Text that is not JSON (someone edited the database) comes back as a string.
fn json(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

fn bounded(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
