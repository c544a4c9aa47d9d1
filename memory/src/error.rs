//! What can go wrong, in words a person can act on.

use crate::records::Scope;

/// Why memory could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    #[error(
        "cannot keep memory in {path}: {reason}. Make the folder writable, free some space, or choose another place for memory"
    )]
    Unwritable { path: String, reason: String },
    #[error(
        "{path} cannot be read as Codriver's memory: {reason}. Nothing was changed. To start with an empty memory, \
         move it aside: mv '{path}' '{path}.damaged' (and '{path}.wal', if there is one, to '{path}.damaged.wal')"
    )]
    Unreadable { path: String, reason: String },
    #[error(
        "the newest changes to {path}, in {path}.wal, cannot be read: {reason}. Nothing was changed. To go on without them, \
         move that file aside: mv '{path}.wal' '{path}.damaged.wal'"
    )]
    UnreadableLog { path: String, reason: String },
    #[error(
        "{path} was written by a newer Codriver (memory schema {found}, this one knows up to {known}). Nothing was changed. \
         Update Codriver, or choose another place for memory"
    )]
    NewerSchema { path: String, found: u32, known: u32 },
    #[error("{path} could not be brought from memory schema {from} to {to}: {reason}. It was left as it was")]
    Migration { path: String, from: u32, to: u32, reason: String },
    #[error(
        "{path} is encrypted, and there is no key for it. Nothing was changed. Set CODRIVER_MEMORY_KEY to its key, or put the key into \
         the system keyring: codriver memory key --keep"
    )]
    KeyMissing { path: String },
    #[error(
        "{path} is encrypted, and the key given (CODRIVER_MEMORY_KEY, or the system keyring's) is not its key. Nothing was changed"
    )]
    WrongKey { path: String },
    #[error(
        "this is no key for a memory: {0}. A key is 64 hexadecimal digits, or a passphrase of at least 8 characters"
    )]
    InvalidKey(String),
    #[error("the system keyring does not keep the key: {0}. Set CODRIVER_MEMORY_KEY instead")]
    Keyring(String),
    #[error(
        "{path}, which holds memory's sealed key, cannot be read: {reason}. Nothing was changed. Take it from a backup, or move it aside"
    )]
    Vault { path: String, reason: String },
    #[error("{path} is not encrypted. codriver memory encrypt turns encryption on")]
    NotEncrypted { path: String },
    #[error("{path} is in use ({holder}). End the other notebooks that use it and try again")]
    Busy { path: String, holder: String },
    #[error("there is no folder {path}; make it first, or choose another place")]
    NoFolder { path: String },
    #[error("{path} is not a backup of a memory: {reason}. Nothing was changed")]
    NoBackup { path: String, reason: String },
    #[error("memory ({path}): {reason}")]
    Database { path: String, reason: String },
    #[error(
        "the memory journal {path} could not be written: {reason}. Free some space or make the folder writable; what was acknowledged before is safe"
    )]
    Journal { path: String, reason: String },
    #[error("memory knows no {what} {id}")]
    Unknown { what: &'static str, id: String },
    #[error("{prefix:?} is the beginning of {} {what} ({}); type more of it", matches.len(), matches.join(", "))]
    Ambiguous { what: &'static str, prefix: String, matches: Vec<String> },
    #[error(
        "{prefix:?} is too little to name a {what}: type at least the first {least} characters of its id, of which lists show 8. Nothing was changed"
    )]
    ShortId { what: &'static str, prefix: String, least: usize },
    #[error("the figures could not be worked out: {0}")]
    Figures(String),
    #[error(
        "there is no collection {name:?}{}; `codriver memory import FILE --collection {name}` makes it",
        if known.is_empty() { String::new() } else { format!(" (there are: {})", known.join(", ")) }
    )]
    NoCollection { name: String, known: Vec<String> },
    #[error(
        "{name:?} cannot be the name of a collection; letters, digits, `-`, `_` and `.` can, up to 100 of them, and a letter or a digit first"
    )]
    CollectionName { name: String },
    #[error(
        "the collection {name} is damaged: {reason}. Nothing was changed. `codriver memory remove --collection {name}` deletes it; then \
         import its documents again, from their file or an export"
    )]
    CollectionDamaged { name: String, reason: String },
    #[error("{name} is being written by {holder}; try again when that has ended")]
    CollectionBusy { name: String, holder: String },
    #[error(
        "searching by meaning needs an embedding model, and there is none: `codriver model pull \
         sentence-transformers/all-MiniLM-L6-v2`, or name a folder in CODRIVER_EMBEDDING_MODEL; searching by words (lexical) works without"
    )]
    NoEmbedder,
    #[error(
        "the documents of {collection} have no vectors of {model} yet{}; import again, or `codriver memory rebuild --collection {collection}`, \
         embeds them; searching by words (lexical) works without",
        if others.is_empty() { String::new() } else { format!(" (they have: {})", others.join(", ")) }
    )]
    NotEmbedded { collection: String, model: String, others: Vec<String> },
    #[error("stopped; what was done is kept, and the same command goes on from there")]
    Stopped,
    #[error("the index: {0}")]
    Index(String),
    #[error("the output could not be written: {0}")]
    Output(String),
    #[error("an empty text cannot be remembered")]
    EmptyFact,
    #[error("{text:?} is not a day; write it as YYYY-MM-DD")]
    NotADay { text: String },
    #[error(
        "nothing remembered is a {text:?}; there are facts (fact), pieces of documents (chunk) and what was said (message)"
    )]
    NoKind { text: String },
    #[error(
        "a {from} fact holds as far as {to} already: it can be promoted from session to project, and from project to global"
    )]
    NoPromotion { from: Scope, to: Scope },
    #[error("nothing was learned from this turn: {0}")]
    Extractor(String),
    #[error("the embedding model failed: {0}. Search goes on by words alone")]
    Embedder(String),
}

impl MemoryError {
    /// What is the matter, without where and what to do.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Unwritable { reason, .. }
            | Self::Unreadable { reason, .. }
            | Self::UnreadableLog { reason, .. }
            | Self::Database { reason, .. }
            | Self::NoBackup { reason, .. } => reason.clone(),
            other => other.to_string(),
        }
    }

    /// Sorts what DuckDB said about the database at `path`.
    pub(crate) fn from_database(path: &str, error: &duckdb::Error) -> Self {
        let reason = first_line(&error.to_string());
        let path = path.to_owned();
        let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
        if says(&["No space left", "File too large", "Permission denied", "Read-only file system", "Disk quota"]) {
            Self::Unwritable { path, reason }
        } else if says(&["WAL file"]) && says(&["orrupt", "checksum", "Serialization Error"]) {
            Self::UnreadableLog { path, reason }
        } else if says(&[
            "not a valid DuckDB",
            "Could not read enough bytes",
            "orrupt",
            "checksum",
            "version number",
            "Serialization Error",
            "sealed data",
        ]) {
            Self::Unreadable { path, reason }
        } else {
            Self::Database { path, reason }
        }
    }
}

impl From<tantivy::TantivyError> for MemoryError {
    fn from(error: tantivy::TantivyError) -> Self {
        Self::Index(error.to_string())
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
