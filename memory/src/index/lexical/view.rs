//! A lexical index as it was at one moment.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use tantivy::columnar::Column as Numbers;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::Postings as _;
use tantivy::query::{
    Bm25StatisticsProvider, Bm25Weight, BooleanQuery, BoostQuery, EnableScoring, Occur, Query, TermQuery,
};
use tantivy::schema::document::Value as _;
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocAddress, DocId, DocSet as _, Score, Searcher, TERMINATED, TantivyDocument, Term};

use super::{Fields, KEY};
use crate::index::ranking::inverse_document_frequency;
use crate::index::words::{count_words, is_stop_word};

/// Texts to be searched; nothing that is written later changes it.
pub(crate) struct View {
    searcher: Searcher,
    fields: Fields,
    segments: Vec<Segment>,
}

/// What is read of a segment's texts beside their words.
struct Segment {
    /// Keys, then the columns in their order.
    numbers: Vec<Numbers<u64>>,
    lengths: FieldNormReader,
}

/// A text's numbers, read where they lie.
pub(crate) struct Row<'a> {
    segment: &'a Segment,
    at: DocAddress,
}

impl Row<'_> {
    pub fn key(&self) -> u64 {
        self.number(0)
    }

    /// What stands in a column; 0 where nothing does.
    pub fn column(&self, column: usize) -> u64 {
        self.number(column + 1)
    }

    fn number(&self, place: usize) -> u64 {
        self.segment.numbers.get(place).and_then(|numbers| numbers.first(self.at.doc_id)).unwrap_or_default()
    }

    /// How many words it has; of long texts, about.
    pub fn length(&self) -> u32 {
        self.segment.lengths.fieldnorm(self.at.doc_id)
    }

    /// For [`View::note`].
    pub fn at(&self) -> DocAddress {
        self.at
    }
}

/// A text that shares words with a query, with what was read of its row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct WordHit<T = ()> {
    pub key: u64,
    pub bm25: f32,
    pub read: T,
}

/// A query that has so many words of its own is not searched for its stop words: together these would weigh as much as
/// one of them. The words of a shorter one may be all that it says (`get up`, `not in`).
const SAYS_ENOUGH: usize = 3;

/// A query's words, and what BM25 weighs them by: of all texts together, wherever they are indexed.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct WordStatistics {
    /// How often the query says each, and how many texts do.
    pub words: BTreeMap<String, (u32, u64)>,
    pub documents: u64,
    /// Words of all texts.
    pub tokens: u64,
}

impl WordStatistics {
    pub fn of(query: &str) -> Self {
        let mut words: BTreeMap<String, (u32, u64)> =
            count_words(query).into_iter().map(|(word, count)| (word, (count, 0))).collect();
        if words.keys().filter(|word| !is_stop_word(word)).count() >= SAYS_ENOUGH {
            words.retain(|word, _| !is_stop_word(word));
        }
        Self { words, ..Self::default() }
    }

    /// What each word adds where it is said, before it is saturated; a word that is nowhere counts as a rare one: a
    /// query it belongs to is not wholly met.
    pub fn rarity(&self, word: &str) -> f32 {
        let (count, containing) = self.words.get(word).copied().unwrap_or_default();
        count as f32 * inverse_document_frequency(self.documents as usize, containing.max(1) as usize)
    }

    /// The score of a text of average length that has each of the words once.
    pub fn ideal(&self) -> f32 {
        self.words.keys().map(|word| self.rarity(word)).sum()
    }
}

struct Statistics<'a>(&'a WordStatistics);

impl Bm25StatisticsProvider for Statistics<'_> {
    fn total_num_tokens(&self, _: Field) -> tantivy::Result<u64> {
        Ok(self.0.tokens)
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(self.0.documents)
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        let containing =
            term.value().as_str().and_then(|word| self.0.words.get(word)).map_or(0, |(_, containing)| *containing);
        Ok(containing.min(self.0.documents))
    }
}

