//! What Codriver remembers and how it is found again.
//!
//! One DuckDB file a user holds conversations, turns, tool runs, facts and documents; a second,
//! in-memory database holds what belongs to one notebook's run. A second process on the same
//! file writes to a journal instead, which the holder of the file merges. Search is by cosine and BM25, over
//! indexes that are caches of the databases and nothing more. Collections of documents have files of their own.

mod analytics;
mod backup;
pub mod chunk;
mod collections;
mod documents;
mod embedder;
mod embedding;
mod encryption;
mod error;
mod event;
mod facts;
mod index;
mod indexing;
pub mod ingest;
mod inspection;
mod journal;
mod knowledge;
mod known_facts;
mod known_vectors;
mod memory;
mod notes;
mod project;
mod rebuilding;
pub mod records;
mod redaction;
mod reranker;
mod sharing;
mod snapshot;
mod state;
mod store;
mod tables;
mod vault;
mod veil;

pub use analytics::{Price, Usage, UsageBy};
pub use collections::{
    BadLine, Collection, CollectionHit, CollectionLock, CollectionQuery, CollectionStatistics, Collections, Comparison,
    Condition, Finding, Metadata, Progress, Record, SearchMode, Shortfall, Staleness, Stored, parse_line,
};
pub use embedder::Embedder;
pub use encryption::Others;
pub use error::MemoryError;
pub use facts::{ExtractedFact, FactExtractor, RuleExtractor, reach, sentences};
pub use inspection::Holdings;
pub use memory::{Memory, MemoryOptions};
pub use project::{Project, ProjectKey};
pub use records::*;
pub use redaction::{Redactor, says_redacted};
pub use reranker::{RERANKED, Reranker, rerank};
pub use tables::{Cell, CellKind, MemoryColumn, MemoryTable, TABLES, TablePage, Whose};
pub use vault::{KEY_VARIABLE, MasterKey, Vault, VaultError};
