//! The index is made ready: what its files hold, what the database holds beside that, and files that are written anew
//! beside the searches.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use codriver_vectors::{Generation, Vectors};

use crate::embedder::Embedder;
use crate::error::MemoryError;
use crate::event::digest;
use crate::index::files::{open_vectors, usable, vectors_file};
use crate::index::kept::{self, Kept, KeptText, origin_of_conversation, origin_of_document};
use crate::index::search::{Filter, Found};
use crate::index::{Document, Gone, GraphFile, Hidden, Index, Waiting, content, key};
use crate::journal::beside;
use crate::knowledge::{chunk_document, fact_document};
use crate::memory::message_document;
use crate::records::{FactPlace, Hit, Mode, SearchOptions};
use crate::state::State;
use crate::store::{Store, Wanted};

/// So many texts are indexed anew at each start: it takes no longer than to read them from a file.
const KEPT_FROM: usize = 4_000;

/// Where so many messages have no index, searches go on over the newest ones while the rest are indexed beside them.
const AT_ONCE: u64 = 50_000;

/// The newest ones, then.
const MEANWHILE: u64 = 20_000;

/// A file of words that is being written on another thread.
#[derive(Default)]
pub(crate) enum Upkeep {
    #[default]
    Idle,
    Writing(Receiver<Result<(), MemoryError>>),
    /// Not tried again in this process: words that are not in the file are indexed at each start.
    Failed,
}

impl State {
    /// The index with this model's vectors.
    pub fn index_for(&mut self, embedder: Option<&dyn Embedder>) -> Result<&mut Index, MemoryError> {
        self.tend_files();
        let model = embedder.map(|embedder| embedder.name().to_owned());
        let index = match self.index.take() {
            Some(index) if index.model == model => index,
            _ => self.build_index(model)?,
        };
        Ok(self.index.insert(index))
    }

    /// The best `k` of the index, whole.
    pub fn find(
        &mut self,
        embedder: Option<&dyn Embedder>,
        query: &str,
        vector: Option<&[f32]>,
        k: usize,
        options: &SearchOptions,
    ) -> Result<Vec<Hit>, MemoryError> {
        let filter = Filter::new(options, self.origins(options)?);
        let found = self.index_for(embedder)?.search(query, vector, k, &filter)?;
        self.with_texts(found)
    }

    /// Texts that have no vector of this model yet, the newest first.
    pub fn without_vectors(&mut self, embedder: &dyn Embedder, limit: usize) -> Result<Vec<Waiting>, MemoryError> {
        let (mut waiting, in_database) = self.index_for(Some(embedder))?.without_vectors(limit);
        if in_database.is_empty() {
            return Ok(waiting);
        }
        let kept = self.kept.clone().ok_or_else(|| MemoryError::Index("its file is closed".to_owned()))?;
        let found = |text: &KeptText| {
            let note = kept.note(text)?;
            let Document { kind, scope, .. } = text.document();
            let (title, text_of) = (String::new(), String::new());
            let hit = Hit {
                id: note.id,
                kind,
                scope,
                origin: note.origin,
                title,
                text: text_of,
                score: 0.0,
                weight: 1.0,
                cosine: None,
                bm25: None,
                reranker: None,
            };
            Ok(Found { hit, kept: Some(*text) })
        };
        let found = in_database.iter().map(found).collect::<Result<Vec<_>, MemoryError>>()?;
        for hit in self.with_texts(found)? {
            let content = content(hit.kind, &hit.title, &hit.text);
            waiting.push((hit.scope, digest(&content), content));
        }
        Ok(waiting)
    }

    /// Takes pieces of documents out of what is found.
    pub fn documents_gone(
        &mut self,
        embedder: Option<&dyn Embedder>,
        place: &FactPlace,
        origins: &[&str],
    ) -> Result<(), MemoryError> {
        let numbers: Vec<u64> =
            origins.iter().map(|origin| origin_of_document(&self.vault.disguise(origin), place)).collect();
        self.index_for(embedder)?.remove(&Gone::Documents(place, origins, &numbers));
        Ok(())
    }

    /// The next search makes another index. Vectors are those of contents, whoever says them: they are taken over, and a
    /// graph that is being built over them goes on.
    pub fn set_index_aside(&mut self) {
        self.outdated = self.index.take().or_else(|| self.outdated.take());
    }

