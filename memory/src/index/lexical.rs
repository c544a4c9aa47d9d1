//! Finding by words: BM25 over tantivy's index.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tantivy::directory::{Directory, FileSlice, MmapDirectory};
use tantivy::query::{BooleanQuery, BoostQuery, EnableScoring, Occur, Query, TermQuery};
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{TextAnalyzer, Token, TokenStream, Tokenizer, TokenizerManager};
use tantivy::{DocId, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, Score, Searcher, TantivyDocument, Term};

use crate::index::archive::ArchiveDirectory;
use crate::index::words::{each_word, words};

/// What tantivy collects in memory before it makes a segment.
const WRITER_BYTES: usize = 64 << 20;

const KEY: &str = "key";
const WORDS: &str = "words";

/// Texts by key, and their words. Changes count after [`Lexical::commit`].
pub(crate) struct Lexical {
    index: tantivy::Index,
    directory: ArchiveDirectory,
    reader: IndexReader,
    /// Made when first written to.
    writer: Mutex<Option<IndexWriter>>,
    key: Field,
    words: Field,
}

/// A document that shares words with a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct WordHit {
    pub key: u64,
    pub bm25: f32,
}

/// What was found by words.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct WordHits {
    /// Best first.
    pub hits: Vec<WordHit>,
    /// The score of a document of average length that has each of the query's words once.
    pub ideal: f32,
}

impl Lexical {
    pub fn new() -> tantivy::Result<Self> {
        Self::over(ArchiveDirectory::default())
    }

    /// The index in a file as [`Lexical::bytes`] wrote it, mapped where it lies.
    pub fn open(file: &Path) -> tantivy::Result<Self> {
        let folder = MmapDirectory::open(file.parent().unwrap_or(Path::new(".")))?;
        let archive = folder.open_read(Path::new(file.file_name().unwrap_or_default()))?;
        Self::over(ArchiveDirectory::open(&archive)?)
    }

    /// The index in bytes that were sealed in their file.
    pub fn from_bytes(bytes: Vec<u8>) -> tantivy::Result<Self> {
        Self::over(ArchiveDirectory::open(&FileSlice::from(bytes))?)
    }

    fn over(directory: ArchiveDirectory) -> tantivy::Result<Self> {
        let mut schema = Schema::builder();
        schema.add_u64_field(KEY, FAST | INDEXED);
        let indexing = TextFieldIndexing::default().set_tokenizer(WORDS).set_index_option(IndexRecordOption::WithFreqs);
        schema.add_text_field(WORDS, TextOptions::default().set_indexing_options(indexing));
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
        let (key, words) = (schema.get_field(KEY)?, schema.get_field(WORDS)?);
        Ok(Self { index, directory, reader, writer: Mutex::default(), key, words })
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
        let mut document = TantivyDocument::default();
        document.add_u64(self.key, key);
        document.add_text(self.words, text);
        self.writing(|writer| writer.add_document(document).map(|_| ()))
    }

    pub fn remove(&self, key: u64) -> tantivy::Result<()> {
        let term = Term::from_field_u64(self.key, key);
        self.writing(|writer| {
            writer.delete_term(term);
            Ok(())
        })
    }

    /// Makes what was inserted and removed count.
    pub fn commit(&self) -> tantivy::Result<()> {
        self.writing(|writer| writer.commit().map(|_| ()))?;
        self.reader.reload()
    }

    fn writing<T>(&self, write: impl FnOnce(&mut IndexWriter) -> tantivy::Result<T>) -> tantivy::Result<T> {
        let mut writer = self.writer();
        let writer = match &mut *writer {
            Some(writer) => writer,
            empty => empty.insert(self.index.writer(WRITER_BYTES)?),
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

    /// The `k` best for a query among those that `admit` lets through.
    pub fn search(&self, query: &str, k: usize, admit: Option<&dyn Fn(u64) -> bool>) -> tantivy::Result<WordHits> {
        let mut counts: HashMap<String, u32> = HashMap::new();
        each_word(query, |word| *counts.entry(word.to_owned()).or_default() += 1);
        let searcher = self.reader.searcher();
        if counts.is_empty() || k == 0 || searcher.num_docs() == 0 {
            return Ok(WordHits::default());
        }
        let ideal = self.ideal(&searcher, &counts)?;
        let clause = |(word, count): (String, u32)| -> (Occur, Box<dyn Query>) {
            let term = TermQuery::new(Term::from_field_text(self.words, &word), IndexRecordOption::WithFreqs);
            match count {
                1 => (Occur::Should, Box::new(term)),
                count => (Occur::Should, Box::new(BoostQuery::new(Box::new(term), count as Score))),
            }
        };
        let query = BooleanQuery::new(counts.into_iter().map(clause).collect());
        let weight = query.weight(EnableScoring::enabled_from_searcher(&searcher))?;
        let mut hits: Vec<WordHit> = Vec::with_capacity(2 * k.min(1 << 16));
        let mut threshold = 0.0;
        for segment in searcher.segment_readers() {
            let keys = segment.fast_fields().u64(KEY)?;
            let alive = segment.alive_bitset();
            weight.for_each_pruning(threshold, segment, &mut |document: DocId, bm25: Score| {
                let key = keys.first(document).filter(|_| alive.is_none_or(|alive| alive.is_alive(document)));
                if let Some(key) = key.filter(|key| admit.is_none_or(|admit| admit(*key))) {
                    hits.push(WordHit { key, bm25 });
                    if hits.len() >= 2 * k {
                        keep_best(&mut hits, k);
                        threshold = hits.last().map_or(0.0, |worst| worst.bm25);
                    }
                }
                threshold
            })?;
        }
        keep_best(&mut hits, k);
        Ok(WordHits { hits, ideal })
    }

    fn ideal(&self, searcher: &Searcher, counts: &HashMap<String, u32>) -> tantivy::Result<f32> {
        let documents = searcher.segment_readers().iter().map(|segment| f64::from(segment.max_doc())).sum::<f64>();
        let mut ideal = 0.0;
        for (word, count) in counts {
            // A word that is nowhere counts as a rare one: a query it belongs to is not wholly met.
            let containing = searcher.doc_freq(&Term::from_field_text(self.words, word))?.max(1) as f64;
            ideal += f64::from(*count) * (((documents - containing).max(0.0) + 0.5) / (containing + 0.5)).ln_1p();
        }
        Ok(ideal as f32)
    }
}

fn keep_best(hits: &mut Vec<WordHit>, k: usize) {
    hits.sort_unstable_by(|one, other| other.bm25.total_cmp(&one.bm25).then(other.key.cmp(&one.key)));
    hits.truncate(k);
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
