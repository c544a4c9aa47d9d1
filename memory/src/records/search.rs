//! Pieces of documents, what is found, and how much there is.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::records::{ConversationId, Mode, Scope};

/// A piece of a document, as the caller cut it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewChunk {
    pub title: String,
    pub text: String,
    /// Where in the document it stands.
    #[serde(default)]
    pub place: ChunkPlace,
}

impl NewChunk {
    /// A piece whose place is not known.
    pub fn new(title: impl Into<String>, text: impl Into<String>) -> Self {
        Self { title: title.into(), text: text.into(), place: ChunkPlace::default() }
    }
}

/// Where a piece of a document comes from, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkPlace {
    /// The first line and the last, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<(u32, u32)>,
    /// The commit the file was read at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The notebook's cell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<String>,
    /// The page, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl fmt::Display for ChunkPlace {
    /// Behind an origin: `:10-20`, `#cell-3`, `#page=7`; nothing where only the document is known.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(cell) = &self.cell {
            return write!(formatter, "#cell-{cell}");
        }
        if let Some(page) = self.page {
            return write!(formatter, "#page={page}");
        }
        match self.lines {
            Some((first, last)) if first == last => write!(formatter, ":{first}"),
            Some((first, last)) => write!(formatter, ":{first}-{last}"),
            None => Ok(()),
        }
    }
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
    /// 0 to 1: the mean of `cosine` and the share of the best possible BM25 for the query, times
    /// `weight`; that share alone where there is no embedder.
    pub score: f32,
    /// What scope, age, importance and pinning make of it: near 1.
    pub weight: f32,
    /// `None` without an embedder, or where it gave no usable vector.
    pub cosine: Option<f32>,
    /// `None` where no word of the query occurs.
    pub bm25: Option<f32>,
}

/// Where something that was found comes from, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Provenance {
    /// The document, or the notebook that it was said in.
    pub origin: String,
    /// Where in the document.
    pub place: ChunkPlace,
    /// Who said it, of what was said: `user`, an agent, ...
    pub by: String,
    /// The turn's number in its conversation, from 1.
    pub turn: Option<usize>,
    pub conversation: Option<ConversationId>,
    /// When it was said, or read.
    pub at: Option<DateTime<Utc>>,
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

/// How far an embedding model is with what can be found here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingProgress {
    pub model: String,
    /// Texts with a vector of this model, or that it has none for.
    pub done: usize,
    pub total: usize,
    /// Texts that the process which holds the database embeds.
    pub left_to_holder: usize,
    /// A thread of this process embeds the rest.
    pub in_background: bool,
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
    /// Whether contents are sealed before they are written.
    pub encrypted: bool,
    pub conversations: usize,
    pub turns: usize,
    pub messages: usize,
    pub tool_runs: usize,
    /// Facts that hold, of all projects and everywhere.
    pub facts: usize,
    /// Of this project.
    pub project_facts: usize,
    pub session_facts: usize,
    pub chunks: usize,
    pub session_chunks: usize,
    pub embeddings: usize,
    /// Of which model how many of these are, the most first.
    pub embeddings_by_model: Vec<(String, usize)>,
    /// The embedder's name; without one, search is by words alone.
    pub embedder: Option<String>,
    /// Journals of other processes that still write, or that could not be merged.
    pub pending_journals: usize,
}
