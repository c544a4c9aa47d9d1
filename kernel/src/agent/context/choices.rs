//! What a person decided about a conversation's context: always in, or never.

use codriver_memory::{ContextItem, ConversationId, Memory, MemoryError};
use serde::{Deserialize, Serialize};

const NOTE: &str = "choices";

/// Kept with the conversation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Choices {
    /// As they were when they were pinned: found again or not, they are in.
    pub pins: Vec<ContextItem>,
    pub drops: Vec<Dropped>,
}

/// Something that is left out from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    pub key: String,
    pub title: String,
}

impl Choices {
    pub fn load(memory: &Memory, conversation: &ConversationId) -> Result<Self, MemoryError> {
        let note = memory.note(conversation, NOTE)?;
        Ok(note.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default())
    }

    pub fn save(&self, memory: &Memory, conversation: &ConversationId) -> Result<(), MemoryError> {
        memory.write_note(conversation, NOTE, &serde_json::json!(self))
    }

    pub fn pin(&mut self, item: &ContextItem) {
        self.forget(&item.details.key);
        self.pins.push(ContextItem { dropped: None, ..item.clone() });
    }

    pub fn drop_item(&mut self, item: &ContextItem) {
        self.forget(&item.details.key);
        let title = if item.title.is_empty() { item.text.clone() } else { item.title.clone() };
        self.drops.push(Dropped { key: item.details.key.clone(), title });
    }

    /// Neither pinned nor dropped any more; whether it was.
    pub fn forget(&mut self, key: &str) -> bool {
        let before = self.pins.len() + self.drops.len();
        self.pins.retain(|pin| pin.details.key != key);
        self.drops.retain(|dropped| dropped.key != key);
        before != self.pins.len() + self.drops.len()
    }

    pub fn is_pinned(&self, key: &str) -> bool {
        self.pins.iter().any(|pin| pin.details.key == key)
    }

    pub fn is_dropped(&self, key: &str) -> bool {
        self.drops.iter().any(|dropped| dropped.key == key)
    }
}
