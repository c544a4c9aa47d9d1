//! One document, read and cut.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::UNIX_EPOCH;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::{Surroundings, walk};
use crate::chunk::{Chunk, ChunkError, Kind, chunk, chunk_pages, chunk_table};
use crate::records::{Scope, StoredDocument};

/// The largest files of each sort that are read whole; tables may be of any size.
const LARGEST_TEXT: u64 = 16 << 20;
const LARGEST_DOCUMENT: u64 = 128 << 20;

/// Of a file larger than this, only both ends tell whether it changed.
const LARGEST_DIGEST: u64 = 64 << 20;
const END: u64 = 1 << 20;

/// Two writes within this time may leave a file with the same time.
const CLOCK_STEP: i64 = 2_000_000;

/// What a file is known by without being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub bytes: u64,
    /// Microseconds since 1970.
    pub modified: i64,
}

impl Stamp {
    /// The file was not touched since the document was read: surely, not probably.
    pub fn is_of(self, document: &StoredDocument) -> bool {
        self.is_like(document) && self.modified + CLOCK_STEP < document.read_at.timestamp_micros()
    }

    /// The file looks as when the document was read.
    pub fn is_like(self, document: &StoredDocument) -> bool {
        self.bytes == document.bytes && Some(self.modified) == document.modified
    }
}

pub(super) fn stamp(path: &Path) -> std::io::Result<Stamp> {
    let metadata = fs_err::metadata(path)?;
    if !metadata.is_file() {
        return Err(std::io::Error::other("not a file"));
    }
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    Ok(Stamp { bytes: metadata.len(), modified: i64::try_from(modified).unwrap_or(i64::MAX) })
}

/// What reading a document gave.
pub(super) enum Outcome {
    /// Its contents are what they were; only its time is new.
    Same(StoredDocument),
    Read(StoredDocument, Vec<Chunk>),
    /// Not something to keep: why.
    LeftOut(String),
    Failed(String),
}

/// A document to be read.
pub(super) struct Job {
    pub origin: String,
    /// What was asked for.
    pub source: String,
    pub scope: Scope,
    pub collection: String,
    /// As it was read before.
    pub known: Option<StoredDocument>,
    /// It was named itself, not found beneath a folder.
    pub named: bool,
}

impl Job {
    pub fn run(&self, surroundings: &dyn Surroundings) -> Outcome {
        let outcome =
            if super::source::is_address(&self.origin) { self.page(surroundings) } else { self.file(surroundings) };
        outcome.unwrap_or_else(|problem| match problem {
            Problem::LeftOut(reason) if !self.named => Outcome::LeftOut(reason),
            Problem::LeftOut(reason) | Problem::Failed(reason) => Outcome::Failed(reason),
        })
    }

    fn file(&self, surroundings: &dyn Surroundings) -> Result<Outcome, Problem> {
        let path = Path::new(&self.origin);
        // Before the contents: what is written meanwhile is noticed the next time.
        let (stamp, read_at) = (stamp(path).map_err(failed)?, Utc::now());
        let kind = Kind::of(path, &beginning(path).map_err(failed)?);
        if kind.is_table() {
            let digest = file_digest(path, stamp.bytes).map_err(failed)?;
            let document = self.document(kind, stamp.bytes, Some(stamp.modified), digest, None, read_at);
            if self.is_same(&document) {
                return Ok(Outcome::Same(document));
            }
            let stop = || surroundings.is_cancelled();
            return Ok(Outcome::Read(
                document,
                chunk_table(&self.title(surroundings), kind, path, &stop).map_err(unreadable)?,
            ));
        }
        let largest = if matches!(kind, Kind::Pdf | Kind::Notebook) { LARGEST_DOCUMENT } else { LARGEST_TEXT };
        if stamp.bytes > largest {
            return Err(Problem::LeftOut(format!("larger than {} MB", largest >> 20)));
        }
        let contents = fs_err::read(path).map_err(failed)?;
        if !self.named && is_data(path, kind, &contents) {
            return Err(Problem::LeftOut(walk::GENERATED.to_owned()));
        }
        let commit = surroundings.commit(path, &contents);
        let document = self.document(kind, stamp.bytes, Some(stamp.modified), digest(&contents), commit, read_at);
        self.cut(document, kind, &contents, surroundings)
    }

    fn page(&self, surroundings: &dyn Surroundings) -> Result<Outcome, Problem> {
        let fetched = surroundings.fetch(&self.origin).map_err(Problem::Failed)?;
        let address = self.origin.split(['?', '#']).next().unwrap_or_default();
        let beginning = fetched.contents.get(..fetched.contents.len().min(BEGINNING)).unwrap_or_default();
        let kind =
            Kind::of_content_type(&fetched.content_type).unwrap_or_else(|| Kind::of(Path::new(address), beginning));
        let bytes = fetched.contents.len() as u64;
        let document = self.document(kind, bytes, None, digest(&fetched.contents), None, Utc::now());
        if !kind.is_table() {
            return self.cut(document, kind, &fetched.contents, surroundings);
        }
        if self.is_same(&document) {
            return Ok(Outcome::Same(document));
        }
        let folder = tempfile::tempdir().map_err(failed)?;
        let file = folder.path().join("fetched");
        fs_err::write(&file, &fetched.contents).map_err(failed)?;
        let chunks = chunk_table(&self.origin, kind, &file, &|| surroundings.is_cancelled()).map_err(unreadable)?;
        Ok(Outcome::Read(document, chunks))
    }

