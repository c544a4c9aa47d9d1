//! Documents, and finding again what is remembered.

use chrono::{DateTime, Utc};

use crate::embedding::embed;
use crate::error::MemoryError;
use crate::event::{Entry, Event, digest};
use crate::index::{Document, Gone};
use crate::memory::Memory;
use crate::records::{Fact, FactId, FactPlace, Hit, NewChunk, Scope, SearchOptions};
use crate::state::State;

impl Memory {
    /// Keeps a document in pieces, in place of what was kept of the same `origin`. Gives how
    /// many pieces are new or moved: 0 when nothing changed. No piece is embedded twice.
    pub fn add_chunks(&self, origin: &str, chunks: &[NewChunk], scope: Scope) -> Result<usize, MemoryError> {
        let redactor = self.redactor();
        let clean = |text: &str| redactor.redact(text).into_owned();
        let clean = |chunk: &NewChunk| NewChunk {
            title: clean(&chunk.title),
            text: clean(&chunk.text),
            place: chunk.place.clone(),
        };
        let chunks: Vec<NewChunk> = chunks.iter().map(clean).collect();
        let changed = {
            let mut state = self.state();
            let place = FactPlace::new(scope, &state.project);
            let before = state.store_of(scope)?.chunks_of(origin, &place)?;
            if before == chunks {
                return Ok(0);
            }
            let event =
                Event::ChunksReplaced { document: origin.to_owned(), chunks: chunks.clone(), place: place.clone() };
            let now = Utc::now();
            state.record_in(scope, Entry::now(event))?;
            let embedder = self.embedder();
            state.documents_gone(embedder.as_deref(), &place, &[origin])?;
            let index = state.index_for(embedder.as_deref())?;
            for (position, chunk) in chunks.iter().enumerate() {
                index.insert(chunk_document(&place, origin, position, chunk, now));
            }
            let old =
                before.iter().enumerate().map(|(position, chunk)| chunk_document(&place, origin, position, chunk, now));
            state.drop_unused_vectors(old.map(|document| digest(&document.content())).collect())?;
            chunks.iter().enumerate().filter(|(position, chunk)| before.get(*position) != Some(*chunk)).count()
        };
        self.embed_after_writing();
        Ok(changed)
    }

    /// The `k` best of all that is remembered, best first.
    pub fn search(&self, query: &str, k: usize) -> Result<Vec<Hit>, MemoryError> {
        self.search_with(query, k, &SearchOptions::default())
    }

    /// Search by words (BM25) and, where there is an embedder, by meaning (cosine); the best in the order of the reranker,
    /// where there is one.
    pub fn search_with(&self, query: &str, k: usize, options: &SearchOptions) -> Result<Vec<Hit>, MemoryError> {
        if query.trim().is_empty() || k == 0 {
            return Ok(Vec::new());
        }
        self.state().refresh();
        let embedder = self.embedder();
        let vector = embedder.as_deref().and_then(|embedder| {
            let vectors = self.embed_before_searching().and_then(|()| embed(embedder, &[query]));
            vectors.inspect_err(|error| tracing::warn!(%error)).ok()?.pop()
        });
        let candidates = self.candidates(k);
        let mut hits = {
            let mut state = self.state();
            let known = state.known()?;
            let hidden = known.hidden();
            let mut hits =
                state.find(embedder.as_deref(), query, vector.as_deref(), candidates + hidden.len(), options)?;
            hits.retain(|hit| hit.kind != "fact" || !hidden.contains(&hit.id));
            for hit in hits.iter_mut().filter(|hit| hit.kind == "message") {
                hit.text = state.veil.lifted(&hit.text).into_owned();
            }
            hits
        };
        hits.truncate(candidates);
        self.reranked(query, &mut hits);
        hits.truncate(k);
        Ok(hits)
    }
}

impl State {
    /// A fact came, and others went.
    pub fn fact_changed(&mut self, id: &FactId, replaced: &[Fact]) -> Result<(), MemoryError> {
        for fact in replaced {
            self.fact_gone(fact)?;
        }
        let known = self.known()?;
        if let (Some(index), Some(fact)) = (&mut self.index, known.get(id)) {
            index.insert(fact_document(fact));
        }
        Ok(())
    }

    /// A fact holds no more.
    pub fn fact_gone(&mut self, fact: &Fact) -> Result<(), MemoryError> {
        if let Some(index) = &mut self.index {
            index.remove(&Gone::Fact(fact.scope, fact.id.as_str()));
        }
        self.drop_unused_vectors(vec![digest(&fact.text)])
    }

    pub fn drop_unused_vectors(&mut self, mut contents: Vec<String>) -> Result<(), MemoryError> {
        if let Some(index) = &mut self.index {
            contents.retain(|content| !index.uses(content));
            index.remove_vectors(&contents);
        }
        self.store.remove_vectors(&contents)
    }
}

pub(crate) fn fact_document(fact: &Fact) -> Document {
    Document {
        kind: "fact",
        scope: fact.scope,
        id: fact.id.to_string(),
        origin: fact.source.clone(),
        title: String::new(),
        text: fact.text.clone(),
        created_at: Some(fact.confirmed_at),
        importance: fact.weight(Utc::now()),
        pinned: fact.pinned,
        project: (fact.scope == Scope::Project).then(|| fact.project.to_string()),
    }
}

pub(crate) fn chunk_document(
    place: &FactPlace,
    origin: &str,
    position: usize,
    chunk: &NewChunk,
    kept_at: DateTime<Utc>,
) -> Document {
    Document {
        kind: "chunk",
        scope: place.scope,
        id: format!("{origin}#{position}"),
        origin: origin.to_owned(),
        title: chunk.title.clone(),
        text: chunk.text.clone(),
        created_at: Some(kept_at),
        importance: Document::USUAL,
        pinned: false,
        project: (place.scope == Scope::Project).then(|| place.project.to_string()),
    }
}