impl View {
    pub(super) fn new(searcher: Searcher, fields: Fields) -> tantivy::Result<Self> {
        let names = || std::iter::once(KEY).chain(fields.columns.iter().map(|(name, _)| *name));
        let of_segment = |segment: &tantivy::SegmentReader| {
            let numbers = names().map(|name| segment.fast_fields().u64(name)).collect::<tantivy::Result<Vec<_>>>()?;
            Ok(Segment { numbers, lengths: segment.get_fieldnorms_reader(fields.words)? })
        };
        let segments = searcher.segment_readers().iter().map(of_segment).collect::<tantivy::Result<Vec<_>>>()?;
        Ok(Self { searcher, fields, segments })
    }

    pub fn len(&self) -> usize {
        self.searcher.num_docs() as usize
    }

    /// Counts the words of a query among these texts, beside what was counted already.
    pub fn count(&self, statistics: &mut WordStatistics) -> tantivy::Result<()> {
        for segment in self.searcher.segment_readers() {
            statistics.documents += u64::from(segment.max_doc());
            statistics.tokens += segment.inverted_index(self.fields.words)?.total_num_tokens();
        }
        for (word, (_, containing)) in &mut statistics.words {
            *containing += self.searcher.doc_freq(&Term::from_field_text(self.fields.words, word))?;
        }
        Ok(())
    }

