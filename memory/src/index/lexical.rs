//! Finding by words: BM25 over tantivy's index.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tantivy::directory::{Directory, FileSlice, MmapDirectory};
use tantivy::indexer::NoMergePolicy;
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{TextAnalyzer, Token, TokenStream, Tokenizer, TokenizerManager};
use tantivy::{IndexReader, IndexSettings, IndexWriter, ReloadPolicy, TantivyDocument, Term};

use crate::index::archive::ArchiveDirectory;
use crate::index::words::words;

mod view;

pub(crate) use view::{Row, View, WordHit, WordStatistics};

/// What tantivy collects in memory before it makes a segment.
const WRITER_BYTES: usize = 64 << 20;

const KEY: &str = "key";
const WORDS: &str = "words";
const NOTE: &str = "note";

/// A number that every text has beside its words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub name: &'static str,
    /// Texts can be looked up by it.
    pub indexed: bool,
}

/// Texts by key, and their words. Changes count after [`Lexical::commit`].
pub(crate) struct Lexical {
    index: tantivy::Index,
    directory: ArchiveDirectory,
    reader: IndexReader,
    /// Made when first written to.
    writer: Mutex<Option<IndexWriter>>,
    fields: Fields,
}

#[derive(Clone)]
struct Fields {
    key: Field,
    words: Field,
    columns: Vec<(&'static str, Field)>,
    /// What is kept of a text to be given back, where there are columns.
    note: Option<Field>,
}

impl Lexical {
    /// Of texts with these columns, by place.
    pub fn new(columns: &[Column]) -> tantivy::Result<Self> {
        Self::over(ArchiveDirectory::default(), columns)
    }

    /// The index in a file as [`Lexical::bytes`] wrote it, mapped where it lies.
    pub fn open(file: &Path, columns: &[Column]) -> tantivy::Result<Self> {
        let folder = MmapDirectory::open(file.parent().unwrap_or(Path::new(".")))?;
        let archive = folder.open_read(Path::new(file.file_name().unwrap_or_default()))?;
        Self::over(ArchiveDirectory::open(&archive)?, columns)
    }

    /// The index in bytes that were sealed in their file.
    pub fn from_bytes(bytes: Vec<u8>, columns: &[Column]) -> tantivy::Result<Self> {
        Self::over(ArchiveDirectory::open(&FileSlice::from(bytes))?, columns)
    }

    fn over(directory: ArchiveDirectory, columns: &[Column]) -> tantivy::Result<Self> {
        let mut schema = Schema::builder();
        let key = schema.add_u64_field(KEY, FAST | INDEXED);
        let indexing = TextFieldIndexing::default().set_tokenizer(WORDS).set_index_option(IndexRecordOption::WithFreqs);
        let words = schema.add_text_field(WORDS, TextOptions::default().set_indexing_options(indexing));
        let mut field = |column: &Column| match column.indexed {
            true => (column.name, schema.add_u64_field(column.name, FAST | INDEXED)),
            false => (column.name, schema.add_u64_field(column.name, FAST)),
        };
        let columns: Vec<(&'static str, Field)> = columns.iter().map(&mut field).collect();
        let note = (!columns.is_empty()).then(|| schema.add_text_field(NOTE, TextOptions::from(STORED)));
        let schema = schema.build();
        let mut index = match tantivy::Index::exists(&directory)? {
            true => tantivy::Index::open(directory.clone())?,
            false => tantivy::Index::create(directory.clone(), schema.clone(), IndexSettings::default())?,
        };
        if index.schema() != schema {
            return Err(tantivy::TantivyError::SchemaError("the index is of another version".to_owned()));
        }
        let tokenizers = TokenizerManager::default();
        tokenizers.register(WORDS, TextAnalyzer::from(WordsTokenizer::default()));
        index.set_tokenizers(tokenizers);
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self { index, directory, reader, writer: Mutex::default(), fields: Fields { key, words, columns, note } })
    }

    /// What the one who wrote it to a file gave it to be known by; empty for a new one.
    pub fn label(&self) -> &str {
        self.directory.label()
    }

    /// How many texts can be found.
    pub fn len(&self) -> usize {
        self.reader.searcher().num_docs() as usize
    }

    pub fn keys(&self) -> tantivy::Result<Vec<u64>> {
        let mut keys = Vec::with_capacity(self.len());
        for segment in self.reader.searcher().segment_readers() {
            let column = segment.fast_fields().u64(KEY)?;
            keys.extend(segment.doc_ids_alive().filter_map(|document| column.first(document)));
        }
        Ok(keys)
    }

