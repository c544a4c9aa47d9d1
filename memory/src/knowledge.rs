//! Documents, and finding again what is remembered.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::embedder::Embedder;
use crate::error::MemoryError;
use crate::event::{Entry, Event, digest};
use crate::index::{Document, Gone};
use crate::memory::Memory;
use crate::records::{Fact, FactId, FactPlace, Hit, NewChunk, Scope, SearchOptions};
use crate::state::State;

/// Texts that the embedder gets at once.
const BATCH: usize = 32;

/// Texts without vectors that one search embeds before it looks: it stays quick after a long
/// time without an embedder, and catches up over a few searches.
const CATCH_UP: usize = 64;

impl Memory {
    /// Search by meaning from now on. Embeds all that has no vector of this model yet, which
    /// takes a while where memory is large.
    pub fn set_embedder(&self, embedder: Arc<dyn Embedder>) -> Result<(), MemoryError> {
        self.replace_embedder(embedder);
        self.embed_missing(usize::MAX)
    }

    /// Keeps a document in pieces, in place of what was kept of the same `origin`. Gives how
    /// many pieces are new or moved: 0 when nothing changed. No piece is embedded twice.
    pub fn add_chunks(&self, origin: &str, chunks: &[NewChunk], scope: Scope) -> Result<usize, MemoryError> {
        let redactor = self.redactor();
        let clean = |text: &str| redactor.redact(text).into_owned();
        let clean = |chunk: &NewChunk| NewChunk { title: clean(&chunk.title), text: clean(&chunk.text), place: chunk.place.clone() };
        let chunks: Vec<NewChunk> = chunks.iter().map(clean).collect();
        let changed = {
            let mut state = self.state();
            let place = FactPlace::new(scope, &state.project);
            let before = state.store_of(scope)?.chunks_of(origin, &place)?;
            if before == chunks {
                return Ok(0);
            }
            let event = Event::ChunksReplaced { document: origin.to_owned(), chunks: chunks.clone(), place: place.clone() };
            let now = Utc::now();
            state.record_in(scope, Entry::now(event))?;
            let embedder = self.embedder();
            state.documents_gone(embedder.as_deref(), &place, &[origin])?;
            let index = state.index_for(embedder.as_deref())?;
            for (position, chunk) in chunks.iter().enumerate() {
                index.insert(chunk_document(&place, origin, position, chunk, now));
            }
            let old = before.iter().enumerate().map(|(position, chunk)| chunk_document(&place, origin, position, chunk, now));
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

    /// Search by words (BM25) and, where there is an embedder, by meaning (exact cosine).
    pub fn search_with(&self, query: &str, k: usize, options: &SearchOptions) -> Result<Vec<Hit>, MemoryError> {
        if query.trim().is_empty() || k == 0 {
            return Ok(Vec::new());
        }
        self.state().refresh();
        let embedder = self.embedder();
        let vector = embedder.as_deref().and_then(|embedder| {
            let vectors = self.embed_missing(CATCH_UP).and_then(|()| embed(embedder, &[query]));
            vectors.inspect_err(|error| tracing::warn!(%error)).ok()?.pop()
        });
        let mut state = self.state();
        let hidden = state.hidden_facts()?;
        let mut hits = state.find(embedder.as_deref(), query, vector.as_deref(), k + hidden.len(), options)?;
        hits.retain(|hit| hit.kind != "fact" || !hidden.contains(&hit.id));
        hits.truncate(k);
        Ok(hits)
    }

    /// What was written is kept either way; the next search tries again.
    pub(crate) fn embed_after_writing(&self) {
        if let Err(error) = self.embed_missing(usize::MAX) {
            tracing::warn!(%error);
        }
    }

    /// Embeds up to `limit` texts. Memory is not locked while the model thinks.
    pub(crate) fn embed_missing(&self, limit: usize) -> Result<(), MemoryError> {
        let Some(embedder) = self.embedder() else { return Ok(()) };
        let mut left = limit;
        while left > 0 {
            let missing = self.state().without_vectors(&*embedder, left.min(BATCH))?;
            if missing.is_empty() {
                break;
            }
            left -= missing.len();
            let texts: Vec<&str> = missing.iter().map(|(_, _, text)| text.as_str()).collect();
            let vectors = embed(&*embedder, &texts)?;
            self.state().keep_vectors(&*embedder, missing.into_iter().zip(vectors))?;
        }
        Ok(())
    }
}

impl State {
    /// A fact came, and others went.
    pub fn fact_changed(&mut self, id: &FactId, replaced: &[Fact]) -> Result<(), MemoryError> {
        for fact in replaced {
            self.fact_gone(fact)?;
        }
        let fact = self.facts(None)?.into_iter().find(|fact| fact.id == *id);
        if let (Some(index), Some(fact)) = (&mut self.index, fact) {
            index.insert(fact_document(&fact));
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

    fn keep_vectors(
        &mut self,
        embedder: &dyn Embedder,
        embedded: impl Iterator<Item = ((Scope, String, String), Vec<f32>)>,
    ) -> Result<(), MemoryError> {
        let mut durable = Vec::new();
        for ((scope, content, _), mut vector) in embedded {
            if vector.len() != embedder.dimensions() {
                vector.clear();
            }
            // Another thread may have been faster.
            let new = self.index_for(Some(embedder))?.set_vector(&content, &vector);
            if new && scope != Scope::Session {
                durable.push((content, vector));
            }
        }
        self.store.add_vectors(embedder.name(), &durable)
    }

    pub fn drop_unused_vectors(&mut self, mut contents: Vec<String>) -> Result<(), MemoryError> {
        if let Some(index) = &mut self.index {
            contents.retain(|content| !index.uses(content));
            index.remove_vectors(&contents);
        }
        self.store.remove_vectors(&contents)
    }
}

pub(crate) fn embed(embedder: &dyn Embedder, texts: &[&str]) -> Result<Vec<Vec<f32>>, MemoryError> {
    let vectors = embedder.embed(texts).map_err(MemoryError::Embedder)?;
    if vectors.len() == texts.len() {
        Ok(vectors)
    } else {
        Err(MemoryError::Embedder(format!("{} texts gave {} vectors", texts.len(), vectors.len())))
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

pub(crate) fn chunk_document(place: &FactPlace, origin: &str, position: usize, chunk: &NewChunk, kept_at: DateTime<Utc>) -> Document {
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
