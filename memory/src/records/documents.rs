//! Documents that were taken in: what they were read from, and what they were then.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::records::{NewChunk, Scope};

/// A document that is kept in pieces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDocument {
    /// What it is found again by: an absolute path or an address.
    pub origin: String,
    pub scope: Scope,
    /// What a person asked for and this is a part of: an absolute path, a pattern of such paths, an address.
    pub source: String,
    /// A name to search within; empty for none.
    pub collection: String,
    /// What it is, in words: `Rust`, `Markdown`, ...
    pub kind: String,
    pub chunks: usize,
    pub bytes: u64,
    /// When its file was last changed, in microseconds since 1970.
    pub modified: Option<i64>,
    /// Names the contents.
    pub digest: String,
    /// The commit that was checked out, with a `+` where the file was not as it is there.
    pub commit: Option<String>,
    pub read_at: DateTime<Utc>,
}

/// A document to be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDocument {
    pub document: StoredDocument,
    /// In place of those it had; `None` where its contents have not changed.
    pub chunks: Option<Vec<NewChunk>>,
}
