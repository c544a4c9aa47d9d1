//! Everything that changes durable memory, as values: the database applies them, a journal
//! keeps them as lines until a database can.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::records::{ConversationId, FactId, NewChunk, NewToolRun, NewTurn, Sent, ToolRunId, TurnId};

/// One change. Applying it twice is the same as applying it once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    ConversationStarted { id: ConversationId, agent: String, notebook: String },
    ConversationReset { conversation: ConversationId },
    TurnAppended { id: TurnId, turn: NewTurn },
    ToolRunStarted { id: ToolRunId, run: NewToolRun },
    ToolRunFinished { id: ToolRunId, status: String, result: String, milliseconds: u64 },
    FactRemembered { id: FactId, text: String, source: String },
    /// By content, since another process may know the same fact by another identifier.
    FactForgotten { fingerprint: String },
    ChunksReplaced { document: String, chunks: Vec<NewChunk> },
    /// Replaces the note of that name; those before stay on record.
    NoteWritten { id: String, conversation: ConversationId, name: String, value: String },
    Sent { id: String, sent: Sent },
}

/// An event and when it happened, in microseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub at: i64,
    pub event: Event,
}

impl Entry {
    pub fn now(event: Event) -> Self {
        Self { at: chrono::Utc::now().timestamp_micros(), event }
    }
}

/// Equal for texts that say the same but for case, spacing and a final full stop.
pub(crate) fn fingerprint(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    digest(words.join(" ").trim_end_matches(['.', '!']))
}

/// Names a text by its content; what vectors are kept by.
pub(crate) fn digest(text: &str) -> String {
    let bytes = Sha256::digest(text.as_bytes());
    bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