    fn build_index(&mut self, model: Option<String>) -> Result<Index, MemoryError> {
        let resets: HashMap<String, u64> =
            self.store.resets()?.into_iter().map(|(id, turn)| (id.to_string(), turn)).collect();
        let mut hidden = Hidden::of(&self.project);
        hidden.until = resets.iter().map(|(id, turn)| (origin_of_conversation(id), *turn)).collect();
        let folder = self.index_folder();
        let opened = self.kept.take().or_else(|| Some(Arc::new(Kept::open(folder.as_deref()?, &self.vault)?)));
        let behind = opened.as_ref().map(|kept| kept.behind(&self.store)).transpose()?.flatten();
        let (kept, first, rows, documents) = match (opened, behind) {
            (Some(kept), Some(behind)) => {
                hidden.documents = behind.stale.clone();
                (Some(Arc::clone(&kept)), kept.label().messages, behind.rows(), Some(behind.documents))
            }
            _ => (None, 0, self.store.message_sums(0)?.rows, None),
        };
        // The rest comes from the file that is written meanwhile.
        let is_written = folder.is_some() && !matches!(self.upkeep, Upkeep::Failed);
        let first = if is_written && rows - first > AT_ONCE { rows - MEANWHILE } else { first };
        self.kept = kept.clone();
        let mut index = Index::new(kept, hidden);
        for spoken in self.store.spoken_between(first, rows)? {
            let since_reset = resets.get(spoken.conversation.as_str()).is_none_or(|turn| spoken.sequence > *turn);
            if since_reset && spoken.project == self.project {
                message_document(&spoken).into_iter().for_each(|document| index.insert(document));
            }
        }
        let mut chunks = match &documents {
            Some(documents) => self.store.chunks_among(documents)?,
            None => self.store.chunks()?,
        };
        chunks.extend(self.session.as_ref().map_or_else(|| Ok(Vec::new()), Store::chunks)?);
        for stored in chunks.into_iter().filter(|stored| self.sees(stored.place.scope, &stored.place.project)) {
            index.insert(chunk_document(
                &stored.place,
                &stored.document,
                stored.position,
                &stored.chunk,
                stored.kept_at,
            ));
        }
        for fact in self.facts(None)? {
            index.insert(fact_document(&fact));
        }
        index.model = model;
        match self.outdated.take().filter(|outdated| outdated.model == index.model) {
            Some(outdated) => index.take_vectors(outdated),
            None => self.read_vectors(&mut index, folder.as_deref())?,
        }
        self.write_if_due(&index, folder, rows - self.kept.as_ref().map_or(0, |kept| kept.label().messages));
        Ok(index)
    }

    /// From the graph's file, as far as it goes, and the database.
    fn read_vectors(&self, index: &mut Index, folder: Option<&Path>) -> Result<(), MemoryError> {
        let Some(model) = index.model.clone() else { return Ok(()) };
        let path = folder.map(|folder| vectors_file(folder, &model));
        let base = path.as_deref().and_then(|path| usable(path, || open_vectors(path, &self.vault)));
        let mut vectors = base.map(Vectors::with_base);
        let stored = self.not_in_file(vectors.as_mut(), &model)?;
        index.set_vectors(vectors);
        for (content, vector) in &stored {
            index.set_vector(content, vector);
        }
        index.vectors_are_set(path.map(|path| GraphFile { path, vault: self.vault.clone() }));
        Ok(())
    }

    /// Vectors that the database has and the graph's file has not; from what was read of that goes what the database has no
    /// more. The rest is left where it is: it is a hundred times as large as the names of the contents.
    fn not_in_file(&self, file: Option<&mut Vectors>, model: &str) -> Result<Vec<(String, Vec<f32>)>, MemoryError> {
        let Some(vectors) = file else { return Ok(self.store.vectors(model)?.into_iter().collect()) };
        let (present, stored): (HashSet<u64>, Vec<(String, Vec<f32>)>) = if self.vault.is_on() {
            // Contents have other names in the database.
            let stored = self.store.vectors(model)?;
            (stored.keys().map(|content| key(content)).collect(), stored.into_iter().collect())
        } else if vectors.base().map(Generation::label) == Some(self.store.vector_sum(model)?) {
            return Ok(Vec::new());
        } else {
            let rows = self.store.vector_rows(model)?;
            let missing: Vec<u64> =
                rows.iter().filter(|(content, _)| vectors.get(*content).is_none()).map(|(_, row)| *row).collect();
            (rows.into_iter().map(|(content, _)| content).collect(), self.store.vectors_in(model, &missing)?)
        };
        let gone: Vec<u64> = vectors.keys().filter(|content| !present.contains(content)).collect();
        for content in gone {
            vectors.remove(content);
        }
        Ok(stored)
    }

