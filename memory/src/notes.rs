//! What is noted beside a conversation: what a person pinned, how earlier turns were condensed,
//! and what of it left the machine.

use std::collections::HashSet;

use codriver_vectors::dot;
use serde_json::Value;
use uuid::Uuid;

use crate::embedding::embed;
use crate::error::MemoryError;
use crate::event::Event;
use crate::index::words::words;
use crate::memory::Memory;
use crate::records::{ConversationId, ModelCall, Sent, StoredSent};

impl Memory {
    /// Keeps a value with a conversation, in place of the one of that name. Durable when it returns.
    pub fn write_note(&self, conversation: &ConversationId, name: &str, value: &Value) -> Result<(), MemoryError> {
        let value = self.redactor().redact_json(value).to_string();
        let (id, name) = (Uuid::new_v4().to_string(), name.to_owned());
        self.state().record(Event::NoteWritten { id, conversation: conversation.clone(), name, value })
    }

    /// The value of that name.
    pub fn note(&self, conversation: &ConversationId, name: &str) -> Result<Option<Value>, MemoryError> {
        let state = self.state();
        let text = state.store.note(conversation, name)?;
        let value: Option<Value> = text.and_then(|text| serde_json::from_str(&text).ok());
        Ok(value.map(|value| state.veil.lifted_in_json(&value)))
    }

    /// Notes what was sent to a remote model. Durable when it returns.
    pub fn record_sent(&self, sent: &Sent) -> Result<(), MemoryError> {
        self.state().record(Event::Sent { id: Uuid::new_v4().to_string(), sent: sent.clone() })
    }

    /// The last `limit` calls of remote models, oldest first.
    pub fn sent(&self, limit: usize) -> Result<Vec<StoredSent>, MemoryError> {
        self.state().store.sent(limit)
    }

    /// Notes what a model was asked beside the answers of turns. Durable when it returns.
    pub fn record_call(&self, call: &ModelCall) -> Result<(), MemoryError> {
        self.state().record(Event::ModelCalled { id: Uuid::new_v4().to_string(), call: call.clone() })
    }

    /// How much each text is like `query`, 0 to 1: the cosine of their meanings, or without an
    /// embedder the share of words they have in common (Jaccard).
    pub fn similarity(&self, query: &str, texts: &[&str]) -> Vec<f32> {
        let together: Vec<&str> = std::iter::once(query).chain(texts.iter().copied()).collect();
        let vectors = self.embedder().and_then(|embedder| embed(&*embedder, &together).ok());
        if let Some((query, others)) = vectors.as_deref().and_then(<[_]>::split_first) {
            return others.iter().map(|other| cosine(query, other).clamp(0.0, 1.0)).collect();
        }
        let words_of = |text: &str| words(text).into_iter().collect::<HashSet<String>>();
        let query = words_of(query);
        let share = |text: &&str| {
            let other = words_of(text);
            let all = query.union(&other).count().max(1);
            query.intersection(&other).count() as f32 / all as f32
        };
        texts.iter().map(share).collect()
    }
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    dot(one, other) / (dot(one, one) * dot(other, other)).sqrt().max(f32::MIN_POSITIVE)
}
