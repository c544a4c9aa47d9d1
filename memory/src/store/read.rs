//! Rows become records.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use duckdb::{Row, ToSql, params};
use serde_json::Value;

use super::Store;
use crate::error::MemoryError;
use crate::records::{
    ContextItem, ConversationId, EarlierTurn, Fact, FactId, NewChunk, NewMessage, NewToolRun, NewTurn, Scope, Sent,
    StoredConversation, StoredMessage, StoredSent, StoredToolRun, StoredTurn, TurnId,
};

impl Store {
    pub fn version(&self) -> Result<u32, MemoryError> {
        super::schema::version(&self.connection, &self.name)
    }

    pub fn count(&self, table: &str) -> Result<usize, MemoryError> {
        let rows = self.rows(&format!("SELECT count(*) FROM {table}"), &[], |row| row.get::<_, i64>(0))?;
        Ok(rows.first().map_or(0, |count| usize::try_from(*count).unwrap_or(0)))
    }

    pub fn has_conversation(&self, id: &ConversationId) -> Result<bool, MemoryError> {
        let rows = self.rows("SELECT 1 FROM conversations WHERE id = ?", params![id.as_str()], |_| Ok(()))?;
        Ok(!rows.is_empty())
    }

    pub fn has_tool_run(&self, id: &str) -> Result<bool, MemoryError> {
        Ok(!self.rows("SELECT 1 FROM tool_runs WHERE id = ?", params![id], |_| Ok(()))?.is_empty())
    }

    /// Newest first.
    pub fn conversations(&self, limit: usize) -> Result<Vec<StoredConversation>, MemoryError> {
        let sql = "SELECT id, agent, notebook, epoch_us(started_at), epoch_us(reset_at),
                (SELECT count(*) FROM turns WHERE turns.conversation = conversations.id)
            FROM conversations ORDER BY started_at DESC, rowid DESC LIMIT ?";
        self.rows(sql, params![bounded(limit)], |row| {
            Ok(StoredConversation {
                id: ConversationId::from(row.get::<_, String>(0)?),
                agent: row.get(1)?,
                notebook: row.get(2)?,
                started_at: time(row.get(3)?),
                reset_at: row.get::<_, Option<i64>>(4)?.map(time),
                turns: row.get::<_, i64>(5)? as usize,
            })
        })
    }

