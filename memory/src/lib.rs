//! What Codriver remembers and how it is found again.
//!
//! One DuckDB file a user holds conversations, turns, tool runs, facts and documents; a second,
//! in-memory database holds what belongs to one notebook's run. A second process on the same
//! file writes to a journal instead, which the holder of the file merges. Search is exact cosine and
//! BM25 over an index that is a cache of the databases and nothing more.

mod embedder;
mod error;
mod event;
mod index;
mod journal;
mod knowledge;
mod known_facts;
mod memory;
mod notes;
pub mod records;
mod sharing;
mod store;

pub use embedder::Embedder;
pub use error::MemoryError;
pub use memory::Memory;
pub use records::*;