    /// The key must be new.
    pub fn insert(&self, key: u64, text: &str) -> tantivy::Result<()> {
        self.insert_with(key, text, &[], "")
    }

    /// With what stands in the columns, in their order, and a note to be given back.
    pub fn insert_with(&self, key: u64, text: &str, row: &[u64], note: &str) -> tantivy::Result<()> {
        let mut document = TantivyDocument::default();
        document.add_u64(self.fields.key, key);
        document.add_text(self.fields.words, text);
        for ((_, field), value) in self.fields.columns.iter().zip(row) {
            document.add_u64(*field, *value);
        }
        if let Some(field) = self.fields.note {
            document.add_text(field, note);
        }
        self.writing(|writer| writer.add_document(document).map(|_| ()))
    }

    pub fn remove(&self, key: u64) -> tantivy::Result<()> {
        self.remove_all(Term::from_field_u64(self.fields.key, key))
    }

    /// Removes all that have this in that column, which must be indexed.
    pub fn remove_where(&self, column: usize, value: u64) -> tantivy::Result<()> {
        let field = self.fields.columns.get(column).map(|(_, field)| *field);
        field.map_or(Ok(()), |field| self.remove_all(Term::from_field_u64(field, value)))
    }

    fn remove_all(&self, term: Term) -> tantivy::Result<()> {
        self.writing(|writer| {
            writer.delete_term(term);
            Ok(())
        })
    }

    /// Makes what was inserted and removed count, in one segment without what was removed: so words are counted, and
    /// skipped, as in an index that was made of the same texts at once.
    pub fn commit(&self) -> tantivy::Result<()> {
        self.writing(|writer| {
            writer.commit()?;
            let segments = self.index.searchable_segment_metas()?;
            if segments.len() > 1 || segments.iter().any(tantivy::SegmentMeta::has_deletes) {
                let segments: Vec<_> = segments.iter().map(tantivy::SegmentMeta::id).collect();
                writer.merge(&segments).wait()?;
            }
            Ok(())
        })?;
        self.reader.reload()
    }

    fn writing<T>(&self, write: impl FnOnce(&mut IndexWriter) -> tantivy::Result<T>) -> tantivy::Result<T> {
        let mut writer = self.writer();
        let writer = match &mut *writer {
            Some(writer) => writer,
            empty => {
                let writer = empty.insert(self.index.writer(WRITER_BYTES)?);
                writer.set_merge_policy(Box::new(NoMergePolicy));
                writer
            }
        };
        write(writer)
    }

    fn writer(&self) -> MutexGuard<'_, Option<IndexWriter>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that was committed, as one file. Nothing is written meanwhile.
    pub fn bytes(&self, label: &str) -> tantivy::Result<Vec<u8>> {
        if let Some(writer) = self.writer().take() {
            writer.wait_merging_threads()?;
        }
        let segments = self.index.searchable_segment_ids()?;
        let live: HashSet<String> = segments.iter().map(tantivy::index::SegmentId::uuid_string).collect();
        let of_live = |file: &PathBuf| {
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            live.contains(name.split('.').next().unwrap_or_default()) && self.directory.exists(file).unwrap_or(false)
        };
        let files = self.index.directory().list_managed_files().into_iter().filter(of_live);
        let metas = ["meta.json", ".managed.json"].into_iter().map(PathBuf::from);
        Ok(self.directory.bytes(label, files.chain(metas))?)
    }

    /// What was committed by now, to be searched.
    pub fn view(&self) -> tantivy::Result<View> {
        View::new(self.reader.searcher(), self.fields.clone())
    }
}

#[derive(Clone, Default)]
struct WordsTokenizer {
    token: Token,
}

struct WordsStream<'a> {
    words: std::vec::IntoIter<String>,
    token: &'a mut Token,
}

impl Tokenizer for WordsTokenizer {
    type TokenStream<'a> = WordsStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordsStream<'a> {
        self.token.reset();
        WordsStream { words: words(text).into_iter(), token: &mut self.token }
    }
}

impl TokenStream for WordsStream<'_> {
    fn advance(&mut self) -> bool {
        let Some(word) = self.words.next() else { return false };
        self.token.position = self.token.position.wrapping_add(1);
        self.token.text = word;
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}
