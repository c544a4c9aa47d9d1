//! Documents of knowledge: kept with what they were read from, listed, removed; their pieces embedded a few at a time.

use chrono::{DateTime, Utc};

use crate::error::MemoryError;
use crate::event::{Entry, Event, digest};
use crate::knowledge::chunk_document;
use crate::memory::Memory;
use crate::records::{FactId, FactPlace, Hit, NewChunk, NewDocument, Provenance, Scope, StoredDocument, TurnId};
use crate::store::StoredChunk;

impl Memory {
    /// The documents that can be seen from here, of one scope or of all, by scope and origin.
    pub fn documents(&self, scope: Option<Scope>) -> Result<Vec<StoredDocument>, MemoryError> {
        let mut state = self.state();
        state.refresh();
        let mut documents = Vec::new();
        for store in state.session.iter().chain([&state.store]) {
            let stored = store.documents()?.into_iter();
            let seen = stored.filter(|(place, _)| {
                state.sees(place.scope, &place.project) && scope.is_none_or(|scope| scope == place.scope)
            });
            documents.extend(seen.map(|(_, document)| document));
        }
        documents.sort_by(|left, right| (left.scope, &left.origin).cmp(&(right.scope, &right.origin)));
        Ok(documents)
    }

    /// Keeps documents with their pieces, all of them or none, each in place of what was kept of its origin. They are found
    /// by their words at once, by their meaning when [`Memory::embed_pending`] was there.
    pub fn keep_documents(&self, scope: Scope, mut documents: Vec<NewDocument>) -> Result<(), MemoryError> {
        let redactor = self.redactor();
        for new in &mut documents {
            if let Some(chunks) = &mut new.chunks {
                for chunk in chunks.iter_mut() {
                    chunk.text = redactor.redact(&chunk.text).into_owned();
                    chunk.title = redactor.redact(&chunk.title).into_owned();
                }
                new.document.chunks = chunks.len();
            }
        }
        let mut state = self.state();
        let place = FactPlace::new(scope, &state.project);
        let mut before = Vec::new();
        for new in documents.iter().filter(|new| new.chunks.is_some()) {
            before.extend(contents(
                &new.document.origin,
                &place,
                &state.store_of(scope)?.chunks_of(&new.document.origin, &place)?,
            ));
        }
        let event = Event::DocumentsKept { documents: documents.clone(), place: place.clone() };
        let now = Utc::now();
        state.record_in(scope, Entry::now(event))?;
        let replaced: Vec<&str> =
            documents.iter().filter(|new| new.chunks.is_some()).map(|new| new.document.origin.as_str()).collect();
        let embedder = self.embedder();
        state.documents_gone(embedder.as_deref(), &place, &replaced)?;
        let index = state.index_for(embedder.as_deref())?;
        for new in &documents {
            for (position, chunk) in new.chunks.iter().flatten().enumerate() {
                index.insert(chunk_document(&place, &new.document.origin, position, chunk, now));
            }
        }
        state.drop_unused_vectors(before)
    }

    /// Forgets documents and their pieces.
    pub fn remove_documents(&self, scope: Scope, origins: &[&str]) -> Result<(), MemoryError> {
        let mut state = self.state();
        let place = FactPlace::new(scope, &state.project);
        let mut before = Vec::new();
        for origin in origins {
            before.extend(contents(origin, &place, &state.store_of(scope)?.chunks_of(origin, &place)?));
        }
        let names = origins.iter().map(|origin| (*origin).to_owned()).collect();
        state.record_in(scope, Entry::now(Event::DocumentsRemoved { origins: names, place: place.clone() }))?;
        state.documents_gone(self.embedder().as_deref(), &place, origins)?;
        state.drop_unused_vectors(before)
    }

    /// A document's pieces in their order.
    pub fn chunks_of(&self, scope: Scope, origin: &str) -> Result<Vec<NewChunk>, MemoryError> {
        let mut state = self.state();
        let place = FactPlace::new(scope, &state.project);
        state.store_of(scope)?.chunks_of(origin, &place)
    }

    /// Where something that was found stands: `/home/me/book/src/moves.md:10-24`, `https://example.org/paper.pdf#page=3`; for
    /// what is no piece of a document, its origin.
    pub fn whereabouts(&self, hit: &Hit) -> String {
        let chunk = self.stored_chunk(hit);
        chunk.map_or_else(|| hit.origin.clone(), |stored| format!("{}{}", hit.origin, stored.chunk.place))
    }

    /// Where something that was found comes from, for people.
    pub fn provenance(&self, hit: &Hit) -> Result<Provenance, MemoryError> {
        if hit.kind == "chunk" {
            let stored = self.stored_chunk(hit);
            let at = stored.as_ref().map(|stored| stored.kept_at);
            let place = stored.map(|stored| stored.chunk.place).unwrap_or_default();
            return Ok(Provenance { origin: hit.origin.clone(), place, at, ..Provenance::default() });
        }
        let state = self.state();
        let known = state.known()?;
        let fact = Some(hit).filter(|hit| hit.kind == "fact").and_then(|hit| known.get(&FactId::from(hit.id.as_str())));
        let (turn, by, at) = match fact {
            Some(fact) => (fact.turn.clone(), fact.source.clone(), Some(fact.created_at)),
            None => (hit.id.split_once('#').map(|(turn, _)| TurnId::from(turn)), hit.title.clone(), None),
        };
        let said = turn.map_or(Ok(None), |turn| state.store.turn_place(&turn))?;
        Ok(match said {
            Some(said) => Provenance {
                by: if by == "assistant" { said.agent } else { by },
                origin: said.notebook,
                turn: Some(said.number),
                conversation: Some(said.conversation),
                at: at.or(Some(said.at)),
                ..Provenance::default()
            },
            None => Provenance { by, at, ..Provenance::default() },
        })
    }

    fn stored_chunk(&self, hit: &Hit) -> Option<StoredChunk> {
        let position = Some(hit).filter(|hit| hit.kind == "chunk")?.id.rsplit_once('#')?.1.parse().ok()?;
        let mut state = self.state();
        let place = FactPlace::new(hit.scope, &state.project);
        state.store_of(hit.scope).and_then(|store| store.chunk_at(&hit.origin, position, &place)).ok()?
    }
}

/// What the vectors of these pieces are kept by.
fn contents(origin: &str, place: &FactPlace, chunks: &[NewChunk]) -> Vec<String> {
    let documents = chunks
        .iter()
        .enumerate()
        .map(|(position, chunk)| chunk_document(place, origin, position, chunk, DateTime::default()));
    documents.map(|document| digest(&document.content())).collect()
}
