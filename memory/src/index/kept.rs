//! The part of memory's index that is kept in a file: the words of what was said and read, of all projects, as of a
//! state of the database that the file names. Texts stay in the database; who may see what is decided at each search.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::MemoryError;
use crate::event::digest;
use crate::index::files::{open_words, usable, write_words};
use crate::index::lexical::{Column, Lexical, Row, View, WordHit, WordStatistics};
use crate::index::{Document, key, words};
use crate::project::ProjectKey;
use crate::records::{FactPlace, Scope};
use crate::store::{Spoken, Store, StoredChunk};
use crate::vault::Vault;

/// Beside the database, in the folder of its indexes.
const FILE: &str = "words";

/// Texts read from the database at once.
const BLOCK: u64 = 8192;

/// What of a text a search looks at, in the order of the columns.
const COLUMNS: [Column; 6] = [
    Column { name: "content", indexed: true },
    Column { name: "origin", indexed: true },
    Column { name: "project", indexed: false },
    Column { name: "sequence", indexed: false },
    Column { name: "at", indexed: false },
    Column { name: "message", indexed: false },
];
const CONTENT: usize = 0;
const ORIGIN: usize = 1;
const PROJECT: usize = 2;
const SEQUENCE: usize = 3;
const AT: usize = 4;
const MESSAGE: usize = 5;

/// Between the parts of a note.
const SEPARATOR: char = '\u{1f}';

/// The state of the database that a file was written at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Label {
    /// How words are made of texts.
    words: u32,
    next_key: u64,
    /// Rows of messages, and a sum over their identifiers.
    pub messages: u64,
    pub messages_sum: u64,
    /// Documents, by [`origin_of_document`], with sums over their pieces.
    documents: HashMap<u64, u64>,
}

/// A file of words, read where it lies.
pub(crate) struct Kept {
    view: View,
    label: Label,
}

/// A text in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct KeptText {
    pub key: u64,
    pub content: u64,
    pub origin: u64,
    /// 0 where everyone sees it.
    pub project: u64,
    pub sequence: u64,
    pub said_at: i64,
    pub is_message: bool,
    at: tantivy::DocAddress,
}

/// Where the text of something in the file is, and what it is called.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Note {
    pub id: String,
    pub origin: String,
}

impl KeptText {
    fn of(row: &Row<'_>) -> Self {
        Self {
            key: row.key(),
            content: row.column(CONTENT),
            origin: row.column(ORIGIN),
            project: row.column(PROJECT),
            sequence: row.column(SEQUENCE),
            said_at: row.column(AT) as i64,
            is_message: row.column(MESSAGE) == 1,
            at: row.at(),
        }
    }

    /// Without its text.
    pub fn document(&self) -> Document {
        Document {
            kind: if self.is_message { "message" } else { "chunk" },
            scope: if self.is_message || self.project != 0 { Scope::Project } else { Scope::Global },
            id: String::new(),
            origin: String::new(),
            title: String::new(),
            text: String::new(),
            created_at: chrono::DateTime::from_timestamp_micros(self.said_at),
            importance: Document::USUAL,
            pinned: false,
            project: (self.project != 0).then(String::new),
        }
    }
}

impl Kept {
    /// What lies in this folder of indexes, if it can be used; whether it fits the database is [`Kept::behind`]'s to say.
    pub fn open(folder: &Path, vault: &Vault) -> Option<Self> {
        let path = folder.join(FILE);
        let opened = usable(&path, || {
            let lexical = open_words(&path, vault, &COLUMNS)?;
            let label: Label = serde_json::from_str(lexical.label()).map_err(|error| error.to_string())?;
            let view = lexical.view().map_err(|error| error.to_string())?;
            Ok(Self { view, label })
        });
        opened.filter(|kept| kept.label.words == words::VERSION)
    }

    pub fn label(&self) -> &Label {
        &self.label
    }

    pub fn len(&self) -> usize {
        self.view.len()
    }

    /// Keys of what comes later begin here.
    pub fn next_key(&self) -> u64 {
        self.label.next_key
    }

    pub fn count(&self, statistics: &mut WordStatistics) -> Result<(), MemoryError> {
        Ok(self.view.count(statistics)?)
    }

    pub fn search(
        &self,
        statistics: &WordStatistics,
        k: usize,
        admit: &dyn Fn(&KeptText) -> bool,
    ) -> Result<Vec<WordHit<KeptText>>, MemoryError> {
        // Newer ones first.
        let order = |one: u64, other: u64| other.cmp(&one);
        Ok(self.view.search(statistics, k, &|row| Some(KeptText::of(row)).filter(admit), &order)?)
    }

    /// The texts of a content.
    pub fn of_content(&self, content: u64) -> Vec<KeptText> {
        let mut found = Vec::new();
        if let Err(error) = self.view.each_with(CONTENT, content, &mut |row| found.push(KeptText::of(row))) {
            tracing::warn!(%error);
        }
        found
    }

    pub fn each(&self, each: &mut dyn FnMut(KeptText)) {
        self.view.each(&mut |row| each(KeptText::of(row)));
    }

    pub fn note(&self, text: &KeptText) -> Result<Note, MemoryError> {
        let note = self.view.note(text.at)?;
        let (id, origin) = note.split_once(SEPARATOR).unwrap_or((&note, ""));
        Ok(Note { id: id.to_owned(), origin: origin.to_owned() })
    }

    /// What the database holds beside this; `None` where this is of something else, and of no use.
    pub fn behind(&self, store: &Store) -> Result<Option<Behind>, MemoryError> {
        self.label.behind(store)
    }
}