    /// Where files of indexes are, if this process may write them.
    fn index_folder(&self) -> Option<PathBuf> {
        let database = self.database.as_ref().filter(|_| self.mode == Mode::Durable)?;
        Some(beside(database, "index"))
    }

    /// Texts without a file: it takes over when it is written.
    fn write_if_due(&mut self, index: &Index, folder: Option<PathBuf>, messages: u64) {
        let kept = self.kept.as_ref().map_or(0, |kept| kept.len());
        let due = index.unwritten().max(messages as usize) >= KEPT_FROM.max(kept / 20);
        let (Some(folder), true, Upkeep::Idle) = (folder, due, &self.upkeep) else { return };
        let reader = match self.store.reader() {
            Ok(reader) => reader,
            Err(error) => {
                tracing::warn!(%error, "words are indexed at each start");
                self.upkeep = Upkeep::Failed;
                return;
            }
        };
        let (sender, receiver) = channel();
        let write = move || {
            let written = kept::write(&folder, &reader, &|| reader.goes_on());
            drop(reader);
            // Nobody waits for it where memory was closed meanwhile.
            drop(sender.send(written));
        };
        let spawned = std::thread::Builder::new().name("codriver-words".to_owned()).spawn(write);
        self.upkeep = spawned.map_or(Upkeep::Failed, |_| Upkeep::Writing(receiver));
    }

    /// Goes over to a file of words that is finished.
    fn tend_files(&mut self) {
        if let Upkeep::Writing(written) = &self.upkeep {
            self.upkeep = match written.try_recv() {
                Err(TryRecvError::Empty) => return,
                Ok(Ok(())) => Upkeep::Idle,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "words are indexed at each start");
                    Upkeep::Failed
                }
                Err(TryRecvError::Disconnected) => Upkeep::Failed,
            };
            self.set_index_aside();
            if matches!(self.upkeep, Upkeep::Idle) {
                self.kept = None;
            }
        } else if let (Upkeep::Idle, Some(index)) = (&self.upkeep, self.index.take()) {
            let folder = self.index_folder();
            self.write_if_due(&index, folder, 0);
            self.index = Some(index);
        }
    }

    /// The numbers of the origins that options ask for.
    fn origins(&self, options: &SearchOptions) -> Result<Option<HashSet<u64>>, MemoryError> {
        if options.origin.is_none() || self.kept.is_none() {
            return Ok(None);
        }
        let documents = self.store.document_names()?.into_iter();
        let documents = documents.filter(|(_, name, _)| options.admits_origin(name));
        let mut origins: HashSet<u64> =
            documents.map(|(stored, _, place)| origin_of_document(&stored, &place)).collect();
        let conversations = self.store.conversation_ids()?.into_iter().filter(|id| options.admits_origin(id));
        origins.extend(conversations.map(|id| origin_of_conversation(&id)));
        Ok(Some(origins))
    }

    /// What was found in the file, with the texts that the database has; without what it has no more.
    fn with_texts(&self, found: Vec<Found>) -> Result<Vec<Hit>, MemoryError> {
        let wanted = |of_kind: &'static str| -> Vec<Wanted<'_>> {
            let of_file = found.iter().filter(|found| found.hit.kind == of_kind);
            let wanted = of_file.filter_map(|found| {
                let (text, (turn, number)) = (found.kept?, found.hit.id.rsplit_once('#')?);
                let name = if text.is_message { turn } else { found.hit.origin.as_str() };
                Some(Wanted { name, position: number.parse().ok()?, at: text.said_at })
            });
            wanted.collect()
        };
        let messages = self.store.messages_among(&wanted("message"))?;
        let pieces = self.store.pieces_among(&wanted("chunk"))?;
        let place = |hit: &Hit| FactPlace::new(hit.scope, &self.project);
        let position = |hit: &Hit| hit.id.rsplit_once('#').and_then(|(_, position)| position.parse::<usize>().ok());
        let texts = |hit: &Hit| {
            if hit.kind == "message" {
                return messages.get(&hit.id).cloned();
            }
            let here = |stored: &&crate::store::StoredChunk| {
                stored.document == hit.origin && Some(stored.position) == position(hit) && stored.place == place(hit)
            };
            pieces.iter().find(here).map(|stored| (stored.chunk.title.clone(), stored.chunk.text.clone()))
        };
        let whole = |found: &Found| match found.kept {
            None => Some(found.hit.clone()),
            Some(_) => texts(&found.hit).map(|(title, text)| Hit { title, text, ..found.hit.clone() }),
        };
        Ok(found.iter().filter_map(whole).collect())
    }
}
