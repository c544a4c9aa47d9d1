//! Finding in memory's index: candidates by words and by meaning, weighed, diversified.

use std::collections::{HashMap, HashSet};

use chrono::Utc;
use codriver_vectors::{Admit, EXACT_BELOW};

use crate::error::MemoryError;
use crate::index::kept::{KeptText, origin_of_conversation};
use crate::index::lexical::WordStatistics;
use crate::index::ranking::{Relevance, diversified, saturation, weight};
use crate::index::{Document, Index, key};
use crate::records::{Hit, SearchOptions};

/// Candidates that words and meaning each give, at least.
const CANDIDATES: usize = 200;

/// What can be told of a candidate before its text is there.
struct Candidate {
    relevance: Relevance,
    content: u64,
    kind: &'static str,
    kept: Option<KeptText>,
}

/// Something found: whole, or still without its text.
pub(crate) struct Found {
    pub hit: Hit,
    /// Where its text is, if it has none yet.
    pub kept: Option<KeptText>,
}

/// What a search may find.
pub(crate) struct Filter<'a> {
    options: &'a SearchOptions,
    /// The origins among kept texts that the options ask for; `None` where they ask for none.
    origins: Option<HashSet<u64>>,
    without: Option<u64>,
}

impl<'a> Filter<'a> {
    pub fn new(options: &'a SearchOptions, origins: Option<HashSet<u64>>) -> Self {
        let without = options.without_conversation.as_ref().map(|id| origin_of_conversation(id.as_str()));
        Self { options, origins, without }
    }

    fn admits(&self, document: &Document) -> bool {
        self.options.admits(document) && self.options.admits_origin(&document.origin)
    }

    fn admits_kept(&self, text: &KeptText) -> bool {
        self.origins.as_ref().is_none_or(|origins| origins.contains(&text.origin))
            && !(text.is_message && self.without == Some(text.origin))
            && self.options.admits(&text.document())
    }

    /// Whether any text that may be kept in the file is asked for.
    fn asks_for_kept(&self) -> bool {
        self.options.kinds.is_empty() || self.options.kinds.iter().any(|kind| matches!(*kind, "message" | "chunk"))
    }
}

impl Index {
    /// The best `k` documents for a query, best first; newer ones first among equals, and what says nearly the same as
    /// a better one later.
    pub fn search(
        &self,
        query: &str,
        vector: Option<&[f32]>,
        k: usize,
        filter: &Filter<'_>,
    ) -> Result<Vec<Found>, MemoryError> {
        let candidates = CANDIDATES.max(4 * k);
        let mut statistics = WordStatistics::of(query);
        // However often the query says it: questions repeat what matters little.
        statistics.words.values_mut().for_each(|(count, _)| *count = 1);
        if let Some(kept) = &self.kept {
            kept.count(&mut statistics)?;
        }
        self.count(&mut statistics);
        let ideal = statistics.ideal();
        let mut found: HashMap<u32, Candidate> = HashMap::new();
        for (candidate, cosine) in self.near(vector, candidates, filter) {
            let candidate = found.entry(candidate.relevance.slot).or_insert(candidate);
            candidate.relevance.cosine = Some(cosine);
        }
        let cosines = self.vectors.as_ref().zip(vector).map(|(vectors, vector)| vectors.cosines(vector));
        for (candidate, bm25) in self.by_words(&statistics, candidates, filter)? {
            let cosine = cosines.as_ref().and_then(|cosine| cosine(candidate.content));
            let candidate = found.entry(candidate.relevance.slot).or_insert(candidate);
            candidate.relevance.cosine = candidate.relevance.cosine.or(cosine);
            candidate.relevance.bm25 = Some(bm25);
        }
        for candidate in found.values_mut() {
            let relevance = &mut candidate.relevance;
            let share = relevance.bm25.map_or(0.0, |score| (score / ideal).min(1.0));
            // What has no vector yet counts by its words.
            let base = relevance.cosine.map_or(share, |meaning| (share + meaning.max(0.0)) / 2.0);
            relevance.score = (base * relevance.weight).min(1.0);
        }
        let mut ranked: Vec<&Candidate> = found.values().filter(|candidate| candidate.relevance.score > 0.0).collect();
        ranked.sort_by(|one, other| {
            let (one, other) = (&one.relevance, &other.relevance);
            other.score.total_cmp(&one.score).then(other.slot.cmp(&one.slot))
        });
        let mut seen = HashSet::new();
        // The same text may be remembered for the session and for good, or be said twice.
        ranked.retain(|candidate| seen.insert((candidate.kind, candidate.content)));
        let vector = |slot: u32| self.vectors.as_ref()?.get(found.get(&slot)?.content);
        let ranked = ranked.into_iter().map(|candidate| candidate.relevance).collect();
        let best = diversified(ranked, k, &vector).into_iter();
        best.filter_map(|relevance| Some(self.found(&relevance, found.get(&relevance.slot)?))).collect()
    }

    fn found(&self, relevance: &Relevance, candidate: &Candidate) -> Result<Found, MemoryError> {
        let described = |document: &Document| Hit {
            id: document.id.clone(),
            kind: document.kind,
            scope: document.scope,
            origin: document.origin.clone(),
            title: document.title.clone(),
            text: document.text.clone(),
            score: relevance.score,
            weight: relevance.weight,
            cosine: relevance.cosine,
            bm25: relevance.bm25,
            reranker: None,
        };
        if let (Some(text), Some(kept)) = (candidate.kept, &self.kept) {
            let note = kept.note(&text)?;
            let hit = described(&Document { id: note.id, origin: note.origin, ..text.document() });
            return Ok(Found { hit, kept: Some(text) });
        }
        let slot =
            self.fresh_slot(relevance.slot).ok_or_else(|| MemoryError::Index("a document is gone".to_owned()))?;
        Ok(Found { hit: described(&slot.document), kept: None })
    }

