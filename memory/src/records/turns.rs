//! Conversations, turns and what tools did.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::project::ProjectKey;
use crate::records::{ConversationId, ToolRunId, TurnId};

/// A finished turn, as the agent hands it over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewTurn {
    pub conversation: ConversationId,
    /// What the person asked.
    pub request: String,
    /// What the agent said in the end.
    pub answer: String,
    /// The model's name, as `--model` takes it.
    pub model: String,
    /// Everything said in the turn, in order: the request, calls, results, the answer.
    pub messages: Vec<NewMessage>,
    /// What was retrieved for the turn, included in the prompt or dropped.
    pub context: Vec<ContextItem>,
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
    pub milliseconds: u64,
    /// The text the model saw, to the letter.
    pub prompt: String,
}

/// One message of a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewMessage {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    pub content: String,
    /// The whole message as the caller's own type serializes, so that it comes back complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
}

/// One thing that was retrieved for a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContextItem {
    /// What it is: `fact`, `chunk`, `message`, `table`, `error`, `turn`, ...
    pub kind: String,
    /// Where it comes from: a path, a conversation, a table, ...
    pub origin: String,
    pub title: String,
    pub text: String,
    /// How well it matched, 0 to 1; `None` for what is always there.
    pub score: Option<f32>,
    pub tokens: usize,
    /// Why it was left out of the prompt; `None` when it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<String>,
    #[serde(flatten)]
    pub details: ItemDetails,
}

/// How an item came before a model, for whoever asks. Empty in what older versions kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ItemDetails {
    /// Names the item among those of its kind, from turn to turn.
    pub key: String,
    /// The part of the window whose share it is paid from: `pinned`, `turns`, `session`, ...
    pub section: String,
    /// Why it was considered.
    pub reason: String,
    /// Its place in the order in which its section is filled, from 1.
    pub rank: usize,
    /// By meaning, where it was searched for.
    pub cosine: Option<f32>,
    /// By words, where it was searched for.
    pub bm25: Option<f32>,
    /// By the reranker, where one read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reranker: Option<f32>,
    /// Where a person can look at it: a path, an address.
    pub link: Option<String>,
}

/// What left the machine in one call of a remote model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    pub conversation: Option<ConversationId>,
    /// The host that was sent it.
    pub destination: String,
    pub model: String,
    /// What it was sent for: `turn`, `compaction`, ...
    pub purpose: String,
    pub bytes: usize,
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
    /// Rows of the person's tables of which values were in it, put there by the context or a tool.
    pub rows: usize,
    /// Their columns: `table.column`, or `tool: column` for a tool's result.
    pub columns: Vec<String>,
}

/// A call of a model that is no part of a turn's answer: what it cost counts as much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCall {
    pub conversation: ConversationId,
    /// The turn that it was about.
    pub turn: Option<TurnId>,
    pub model: String,
    /// What it was asked for: `facts`, ...
    pub purpose: String,
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
    pub milliseconds: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StoredSent {
    pub sent: Sent,
    pub at: DateTime<Utc>,
}

/// A tool call that is about to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewToolRun {
    pub conversation: ConversationId,
    pub tool: String,
    pub arguments: Value,
    /// The policy's decision, in words (`allowed: reads only`, `asked: yes`, `denied: ...`).
    pub policy: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StoredConversation {
    pub id: ConversationId,
    pub agent: String,
    pub notebook: String,
    pub project: ProjectKey,
    pub started_at: DateTime<Utc>,
    /// When it was last reset. Turns from before stay on record and are no longer used.
    pub reset_at: Option<DateTime<Utc>>,
    pub turns: usize,
    /// The first request, which people know it by; empty where nothing was asked yet.
    pub first_request: String,
    /// When the last turn was.
    pub last_turn_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StoredMessage {
    pub turn: TurnId,
    pub role: String,
    pub content: String,
    pub json: Option<Value>,
    pub created_at: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StoredTurn {
    pub id: TurnId,
    /// The turn as it was appended.
    pub turn: NewTurn,
    pub created_at: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StoredToolRun {
    pub id: ToolRunId,
    pub run: NewToolRun,
    /// `running`, what [`Memory::finish_tool_run`](crate::Memory::finish_tool_run) was told,
    /// or `lost` when the process ended before the tool did.
    pub status: String,
    pub result: String,
    pub milliseconds: u64,
    pub started_at: DateTime<Utc>,
}

/// What was said in a turn, without everything around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierTurn {
    pub id: TurnId,
    /// Its number in the conversation, from 1.
    pub number: usize,
    pub request: String,
    pub answer: String,
    /// `failed` or `interrupted`, where it did not end well.
    pub ended: Option<String>,
}
