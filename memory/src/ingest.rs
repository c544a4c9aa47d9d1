//! Files and pages into memory, and keeping up with them.
//!
//! What was asked for (a file, a folder, a pattern, an address) is a source; what it leads to are documents, each kept with
//! its size, time and digest, so that doing it again reads only what changed. An interrupt leaves what is done, and the
//! same request goes on from there. Whatever the program around has to offer (the network, a safe place to read PDF files
//! in, what git knows) comes through [`Surroundings`].

mod read;
mod report;
mod source;
mod sync;
mod walk;

use std::path::Path;

use crate::error::MemoryError;
use crate::memory::Memory;
use crate::records::{Scope, StoredDocument};

pub use report::{Problem, Progress, Report};
pub use sync::{add, embed, refresh, remove};

/// What reading asks of the program around it.
pub trait Surroundings: Sync {
    /// Relative paths start here; titles do too.
    fn workspace(&self) -> &Path;

    /// Whether the work should stop.
    fn is_cancelled(&self) -> bool;

    /// Whether a file's name says that it holds keys or passwords.
    fn is_secret(&self, path: &Path) -> bool;

    /// The commit that has this file with these contents, if it lies in a repository.
    fn commit(&self, path: &Path, contents: &[u8]) -> Option<String>;

    /// The text of a PDF file's pages, read where a hostile file does no harm.
    fn pdf_pages(&self, contents: &[u8]) -> Result<Vec<String>, String>;

    /// What is at an address.
    fn fetch(&self, url: &str) -> Result<Fetched, String>;
}

/// What came from an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub contents: Vec<u8>,
    /// As the server said; empty if it did not.
    pub content_type: String,
}

/// What to take in, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// A path, a pattern or an address, as typed.
    pub source: String,
    pub scope: Scope,
    /// A name to search within; empty for none.
    pub collection: String,
}

/// Why nothing could be taken in.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error("there is no {0}; name a file, a folder, a pattern such as 'src/**/*.rs', or an http address")]
    NotFound(String),
    #[error("{pattern:?} is not a pattern: {reason}")]
    Pattern { pattern: String, reason: String },
    #[error("nothing matches {0:?} but what is ignored, hidden or secret")]
    Nothing(String),
    #[error("nothing was added as {0:?}; %knowledge list shows what was")]
    Unknown(String),
    #[error("{path}: {reason}")]
    Refused { path: String, reason: String },
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// How a document stands to what it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    Current,
    Changed,
    Gone,
    /// Of what is not a file: only fetching would tell.
    Unknown,
}

/// Whether a document is still what its file says, without reading it.
pub fn freshness(document: &StoredDocument) -> Freshness {
    if source::is_address(&document.origin) {
        return Freshness::Unknown;
    }
    match read::stamp(Path::new(&document.origin)) {
        Ok(stamp) if stamp.is_like(document) => Freshness::Current,
        Ok(_) => Freshness::Changed,
        Err(_) => Freshness::Gone,
    }
}

/// The documents that `selection` names: an address, a path and all beneath it, a pattern, or a source as it was added.
pub fn select(memory: &Memory, selection: &str, workspace: &Path) -> Result<Vec<StoredDocument>, IngestError> {
    let named = source::Selection::new(selection, workspace);
    let mut documents = memory.documents(None)?;
    documents.retain(|document| named.admits(&document.origin) || named.is(&document.source));
    if documents.is_empty() { Err(IngestError::Unknown(selection.to_owned())) } else { Ok(documents) }
}
