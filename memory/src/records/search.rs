//! Pieces of documents, what is found, and how much there is.

use std::fmt;

use chrono::{DateTime, Local, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::MemoryError;
use crate::index::Document;
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
    /// What was said in a project is the project's.
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
    /// What the reranker gave it, on its own scale; `None` where none read it. It decides the order, and `score` is then
    /// what stood at that place before.
    pub reranker: Option<f32>,
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
    /// Only what belongs to these; all when empty. What was said in a project is the project's.
    pub scopes: Vec<Scope>,
    /// Only what comes from there: a part of a document's or conversation's name, or of a fact's source.
    pub origin: Option<String>,
    /// Only what was said, learned or read then or later.
    pub since: Option<DateTime<Utc>>,
    /// Only what was said, learned or read before.
    pub before: Option<DateTime<Utc>>,
}

/// What can be found.
const KINDS: [&str; 3] = ["fact", "chunk", "message"];

impl SearchOptions {
    /// As people and models ask for it: a kind, a part of an origin, days (YYYY-MM-DD, from their beginnings here); what
    /// is empty asks for nothing.
    pub fn asked(kind: &str, origin: &str, since: &str, before: &str) -> Result<Self, MemoryError> {
        let [kind, origin, since, before] = [kind, origin, since, before].map(str::trim);
        let kinds: Vec<&'static str> = KINDS.into_iter().filter(|known| *known == kind).collect();
        if kinds.is_empty() && !kind.is_empty() {
            return Err(MemoryError::NoKind { text: kind.to_owned() });
        }
        let origin = (!origin.is_empty()).then(|| origin.to_owned());
        Ok(Self { kinds, origin, since: start_of(since)?, before: start_of(before)?, ..Self::default() })
    }

    /// By all but the origin.
    pub(crate) fn admits(&self, document: &Document) -> bool {
        let here = |id: &ConversationId| document.kind == "message" && id.as_str() == document.origin;
        (self.kinds.is_empty() || self.kinds.contains(&document.kind))
            && (self.scopes.is_empty() || self.scopes.contains(&document.scope))
            && self.since.is_none_or(|since| document.created_at.is_some_and(|at| at >= since))
            && self.before.is_none_or(|before| document.created_at.is_some_and(|at| at < before))
            && !self.without_conversation.as_ref().is_some_and(here)
    }

    pub(crate) fn admits_origin(&self, origin: &str) -> bool {
        self.origin.as_ref().is_none_or(|part| origin.contains(part.as_str()))
    }

    /// Whether it may let only a few through.
    pub(crate) fn is_narrow(&self) -> bool {
        *self != Self::default()
    }
}

fn start_of(day: &str) -> Result<Option<DateTime<Utc>>, MemoryError> {
    if day.is_empty() {
        return Ok(None);
    }
    let date = NaiveDate::parse_from_str(day, "%Y-%m-%d").map_err(|_| MemoryError::NotADay { text: day.to_owned() })?;
    let start = date.and_time(NaiveTime::MIN);
    // On the day that clocks go forward at midnight, there is no midnight.
    Ok(Some(start.and_local_timezone(Local).earliest().map_or_else(|| start.and_utc(), |start| start.to_utc())))
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

#[cfg(test)]
mod tests {
    use super::SearchOptions;

    #[test]
    fn what_is_asked_for_is_read_or_explained() {
        assert_eq!(SearchOptions::asked("", " ", "", "").unwrap(), SearchOptions::default());
        let asked = SearchOptions::asked("chunk", "notes.md", "2026-01-31", "2026-02-01").unwrap();
        assert_eq!((asked.kinds.as_slice(), asked.origin.as_deref()), (&["chunk"][..], Some("notes.md")));
        let hours = (asked.before.unwrap() - asked.since.unwrap()).num_hours();
        assert!((23..=25).contains(&hours), "{hours}");
        for (kind, since, reason) in
            [("turn", "", "(message)"), ("", "31.1.2026", "YYYY-MM-DD"), ("fact", "2026-02-30", "YYYY-MM-DD")]
        {
            let error = SearchOptions::asked(kind, "", since, "").unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
