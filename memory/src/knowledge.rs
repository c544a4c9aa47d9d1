//! Facts and documents, and finding them again.

use std::collections::HashSet;
use std::sync::Arc;

use crate::embedder::Embedder;
use crate::error::MemoryError;
use crate::event::{Entry, Event, digest, fingerprint};
use crate::index::{Document, Index};
use crate::memory::{Memory, State, message_document};
use crate::records::{Fact, FactId, Hit, NewChunk, Scope, SearchOptions};

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

    /// Keeps a fact and gives its identifier. A fact that is known already, but for case,
    /// spacing and a final full stop, keeps the identifier it has.
    pub fn remember(&self, text: &str, scope: Scope, source: &str) -> Result<FactId, MemoryError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(MemoryError::EmptyFact);
        }
        let id = {
            let mut state = self.state();
            state.refresh();
            if let Some(known) = state.store_of(scope)?.fact_by_fingerprint(&fingerprint(text))? {
                return Ok(known);
            }
            let id = FactId::random();
            let event = Event::FactRemembered { id: id.clone(), text: text.to_owned(), source: source.to_owned() };
            state.record_in(scope, Entry::now(event))?;
            state.seen.fact_remembered(text);
            if let Some(index) = &mut state.index {
                index.insert(fact_document(scope, id.as_str(), source, text));
            }
            id
        };
        self.embed_after_writing();
        Ok(id)
    }

    /// Forgets a fact, named by its identifier or the beginning of it. False if there is none.
    /// What was said about it in conversations stays on record.
    pub fn forget(&self, fact: &FactId) -> Result<bool, MemoryError> {
        let mut state = self.state();
        state.refresh();
        let Some(fact) = find_fact(state.facts(None)?, fact.as_str())? else { return Ok(false) };
        let mut entry = Entry::now(Event::FactForgotten { fingerprint: fingerprint(&fact.text) });
        // Even if the clock was set back since.
        entry.at = entry.at.max(fact.created_at.timestamp_micros());
        state.record_in(fact.scope, entry)?;
        if fact.scope == Scope::Global {
            state.seen.fact_forgotten(&fact.text);
        }
        let index = state.index_for(self.embedder().as_deref())?;
        index.remove(|document| document.kind == "fact" && document.scope == fact.scope && document.id == fact.id.as_str());
        state.drop_unused_vectors(vec![digest(&fact.text)])?;
        Ok(true)
    }

    /// Oldest first, the session's last.
    pub fn facts(&self, scope: Option<Scope>) -> Result<Vec<Fact>, MemoryError> {
        let mut state = self.state();
        state.refresh();
        state.facts(scope)
    }

    /// Keeps a document in pieces, in place of what was kept of the same `origin`. Gives how
    /// many pieces are new or moved: 0 when nothing changed. No piece is embedded twice.
    pub fn add_chunks(&self, origin: &str, chunks: &[NewChunk], scope: Scope) -> Result<usize, MemoryError> {
        let changed = {
            let mut state = self.state();
            let before = state.store_of(scope)?.chunks_of(origin)?;
            if before == chunks {
                return Ok(0);
            }
            let event = Event::ChunksReplaced { document: origin.to_owned(), chunks: chunks.to_vec() };
            state.record_in(scope, Entry::now(event))?;
            let index = state.index_for(self.embedder().as_deref())?;
            index.remove(|document| document.kind == "chunk" && document.scope == scope && document.origin == origin);
            for (position, chunk) in chunks.iter().enumerate() {
                index.insert(chunk_document(scope, origin, position, chunk));
            }
            let old = before.iter().enumerate().map(|(position, chunk)| chunk_document(scope, origin, position, chunk));
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
        Ok(state.index_for(embedder.as_deref())?.search(query, vector.as_deref(), k, options))
    }

    /// What was written is kept either way; the next search tries again.
    fn embed_after_writing(&self) {
        if let Err(error) = self.embed_missing(usize::MAX) {
            tracing::warn!(%error);
        }
    }

    /// Embeds up to `limit` texts. Memory is not locked while the model thinks.
    fn embed_missing(&self, limit: usize) -> Result<(), MemoryError> {
        let Some(embedder) = self.embedder() else { return Ok(()) };
        let mut left = limit;
        while left > 0 {
            let missing = self.state().index_for(Some(&*embedder))?.without_vectors(left.min(BATCH));
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
    fn facts(&self, scope: Option<Scope>) -> Result<Vec<Fact>, MemoryError> {
        let mut facts = Vec::new();
        if scope != Some(Scope::Session) {
            facts.extend(self.store.facts(Scope::Global)?);
        }
        if let (Some(session), None | Some(Scope::Session)) = (&self.session, scope) {
            facts.extend(session.facts(Scope::Session)?);
        }
        Ok(facts)
    }

    fn store_of(&mut self, scope: Scope) -> Result<&mut crate::store::Store, MemoryError> {
        match scope {
            Scope::Session => self.session(),
            Scope::Global => Ok(&mut self.store),
        }
    }

    fn record_in(&mut self, scope: Scope, entry: Entry) -> Result<(), MemoryError> {
        match scope {
            Scope::Session => self.session()?.commit(&[entry]),
            Scope::Global => {
                self.record_entry(entry)?;
                self.publish_facts()
            }
        }
    }

    /// The index with this model's vectors.
    fn index_for(&mut self, embedder: Option<&dyn Embedder>) -> Result<&mut Index, MemoryError> {
        let model = embedder.map(|embedder| embedder.name().to_owned());
        let index = match self.index.take() {
            Some(index) if index.model == model => index,
            _ => self.build_index(model)?,
        };
        Ok(self.index.insert(index))
    }

    fn build_index(&self, model: Option<String>) -> Result<Index, MemoryError> {
        let mut index = Index::default();
        for (turn, position, conversation, role, content) in self.store.spoken()? {
            message_document(&turn, position, &conversation, &role, &content).into_iter().for_each(|document| index.insert(document));
        }
        for (scope, store) in [(Scope::Global, Some(&self.store)), (Scope::Session, self.session.as_ref())] {
            let Some(store) = store else { continue };
            for (document, position, chunk) in store.chunks()? {
                index.insert(chunk_document(scope, &document, position, &chunk));
            }
            for fact in store.facts(scope)? {
                index.insert(fact_document(scope, fact.id.as_str(), &fact.source, &fact.text));
            }
        }
        if let Some(model) = &model {
            for (content, vector) in self.store.vectors(model)? {
                index.set_vector(content, &vector);
            }
        }
        index.model = model;
        Ok(index)
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
            let new = self.index_for(Some(embedder))?.set_vector(content.clone(), &vector);
            if new && scope == Scope::Global {
                durable.push((content, vector));
            }
        }
        self.store.add_vectors(embedder.name(), &durable)
    }

    fn drop_unused_vectors(&mut self, mut contents: Vec<String>) -> Result<(), MemoryError> {
        if let Some(index) = &mut self.index {
            let used: HashSet<&str> = index.contents().collect();
            contents.retain(|content| !used.contains(content.as_str()));
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

/// The fact whose identifier is, or alone begins with, `prefix`.
fn find_fact(facts: Vec<Fact>, prefix: &str) -> Result<Option<Fact>, MemoryError> {
    if prefix.is_empty() {
        return Ok(None);
    }
    let mut matches: Vec<Fact> = facts.into_iter().filter(|fact| fact.id.as_str().starts_with(prefix)).collect();
    if matches.len() > 1 {
        let matches = matches.iter().map(|fact| fact.id.short().to_owned()).collect();
        return Err(MemoryError::Ambiguous { prefix: prefix.to_owned(), matches });
    }
    Ok(matches.pop())
}

fn fact_document(scope: Scope, id: &str, source: &str, text: &str) -> Document {
    let (id, origin, text) = (id.to_owned(), source.to_owned(), text.to_owned());
    let (title, project) = (String::new(), None);
    Document { kind: "fact", scope, id, origin, title, text, created_at: None, importance: Document::USUAL, pinned: false, project }
}

fn chunk_document(scope: Scope, origin: &str, position: usize, chunk: &NewChunk) -> Document {
    let (title, text) = (chunk.title.clone(), chunk.text.clone());
    let (id, origin) = (format!("{origin}#{position}"), origin.to_owned());
    Document { kind: "chunk", scope, id, origin, title, text, created_at: None, importance: Document::USUAL, pinned: false, project: None }
}
