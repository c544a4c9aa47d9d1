//! Documents in, pieces with their place out; no database.
//!
//! Source code is cut along its syntax, Markdown along its headings, notebooks at their cells, PDF files at their pages,
//! text at its paragraphs; a table is told by its columns and a sample. A piece is as large as an embedding model reads
//! at once ([`BUDGET`]), and its title says where it stands: `file › impl Walker › fn step`.
//!
//! The pieces of a text are its whole text, each byte in one of them: put together they are the text again. Text that no
//! grammar understands is cut at blank lines and indentation. Nothing in a document makes this panic.

mod decode;
mod html;
mod kind;
mod languages;
mod markdown;
mod notebook;
mod outline;
mod pdf;
mod plain;
mod syntax;
mod table;
mod text;

use std::path::Path;
use std::time::{Duration, Instant};

pub use decode::decode;
pub use kind::Kind;
pub use outline::BUDGET;
pub use pdf::pages;

/// Between the parts of a title.
pub(crate) const STEP: &str = " › ";

/// How long a grammar may look at a text, and at each of its bytes beyond that, before it is cut without it. Most read
/// several megabytes a second; what is not their language at all can take them for ever.
const PARSING: Duration = Duration::from_secs(2);
const PARSING_BYTE: Duration = Duration::from_micros(2);

/// Where in its document a piece stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The first and last line, counted from 1.
    Lines { first: usize, last: usize },
    /// A notebook's cell, counted from 1, with its identifier where it has one.
    Cell { number: usize, id: Option<String> },
    /// A page, counted from 1.
    Page { number: usize },
    /// The document as a whole: a table's columns, a page of the web.
    Whole,
}

/// A piece of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The document's name, then what the piece lies in and holds, joined by ` › `.
    pub title: String,
    /// To the letter where the document is text.
    pub text: String,
    pub place: Place,
}

/// Why a document gives no pieces.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("it is binary, not text")]
    Binary,
    #[error("it is not a notebook: {0}")]
    Notebook(String),
    #[error("its text cannot be read: {0}")]
    Pdf(String),
    #[error("DuckDB cannot read it: {0}")]
    Table(String),
}

/// Cuts the contents of a document of this kind into pieces. `name` begins their titles.
///
/// A table (CSV, Parquet, ...) has to be a file: [`chunk_table`]. A PDF file is read in this process; where it comes from
/// somebody else, its [`pages`] are better read in a process of their own and cut with [`chunk_pages`].
pub fn chunk(name: &str, kind: Kind, bytes: &[u8]) -> Result<Vec<Chunk>, ChunkError> {
    match kind {
        Kind::Pdf => return Ok(chunk_pages(name, &pages(bytes).map_err(ChunkError::Pdf)?)),
        Kind::Notebook => return notebook::chunk(name, &decode(bytes).ok_or(ChunkError::Binary)?),
        _ => {}
    }
    let text = decode(bytes).ok_or(ChunkError::Binary)?;
    Ok(match kind {
        Kind::Html => html::chunk(name, &text),
        _ => chunk_text(name, kind, &text),
    })
}

/// Cuts a text; kinds without a grammar of their own are cut at paragraphs and indentation.
pub fn chunk_text(name: &str, kind: Kind, text: &str) -> Vec<Chunk> {
    let time = PARSING + PARSING_BYTE.saturating_mul(u32::try_from(text.len()).unwrap_or(u32::MAX));
    let text = text::Text::new(text);
    let outline = match kind {
        Kind::Markdown => markdown::outline(&text),
        _ => match languages::grammar(kind) {
            Some(grammar) => {
                syntax::outline(&text, &grammar, Instant::now() + time).unwrap_or_else(|| plain::outline(&text))
            }
            None => plain::outline(&text),
        },
    };
    outline.chunks(name, &text)
}

/// Cuts the pages of a document at their paragraphs.
pub fn chunk_pages(name: &str, pages: &[String]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    for (page, text) in pages.iter().enumerate() {
        let title = format!("{name}{STEP}page {}", page + 1);
        let pieces = chunk_text(&title, Kind::Text, text).into_iter();
        chunks.extend(pieces.map(|piece| Chunk { place: Place::Page { number: page + 1 }, ..piece }));
    }
    chunks
}

/// Tells a table's columns, how many rows it has, and shows a few.
///
/// `stop` is asked now and then whether to give up.
pub fn chunk_table(
    name: &str,
    kind: Kind,
    file: &Path,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Chunk>, ChunkError> {
    table::chunk(name, kind, file, stop).map_err(ChunkError::Table)
}
