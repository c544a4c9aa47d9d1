//! What memory takes in and gives back, as plain data.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// How far a fact or a document reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// This notebook's run; kept in memory and gone when the kernel ends.
    Session,
    /// All of this user's notebooks; kept in the database.
    Global,
}

impl Scope {
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Global => "global",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Who may write the database file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// This process holds the file: everything it writes is in the database at once.
    Durable,
    /// Another process holds the file. What this one writes goes to a journal beside it, which
    /// the holder, or the next one, merges. What it reads is its own work and the facts the
    /// holder knows.
    Shared {
        /// Who holds the file, in words.
        holder: String,
    },
    /// Nothing outlives the process.
    InMemory,
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Durable => formatter.write_str("durable"),
            Self::Shared { holder } => write!(formatter, "shared (the file is held by {holder})"),
            Self::InMemory => formatter.write_str("in memory only"),
        }
    }
}

/// A random identifier that holds in the database and in the journals alike.
macro_rules! identifier {
    ($(#[$documentation:meta])* $name:ident) => {
        $(#[$documentation])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub(crate) fn random() -> Self {
                Self(Uuid::new_v4().to_string())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

identifier! {
    /// One agent's talk in one notebook's run.
    ConversationId
}
identifier! {
    /// One request and its answer.
    TurnId
}
identifier! {
    /// One call of a tool.
    ToolRunId
}
identifier! {
    /// One remembered fact. [`Memory::forget`](crate::Memory::forget) takes a unique prefix too.
    FactId
}

impl FactId {
    /// The first eight characters: what lists show and people type.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

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

/// A piece of a document, as the caller cut it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewChunk {
    pub title: String,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StoredConversation {
    pub id: ConversationId,
    pub agent: String,
    pub notebook: String,
    pub started_at: DateTime<Utc>,
    /// When it was last reset. Turns from before stay on record and are no longer used.
    pub reset_at: Option<DateTime<Utc>>,
    pub turns: usize,
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

#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    pub id: FactId,
    pub text: String,
    pub scope: Scope,
    /// Who said it: an agent, `user`, a notebook, ...
    pub source: String,
    pub created_at: DateTime<Utc>,
}

/// Something found by [`Memory::search`](crate::Memory::search).
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The fact's, chunk's or message's own identifier.
    pub id: String,
    /// `fact`, `chunk` or `message`.
    pub kind: &'static str,
    pub scope: Scope,
    /// A fact's source, a chunk's document, a message's conversation.
    pub origin: String,
    pub title: String,
    pub text: String,
    /// 0 to 1: the mean of `cosine` and the share of the best possible BM25 for the query;
    /// that share alone where there is no embedder.
    pub score: f32,
    /// `None` without an embedder, or where it gave no usable vector.
    pub cosine: Option<f32>,
    /// `None` where no word of the query occurs.
    pub bm25: Option<f32>,
}

/// What a search leaves out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchOptions {
    /// Only these kinds (`fact`, `chunk`, `message`); all when empty.
    pub kinds: Vec<&'static str>,
    /// Not what was said here: the agent has it in its window already.
    pub without_conversation: Option<ConversationId>,
}

impl SearchOptions {
    pub(crate) fn admits(&self, kind: &str, origin: &str) -> bool {
        let excluded = |id: &ConversationId| kind == "message" && id.as_str() == origin;
        (self.kinds.is_empty() || self.kinds.contains(&kind)) && !self.without_conversation.as_ref().is_some_and(excluded)
    }
}

/// What memory holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    pub mode: Mode,
    /// The database file; `None` in memory.
    pub path: Option<String>,
    pub schema_version: u32,
    /// Of the database and its write-ahead log.
    pub bytes: u64,
    pub conversations: usize,
    pub turns: usize,
    pub messages: usize,
    pub tool_runs: usize,
    pub facts: usize,
    pub session_facts: usize,
    pub chunks: usize,
    pub session_chunks: usize,
    pub embeddings: usize,
    /// The embedder's name; without one, search is by words alone.
    pub embedder: Option<String>,
    /// Journals of other processes that still write, or that could not be merged.
    pub pending_journals: usize,
}