    /// The last `limit` messages since the conversation's last reset, oldest first.
    pub fn recent_messages(&self, conversation: &ConversationId, limit: usize) -> Result<Vec<StoredMessage>, MemoryError> {
        let sql = "SELECT turn, role, content, json, epoch_us(created_at) FROM messages
            WHERE conversation = ? AND sequence > (SELECT max(reset_sequence) FROM conversations WHERE id = ?)
            ORDER BY sequence DESC, position DESC LIMIT ?";
        let id = conversation.as_str();
        let mut messages = self.rows(sql, params![id, id, bounded(limit)], |row| {
            Ok(StoredMessage {
                turn: TurnId::from(row.get::<_, String>(0)?),
                role: row.get(1)?,
                content: row.get(2)?,
                json: row.get::<_, Option<String>>(3)?.map(json),
                created_at: time(row.get(4)?),
            })
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
        let sql = "SELECT id, request, answer, model, prompt, prompt_tokens, completion_tokens, milliseconds, epoch_us(created_at)
            FROM turns WHERE conversation = ? AND sequence BETWEEN ? AND ? ORDER BY sequence DESC LIMIT ?";
        let mut turns = self.rows(sql, params![conversation.as_str(), first, last, bounded(limit)], |row| {
            let turn = NewTurn {
                conversation: conversation.clone(),
                request: row.get(1)?,
                answer: row.get(2)?,
                model: row.get(3)?,
                messages: Vec::new(),
                context: Vec::new(),
                prompt: row.get(4)?,
                prompt_tokens: row.get::<_, i64>(5)? as usize,
                completion_tokens: row.get::<_, i64>(6)? as usize,
                milliseconds: row.get::<_, i64>(7)? as u64,
            };
            Ok(StoredTurn { id: TurnId::from(row.get::<_, String>(0)?), turn, created_at: time(row.get(8)?) })
        })?;
        turns.reverse();
        for stored in &mut turns {
            stored.turn.messages = self.messages_of(&stored.id)?;
            stored.turn.context = self.context_of(&stored.id)?;
        }
        Ok(turns)
    }

    /// What was said after turn `after`, oldest first: the last `limit` of those turns.
    pub fn earlier_turns(&self, conversation: &ConversationId, after: usize, limit: usize) -> Result<Vec<EarlierTurn>, MemoryError> {
        let sql = "SELECT id, sequence, request, answer,
                (SELECT json FROM messages WHERE messages.turn = turns.id ORDER BY position DESC LIMIT 1)
            FROM turns WHERE conversation = ? AND sequence > ? ORDER BY sequence DESC LIMIT ?";
        let mut turns = self.rows(sql, params![conversation.as_str(), after as i64, bounded(limit)], |row| {
            let last = row.get::<_, Option<String>>(4)?.map(json);
            Ok(EarlierTurn {
                id: TurnId::from(row.get::<_, String>(0)?),
                number: row.get::<_, i64>(1)? as usize,
                request: row.get(2)?,
                answer: row.get(3)?,
                ended: last.and_then(|json| json["ended"].as_str().map(str::to_owned)),
            })
        })?;
        turns.reverse();
        Ok(turns)
    }

    /// The last `limit` tool runs of a conversation, oldest first.
    pub fn tool_runs(&self, conversation: &ConversationId, limit: usize) -> Result<Vec<StoredToolRun>, MemoryError> {
        let sql = "SELECT id, tool, arguments, policy, status, result, milliseconds, epoch_us(started_at)
            FROM tool_runs WHERE conversation = ? ORDER BY started_at DESC, rowid DESC LIMIT ?";
        let mut runs = self.rows(sql, params![conversation.as_str(), bounded(limit)], |row| {
            let run = NewToolRun {
                conversation: conversation.clone(),
                tool: row.get(1)?,
                arguments: json(row.get(2)?),
                policy: row.get(3)?,
            };
            Ok(StoredToolRun {
                id: row.get::<_, String>(0)?.into(),
                run,
                status: row.get(4)?,
                result: row.get(5)?,
                milliseconds: row.get::<_, i64>(6)? as u64,
                started_at: time(row.get(7)?),
            })
        })?;
        runs.reverse();
        Ok(runs)
    }

    /// Oldest first.
    pub fn facts(&self, scope: Scope) -> Result<Vec<Fact>, MemoryError> {
        let sql = "SELECT id, text, source, epoch_us(created_at) FROM facts ORDER BY created_at, rowid";
        self.rows(sql, &[], |row| {
            Ok(Fact {
                id: FactId::from(row.get::<_, String>(0)?),
                text: row.get(1)?,
                scope,
                source: row.get(2)?,
                created_at: time(row.get(3)?),
            })
        })
    }

    pub fn fact_by_fingerprint(&self, fingerprint: &str) -> Result<Option<FactId>, MemoryError> {
        let rows = self.rows("SELECT id FROM facts WHERE fingerprint = ?", params![fingerprint], |row| row.get::<_, String>(0))?;
        Ok(rows.into_iter().next().map(FactId::from))
    }

    /// One document's chunks in order.
    pub fn chunks_of(&self, document: &str) -> Result<Vec<NewChunk>, MemoryError> {
        let sql = "SELECT title, text FROM chunks WHERE document = ? ORDER BY position";
        self.rows(sql, params![document], |row| Ok(NewChunk { title: row.get(0)?, text: row.get(1)? }))
    }

    /// All chunks, with their document and position.
    pub fn chunks(&self) -> Result<Vec<(String, usize, NewChunk)>, MemoryError> {
        self.rows("SELECT document, position, title, text FROM chunks ORDER BY created_at, document, position", &[], |row| {
            let chunk = NewChunk { title: row.get(2)?, text: row.get(3)? };
            Ok((row.get(0)?, row.get::<_, i64>(1)? as usize, chunk))
        })
    }

    /// What people and agents said since the conversations' last resets: turn, position,
    /// conversation, role, content.
    pub fn spoken(&self) -> Result<Vec<(TurnId, usize, String, String, String)>, MemoryError> {
        let sql = "SELECT m.turn, m.position, m.conversation, m.role, m.content
            FROM messages m JOIN conversations c ON c.id = m.conversation
            WHERE m.role IN ('user', 'assistant') AND m.sequence > c.reset_sequence
            ORDER BY m.created_at, m.sequence, m.position";
        self.rows(sql, &[], |row| {
            let turn = TurnId::from(row.get::<_, String>(0)?);
            Ok((turn, row.get::<_, i64>(1)? as usize, row.get(2)?, row.get(3)?, row.get(4)?))
        })
    }

    pub fn vectors(&self, model: &str) -> Result<HashMap<String, Vec<f32>>, MemoryError> {
        let rows = self.rows("SELECT content, vector FROM embeddings WHERE model = ?", params![model], |row| {
            let bytes: Vec<u8> = row.get(1)?;
            let numbers = bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect();
            Ok((row.get::<_, String>(0)?, numbers))
        })?;
        Ok(rows.into_iter().collect())
    }

    pub fn merged_bytes(&self, journal: &str) -> Result<u64, MemoryError> {
        let rows = self.rows("SELECT merged_bytes FROM journals WHERE name = ?", params![journal], |row| row.get::<_, i64>(0))?;
        Ok(rows.first().map_or(0, |bytes| u64::try_from(*bytes).unwrap_or(0)))
    }

    fn messages_of(&self, turn: &TurnId) -> Result<Vec<NewMessage>, MemoryError> {
        let sql = "SELECT role, content, json FROM messages WHERE turn = ? ORDER BY position";
        self.rows(sql, params![turn.as_str()], |row| {
            let json = row.get::<_, Option<String>>(2)?.map(json);
            Ok(NewMessage { role: row.get(0)?, content: row.get(1)?, json })
        })
    }

    fn context_of(&self, turn: &TurnId) -> Result<Vec<ContextItem>, MemoryError> {
        let sql = "SELECT kind, origin, title, text, score, tokens, dropped, details FROM context_items WHERE turn = ? ORDER BY position";
        self.rows(sql, params![turn.as_str()], |row| {
            Ok(ContextItem {
                kind: row.get(0)?,
                origin: row.get(1)?,
                title: row.get(2)?,
                text: row.get(3)?,
                score: row.get(4)?,
                tokens: row.get::<_, i64>(5)? as usize,
                dropped: row.get(6)?,
                details: row
                    .get::<_, Option<String>>(7)?
                    .and_then(|json| serde_json::from_str(&json).ok())
                    .unwrap_or_default(),
            })
        })
    }

    /// The newest note of that name.
    pub fn note(&self, conversation: &ConversationId, name: &str) -> Result<Option<String>, MemoryError> {
        let sql = "SELECT value FROM notes WHERE conversation = ? AND name = ? ORDER BY created_at DESC, rowid DESC LIMIT 1";
        Ok(self.rows(sql, params![conversation.as_str(), name], |row| row.get(0))?.pop())
    }

    /// The last `limit` entries of the ledger, oldest first.
    pub fn sent(&self, limit: usize) -> Result<Vec<StoredSent>, MemoryError> {
        let sql = "SELECT conversation, destination, model, purpose, bytes, prompt_tokens, completion_tokens, rows, columns,
                epoch_us(sent_at) FROM sent ORDER BY sent_at DESC, rowid DESC LIMIT ?";
        let mut sent = self.rows(sql, params![bounded(limit)], |row| {
            let count = |index| row.get::<_, i64>(index).map(|count| count as usize);
            let columns: String = row.get(8)?;
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

    /// Planned anew each time: DuckDB plans with the statistics of the moment (how long the
    /// texts are, which values occur), and a kept plan goes on believing them as the table
    /// grows. Seen in 1.5.6: garbage from ORDER BY, and rows that a filter does not find.
    fn rows<T>(
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

fn time(microseconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(microseconds).unwrap_or_default()
}

/// Text that is not JSON (someone edited the database) comes back as a string.
fn json(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

fn bounded(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