    fn candidate(&self, slot: u32, document: &Document, content: u64, kept: Option<KeptText>) -> Candidate {
        let relevance = Relevance { slot, cosine: None, bm25: None, score: 0.0, weight: weight(document, Utc::now()) };
        Candidate { relevance, content, kind: document.kind, kept }
    }

    fn fresh_candidate(&self, slot: u32, filter: &Filter<'_>) -> Option<Candidate> {
        let at = self.fresh_slot(slot).filter(|at| filter.admits(&at.document))?;
        Some(self.candidate(slot, &at.document, key(&at.content), None))
    }

    fn kept_candidate(&self, text: KeptText) -> Candidate {
        self.candidate(text.key as u32, &text.document(), text.content, Some(text))
    }

    /// Near a vector, with their cosines.
    fn near(&self, vector: Option<&[f32]>, count: usize, filter: &Filter<'_>) -> Vec<(Candidate, f32)> {
        let (Some(vectors), Some(vector)) = (&self.vectors, vector) else { return Vec::new() };
        let fresh = |content: u64| self.places.get(&content).into_iter().flatten().copied();
        let kept = |content: u64| self.kept.as_ref().map_or_else(Vec::new, |kept| kept.of_content(content));
        let admits_kept = |text: &KeptText| self.hidden.admits(text) && filter.admits_kept(text);
        let all = self.alive + self.kept.as_ref().map_or(0, |kept| kept.len());
        let nearly_all = !filter.options.is_narrow() && (self.alive + self.visible) * 10 >= all * 9;
        let near = if nearly_all {
            // Of the few that may not be found some may be among these: they are left out below.
            vectors.search(vector, count + count / 2, 0, &Admit::All)
        } else {
            let contents = self.contents(filter, &admits_kept);
            let share = contents.len() as f32 / vectors.len().max(1) as f32;
            match contents.len() < EXACT_BELOW || share < 0.1 {
                // Few are compared one by one: a walk would pass by too many others.
                true => vectors.search(vector, count, 0, &Admit::Keys(&contents.into_iter().collect::<Vec<_>>())),
                false => vectors.search(vector, count, 0, &Admit::Share(&|content| contents.contains(&content), share)),
            }
        };
        let mut found = Vec::with_capacity(near.len());
        for near in near {
            if found.len() >= count {
                break;
            }
            found.extend(
                fresh(near.key)
                    .filter_map(|slot| self.fresh_candidate(slot, filter))
                    .map(|candidate| (candidate, near.cosine)),
            );
            found.extend(
                kept(near.key).into_iter().filter(admits_kept).map(|text| (self.kept_candidate(text), near.cosine)),
            );
        }
        found
    }

    /// The contents of all that a filter lets through.
    fn contents(&self, filter: &Filter<'_>, admits_kept: &dyn Fn(&KeptText) -> bool) -> HashSet<u64> {
        let slots = self.slots.iter().flatten().filter(|slot| filter.admits(&slot.document));
        let mut contents: HashSet<u64> = slots.map(|slot| key(&slot.content)).collect();
        if let Some(kept) = self.kept.as_ref().filter(|_| filter.asks_for_kept()) {
            kept.each(&mut |text| {
                if admits_kept(&text) {
                    contents.insert(text.content);
                }
            });
        }
        contents
    }

    /// Counts the words of a query among what is not in the file.
    fn count(&self, statistics: &mut WordStatistics) {
        statistics.documents += self.alive as u64;
        statistics.tokens += self.total_length;
        for (word, (_, containing)) in &mut statistics.words {
            let postings = self.postings.get(word).into_iter().flatten();
            *containing += postings.filter(|(slot, _)| self.fresh_slot(*slot).is_some()).count() as u64;
        }
    }

    /// With their BM25.
    fn by_words(
        &self,
        statistics: &WordStatistics,
        count: usize,
        filter: &Filter<'_>,
    ) -> Result<Vec<(Candidate, f32)>, MemoryError> {
        let average_length = statistics.tokens as f32 / statistics.documents.max(1) as f32;
        let first = self.first();
        let mut scores = vec![0.0f32; if statistics.words.is_empty() { 0 } else { self.slots.len() }];
        for word in statistics.words.keys() {
            let rarity = statistics.rarity(word);
            for (slot, count) in self.postings.get(word).into_iter().flatten() {
                if let (Some(at), Some(score)) = (self.fresh_slot(*slot), scores.get_mut((*slot - first) as usize)) {
                    *score += rarity * saturation(*count, at.length, average_length);
                }
            }
        }
        let mut best: Vec<(u32, f32)> = (first..).zip(scores).filter(|(_, score)| *score > 0.0).collect();
        best.sort_unstable_by(|one, other| other.1.total_cmp(&one.1).then(other.0.cmp(&one.0)));
        let best = best.into_iter().filter_map(|(slot, bm25)| Some((self.fresh_candidate(slot, filter)?, bm25)));
        let mut found: Vec<(Candidate, f32)> = best.take(count).collect();
        if let Some(kept) = self.kept.as_ref().filter(|_| filter.asks_for_kept()) {
            let admit = |text: &KeptText| self.hidden.admits(text) && filter.admits_kept(text);
            let hits = kept.search(statistics, count, &admit)?;
            found.extend(hits.into_iter().map(|hit| (self.kept_candidate(hit.read), hit.bm25)));
        }
        Ok(found)
    }
}