/// What changed in the database since a label.
pub(crate) struct Behind {
    /// Documents of which what is kept counts no more.
    pub stale: HashSet<u64>,
    /// Documents to be read.
    pub documents: HashSet<u64>,
    now: Label,
}

impl Behind {
    /// Rows of messages there are.
    pub fn rows(&self) -> u64 {
        self.now.messages
    }
}

impl Label {
    fn behind(&self, store: &Store) -> Result<Option<Behind>, MemoryError> {
        let messages = store.message_sums(self.messages)?;
        if messages.rows < self.messages || messages.before != self.messages_sum {
            return Ok(None);
        }
        let sums = store.document_sums()?.into_iter();
        let documents: HashMap<u64, u64> =
            sums.map(|(name, place, sum)| (origin_of_document(&name, &place), sum)).collect();
        let changed = |origin: &&u64| self.documents.get(origin) != documents.get(origin);
        let stale: HashSet<u64> = self.documents.keys().filter(changed).copied().collect();
        let fresh: HashSet<u64> = documents.keys().filter(changed).copied().collect();
        let now = Self {
            words: words::VERSION,
            next_key: self.next_key,
            messages: messages.rows,
            messages_sum: messages.all,
            documents,
        };
        Ok(Some(Behind { stale, documents: fresh, now }))
    }
}

/// Reads the file in a folder to its end: how many texts it has the words of. `None` where there is no such file.
pub(crate) fn check(folder: &Path, vault: &Vault) -> Option<Result<usize, String>> {
    let path = folder.join(FILE);
    path.exists().then(|| open_words(&path, vault, &COLUMNS).map(|lexical| lexical.len()))
}

/// Brings the file in a folder up to the database and writes it. `goes_on` is asked between blocks.
pub(crate) fn write(folder: &Path, store: &Store, goes_on: &dyn Fn() -> bool) -> Result<(), MemoryError> {
    let (path, vault) = (folder.join(FILE), store.vault());
    let opened = Kept::open(folder, vault).map(|kept| kept.label);
    let behind = opened.as_ref().map(|label| label.behind(store)).transpose()?.flatten();
    let (lexical, label, behind) = match (opened, behind) {
        (Some(label), Some(behind)) => (open_words(&path, vault, &COLUMNS).map_err(MemoryError::Index)?, label, behind),
        _ => {
            let label = Label::default();
            let behind = label.behind(store)?.ok_or_else(|| MemoryError::Index("the database changed".to_owned()))?;
            (Lexical::new(&COLUMNS)?, label, behind)
        }
    };
    for origin in &behind.stale {
        lexical.remove_where(ORIGIN, *origin)?;
    }
    let mut next = label.next_key;
    let mut insert = |entry: &Entry| {
        lexical.insert_with(next, &entry.text, &entry.row, &entry.note)?;
        next += 1;
        Ok::<(), MemoryError>(())
    };
    for document in store.chunks_among(&behind.documents)? {
        insert(&Entry::of_chunk(&document, vault))?;
    }
    let rows = behind.now.messages;
    for start in (label.messages..rows).step_by(BLOCK as usize) {
        if !goes_on() {
            return Err(MemoryError::Stopped);
        }
        for spoken in store.spoken_between(start, rows.min(start + BLOCK))? {
            if !spoken.content.trim().is_empty() {
                insert(&Entry::of_message(&spoken))?;
            }
        }
    }
    lexical.commit()?;
    if !goes_on() {
        return Err(MemoryError::Stopped);
    }
    let label = Label { next_key: next, ..behind.now };
    let label = serde_json::to_string(&label).map_err(|error| MemoryError::Index(error.to_string()))?;
    crate::store::lock::prepare_folder(&path)?;
    write_words(&path, vault, &lexical, &label)
}

/// What is written of a text.
struct Entry {
    text: String,
    row: [u64; COLUMNS.len()],
    note: String,
}

impl Entry {
    fn of_message(spoken: &Spoken) -> Self {
        let note = format!("{}#{}{SEPARATOR}{}", spoken.turn, spoken.position, spoken.conversation);
        let mut row = [0; COLUMNS.len()];
        row[CONTENT] = key(&digest(&spoken.content));
        row[ORIGIN] = origin_of_conversation(spoken.conversation.as_str());
        row[PROJECT] = project_number(&spoken.project);
        row[SEQUENCE] = spoken.sequence;
        row[AT] = spoken.said_at.timestamp_micros() as u64;
        row[MESSAGE] = 1;
        Self { text: spoken.content.clone(), row, note }
    }

    fn of_chunk(stored: &StoredChunk, vault: &Vault) -> Self {
        let document = crate::knowledge::chunk_document(
            &stored.place,
            &stored.document,
            stored.position,
            &stored.chunk,
            stored.kept_at,
        );
        let text = document.content();
        let mut row = [0; COLUMNS.len()];
        row[CONTENT] = key(&digest(&text));
        row[ORIGIN] = origin_of_document(&vault.disguise(&stored.document), &stored.place);
        row[PROJECT] = if stored.place.scope == Scope::Project { project_number(&stored.place.project) } else { 0 };
        row[AT] = stored.kept_at.timestamp_micros() as u64;
        Self { note: format!("{}{SEPARATOR}{}", document.id, document.origin), text, row }
    }
}

/// Never 0.
pub(crate) fn project_number(project: &ProjectKey) -> u64 {
    key(&digest(project.as_str())).max(1)
}

pub(crate) fn origin_of_conversation(id: &str) -> u64 {
    key(&digest(id))
}

/// `name` as the database has it.
pub(crate) fn origin_of_document(name: &str, place: &FactPlace) -> u64 {
    key(&digest(&format!("{}{SEPARATOR}{}{SEPARATOR}{name}", place.scope, place.project)))
}