    /// The `k` best, best first, among those of whose row `read` gives something; `order` is of keys, among equals.
    /// Scores and order are those of the texts, however the index was made of them.
    pub fn search<T: Copy>(
        &self,
        statistics: &WordStatistics,
        k: usize,
        read: &dyn Fn(&Row<'_>) -> Option<T>,
        order: &dyn Fn(u64, u64) -> Ordering,
    ) -> tantivy::Result<Vec<WordHit<T>>> {
        if statistics.words.is_empty() || k == 0 || self.searcher.num_docs() == 0 {
            return Ok(Vec::new());
        }
        let clause = |(word, (count, _)): (&String, &(u32, u64))| -> (Occur, Box<dyn Query>) {
            let term = TermQuery::new(Term::from_field_text(self.fields.words, word), IndexRecordOption::WithFreqs);
            match count {
                1 => (Occur::Should, Box::new(term)),
                count => (Occur::Should, Box::new(BoostQuery::new(Box::new(term), *count as Score))),
            }
        };
        let query = BooleanQuery::new(statistics.words.iter().map(clause).collect());
        let weights = Statistics(statistics);
        let weight = query.weight(EnableScoring::enabled_from_statistics_provider(&weights, &self.searcher))?;
        let doubt = doubt(statistics);
        let mut candidates: Vec<Candidate<T>> = Vec::with_capacity(2 * k.min(1 << 16));
        let (mut threshold, mut most) = (0.0, 2 * k);
        for ((ordinal, reader), segment) in (0..).zip(self.searcher.segment_readers()).zip(&self.segments) {
            let alive = reader.alive_bitset();
            weight.for_each_pruning(threshold, reader, &mut |document: DocId, bm25: Score| {
                let row = Row { segment, at: DocAddress::new(ordinal, document) };
                let found = alive.is_none_or(|alive| alive.is_alive(document)).then(|| read(&row)).flatten();
                if let Some(found) = found {
                    candidates.push(Candidate { at: row.at, hit: WordHit { key: row.key(), bm25, read: found } });
                    if candidates.len() >= most {
                        threshold = keep_best(&mut candidates, k, doubt);
                        most = 2 * candidates.len();
                    }
                }
                threshold
            })?;
        }
        keep_best(&mut candidates, k, doubt);
        self.score_in_order(statistics, &mut candidates)?;
        let mut hits: Vec<WordHit<T>> = candidates.into_iter().map(|candidate| candidate.hit).collect();
        hits.sort_unstable_by(|one, other| {
            other.bm25.total_cmp(&one.bm25).then_with(|| order(one.key, other.key)).then(one.key.cmp(&other.key))
        });
        hits.truncate(k);
        Ok(hits)
    }

    /// Adds up the words' shares again, in the words' order: the walk adds them in the order in which it meets them,
    /// which depends on where the texts lie, and so do the last bits of its sums.
    fn score_in_order<T>(&self, statistics: &WordStatistics, candidates: &mut [Candidate<T>]) -> tantivy::Result<()> {
        candidates.sort_unstable_by_key(|candidate| candidate.at);
        candidates.iter_mut().for_each(|candidate| candidate.hit.bm25 = 0.0);
        for (word, (count, _)) in &statistics.words {
            let term = Term::from_field_text(self.fields.words, word);
            let weight = Bm25Weight::for_terms(&Statistics(statistics), std::slice::from_ref(&term))?;
            let weight = weight.boost_by(*count as Score);
            for of_segment in candidates.chunk_by_mut(|one, other| one.at.segment_ord == other.at.segment_ord) {
                let Some(ordinal) = of_segment.first().map(|candidate| candidate.at.segment_ord) else { continue };
                let Some(segment) = self.segments.get(ordinal as usize) else { continue };
                let words = self.searcher.segment_reader(ordinal).inverted_index(self.fields.words)?;
                let Some(mut postings) = words.read_postings(&term, IndexRecordOption::WithFreqs)? else { continue };
                for Candidate { at, hit } in of_segment {
                    if postings.doc() < at.doc_id {
                        postings.seek(at.doc_id);
                    }
                    if postings.doc() == at.doc_id {
                        hit.bm25 += weight.score(segment.lengths.fieldnorm_id(at.doc_id), postings.term_freq());
                    }
                }
            }
        }
        Ok(())
    }

    /// The texts that have this in that column, which must be indexed.
    pub fn each_with(&self, column: usize, value: u64, each: &mut dyn FnMut(&Row<'_>)) -> tantivy::Result<()> {
        self.fields.columns.get(column).map_or(Ok(()), |(_, field)| self.each_at(*field, value, each))
    }

    /// The text of a key.
    pub fn each_of_key(&self, key: u64, each: &mut dyn FnMut(&Row<'_>)) -> tantivy::Result<()> {
        self.each_at(self.fields.key, key, each)
    }

    fn each_at(&self, field: Field, value: u64, each: &mut dyn FnMut(&Row<'_>)) -> tantivy::Result<()> {
        let term = Term::from_field_u64(field, value);
        for ((ordinal, reader), segment) in (0..).zip(self.searcher.segment_readers()).zip(&self.segments) {
            let Some(mut postings) = reader.inverted_index(field)?.read_postings(&term, IndexRecordOption::Basic)?
            else {
                continue;
            };
            while postings.doc() != TERMINATED {
                if !reader.is_deleted(postings.doc()) {
                    each(&Row { segment, at: DocAddress::new(ordinal, postings.doc()) });
                }
                postings.advance();
            }
        }
        Ok(())
    }

    /// All texts, in no order.
    pub fn each(&self, each: &mut dyn FnMut(&Row<'_>)) {
        for ((ordinal, reader), segment) in (0..).zip(self.searcher.segment_readers()).zip(&self.segments) {
            reader.doc_ids_alive().for_each(|document| each(&Row { segment, at: DocAddress::new(ordinal, document) }));
        }
    }

    /// What was noted with a text.
    pub fn note(&self, at: DocAddress) -> tantivy::Result<String> {
        let Some(field) = self.fields.note else { return Ok(String::new()) };
        let document: TantivyDocument = self.searcher.doc(at)?;
        Ok(document.get_first(field).and_then(|value| value.as_str()).unwrap_or_default().to_owned())
    }
}

/// A text with the score that the walk gave it.
struct Candidate<T> {
    at: DocAddress,
    hit: WordHit<T>,
}

/// How far, as a share, sums of the same numbers in two orders may lie apart.
fn doubt(statistics: &WordStatistics) -> f32 {
    (4 + 2 * statistics.words.len()) as f32 * f32::EPSILON
}

/// Keeps those that may be among the `k` best; gives a score that all of these have more than.
fn keep_best<T>(candidates: &mut Vec<Candidate<T>>, k: usize, doubt: f32) -> f32 {
    if candidates.len() <= k {
        return 0.0;
    }
    let (_, worst, _) = candidates.select_nth_unstable_by(k - 1, |one, other| other.hit.bm25.total_cmp(&one.hit.bm25));
    let border = worst.hit.bm25 * (1.0 - doubt);
    candidates.retain(|candidate| candidate.hit.bm25 >= border);
    border.next_down()
}