    fn cut(
        &self,
        document: StoredDocument,
        kind: Kind,
        contents: &[u8],
        surroundings: &dyn Surroundings,
    ) -> Result<Outcome, Problem> {
        if self.is_same(&document) {
            return Ok(Outcome::Same(document));
        }
        let title = self.title(surroundings);
        let chunks = if kind == Kind::Pdf {
            chunk_pages(
                &title,
                &surroundings.pdf_pages(contents).map_err(|reason| unreadable(ChunkError::Pdf(reason)))?,
            )
        } else {
            chunk(&title, kind, contents).map_err(unreadable)?
        };
        let worth = |chunk: &Chunk| chunk.text.chars().any(char::is_alphanumeric);
        let chunks: Vec<Chunk> = chunks.into_iter().filter(worth).collect();
        if chunks.is_empty() {
            return Err(Problem::LeftOut("it says nothing".to_owned()));
        }
        Ok(Outcome::Read(document, chunks))
    }

    fn is_same(&self, document: &StoredDocument) -> bool {
        self.known.as_ref().is_some_and(|known| {
            known.digest == document.digest && known.kind == document.kind && known.collection == document.collection
        })
    }

    /// The path as people of the project say it.
    fn title(&self, surroundings: &dyn Surroundings) -> String {
        let path = Path::new(&self.origin);
        path.strip_prefix(surroundings.workspace()).unwrap_or(path).display().to_string()
    }

    fn document(
        &self,
        kind: Kind,
        bytes: u64,
        modified: Option<i64>,
        digest: String,
        commit: Option<String>,
        read_at: DateTime<Utc>,
    ) -> StoredDocument {
        let (origin, source, collection) = (self.origin.clone(), self.source.clone(), self.collection.clone());
        StoredDocument {
            origin,
            scope: self.scope,
            source,
            collection,
            kind: kind.name().to_owned(),
            bytes,
            modified,
            digest,
            commit,
            read_at,
            // What is cut anew is counted when it is kept.
            chunks: self.known.as_ref().map_or(0, |known| known.chunks),
        }
    }
}

/// Machines write lines without end (a model's vocabulary, a bundle of scripts); people do so only in prose.
fn is_data(path: &Path, kind: Kind, contents: &[u8]) -> bool {
    const LEAST: usize = 32 * 1024;
    const LONGEST_LINES: usize = 500;
    let prose = path
        .extension()
        .is_none_or(|ending| ["txt", "text", "rst", "log"].iter().any(|prose| ending.eq_ignore_ascii_case(prose)));
    let written = matches!(kind, Kind::Text | Kind::JavaScript | Kind::TypeScript) && !prose;
    let lines = || contents.iter().filter(|byte| **byte == b'\n').count() + 1;
    written && contents.len() >= LEAST && contents.len() / lines() > LONGEST_LINES
}

enum Problem {
    /// It may stay out quietly if nobody named it.
    LeftOut(String),
    Failed(String),
}

fn failed(error: impl ToString) -> Problem {
    Problem::Failed(error.to_string())
}

fn unreadable(error: ChunkError) -> Problem {
    match error {
        ChunkError::Binary => Problem::LeftOut("binary".to_owned()),
        error => Problem::Failed(error.to_string()),
    }
}

/// Bytes that tell what a file without a telling name is.
const BEGINNING: usize = 512;

fn beginning(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(BEGINNING);
    fs_err::File::open(path)?.take(BEGINNING as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Counts up when documents are cut in another way: what was cut before is then read again.
const WAY_OF_CUTTING: [u8; 1] = [1];

fn digest(contents: &[u8]) -> String {
    hexadecimal(Sha256::new().chain_update(WAY_OF_CUTTING).chain_update(contents).finalize().as_slice())
}

/// Of a large file: its size and both ends.
fn file_digest(path: &Path, bytes: u64) -> std::io::Result<String> {
    let mut file = fs_err::File::open(path)?;
    let mut hash = Sha256::new().chain_update(WAY_OF_CUTTING);
    if bytes <= LARGEST_DIGEST {
        std::io::copy(&mut file, &mut hash)?;
    } else {
        hash.update(bytes.to_le_bytes());
        std::io::copy(&mut (&mut file).take(END), &mut hash)?;
        file.seek(SeekFrom::End(-(END as i64)))?;
        std::io::copy(&mut file, &mut hash)?;
    }
    Ok(hexadecimal(hash.finalize().as_slice()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
