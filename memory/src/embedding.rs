//! Vectors for what has none: a few at once where something waits for them, the rest in the background.
//!
//! Vectors are kept by the text they are of and the model that made them. Where another model comes, all are made anew
//! while search goes on by words and by the vectors of that model that are there already; each batch is committed, so that
//! whoever comes after an interruption goes on from there. Beside another process that holds the database, its vectors
//! are taken ([`crate::known_vectors`]) and not made twice.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::embedder::Embedder;
use crate::error::MemoryError;
use crate::index::Waiting;
use crate::known_vectors::{self, PublishedVectors};
use crate::memory::Memory;
use crate::records::{EmbeddingProgress, Mode, Scope};
use crate::state::State;

/// Texts that the embedder gets at once.
const BATCH: usize = 32;

/// In the background: whoever waits for the embedder waits no longer than this many take.
const BACKGROUND_BATCH: usize = 16;

/// Texts without vectors that one search embeds before it looks, where nobody does so in the background: it stays quick
/// after a long time without an embedder, and catches up over a few searches.
const CATCH_UP: usize = 64;

/// How often the background looks whether there is something to do.
const TICK: Duration = Duration::from_secs(1);

/// After a failure of the embedder, before it is asked again.
const RECOVERY: Duration = Duration::from_secs(30);

impl Memory {
    /// Search by meaning from now on. Embeds all that has no vector of this model yet, which
    /// takes a while where memory is large.
    pub fn set_embedder(&self, embedder: Arc<dyn Embedder>) -> Result<(), MemoryError> {
        self.use_embedder(embedder);
        self.embed_missing(usize::MAX)
    }

    /// Search by meaning from now on. What has no vector of this model yet is found by its words, until
    /// [`Memory::embed_in_background`] was there.
    pub fn use_embedder(&self, embedder: Arc<dyn Embedder>) {
        self.replace_embedder(embedder);
        self.state().published_vectors = PublishedVectors::default();
    }

    /// Gives every text its vector, a few at a time and half of the time, as long as memory is there. Whoever asks the
    /// embedder for something else goes first. Returns at once where another thread does this already.
    pub fn embed_in_background(memory: &Weak<Self>) {
        if memory.upgrade().is_none_or(|memory| memory.background.swap(true, Ordering::SeqCst)) {
            return;
        }
        let mut begun = false;
        while let Some(pause) = step(memory, &mut begun) {
            std::thread::sleep(pause);
        }
    }

    /// Whether a thread of this process embeds what is missing.
    pub fn embeds_in_background(&self) -> bool {
        self.background.load(Ordering::SeqCst)
    }

    /// How far the vectors of the embedding model are; `None` without one.
    pub fn embedding_progress(&self) -> Result<Option<EmbeddingProgress>, MemoryError> {
        let Some(embedder) = self.embedder() else { return Ok(None) };
        let mut state = self.state();
        let deferred = state.left_to_holder(embedder.name())?.len();
        let (done, total) = state.index_for(Some(&*embedder))?.coverage();
        let model = embedder.name().to_owned();
        Ok(Some(EmbeddingProgress {
            model,
            done,
            total,
            left_to_holder: deferred,
            in_background: self.embeds_in_background(),
        }))
    }

    /// How many texts have no vector of the embedding model yet, and get it from this process; 0 without a model.
    pub fn pending_embeddings(&self) -> Result<usize, MemoryError> {
        let progress = self.embedding_progress()?;
        Ok(progress.map_or(0, |progress| (progress.total - progress.done).saturating_sub(progress.left_to_holder)))
    }

    /// Gives up to `limit` texts their vectors, the newest first.
    pub fn embed_pending(&self, limit: usize) -> Result<(), MemoryError> {
        self.embed_missing(limit)
    }

    /// Removes the vectors of models other than the one at hand; gives how many there were of which.
    pub fn remove_other_vectors(&self, really: bool) -> Result<Vec<(String, usize)>, MemoryError> {
        let Some(embedder) = self.embedder() else { return Ok(Vec::new()) };
        let mut state = self.state();
        let mut models = state.store.vectors_by_model()?;
        models.retain(|(model, _)| model != embedder.name());
        if really {
            models.iter().try_for_each(|(model, _)| state.store.remove_vectors_of(model))?;
        }
        Ok(models)
    }

    /// What was written is kept either way; the next search tries again.
    pub(crate) fn embed_after_writing(&self) {
        let limit = if self.embeds_in_background() { BATCH } else { usize::MAX };
        if let Err(error) = self.embed_missing(limit) {
            tracing::warn!(%error);
        }
    }

    /// A few texts that came since; where there are many, they are left to the background.
    pub(crate) fn embed_before_searching(&self) -> Result<(), MemoryError> {
        let Some(embedder) = self.embedder() else { return Ok(()) };
        let many = self.embeds_in_background() && self.state().missing(&*embedder, CATCH_UP + 1)?.len() > CATCH_UP;
        if many { Ok(()) } else { self.embed_missing(CATCH_UP) }
    }

    /// Embeds up to `limit` texts. Memory is not locked while the model thinks.
    fn embed_missing(&self, limit: usize) -> Result<(), MemoryError> {
        let mut left = limit;
        // Another model may come in between.
        while left > 0
            && let Some(embedder) = self.embedder()
        {
            self.urgent.fetch_add(1, Ordering::SeqCst);
            let turn = self.embedding.lock().unwrap_or_else(PoisonError::into_inner);
            self.urgent.fetch_sub(1, Ordering::SeqCst);
            let missing = self.state().missing(&*embedder, left.min(BATCH))?;
            if missing.is_empty() {
                break;
            }
            left -= missing.len();
            let vectors = embed_all(&*embedder, &missing)?;
            self.keep(&embedder, missing, vectors)?;
            drop(turn);
        }
        Ok(())
    }

    /// Unless another model came while this one thought.
    fn keep(
        &self,
        embedder: &Arc<dyn Embedder>,
        missing: Vec<Waiting>,
        vectors: Vec<Vec<f32>>,
    ) -> Result<(), MemoryError> {
        let mut state = self.state();
        match self.embedder() {
            Some(current) if Arc::ptr_eq(&current, embedder) => {
                state.keep_vectors(&**embedder, missing.into_iter().zip(vectors))
            }
            _ => Ok(()),
        }
    }
}

/// One batch in the background, and how long to rest after it; `None` when memory is gone. It is held only while it is
/// read or written: a notebook that ends gives the database free.
fn step(memory: &Weak<Memory>, begun: &mut bool) -> Option<Duration> {
    let held = memory.upgrade()?;
    if held.urgent.load(Ordering::SeqCst) > 0 {
        return Some(Duration::from_millis(2));
    }
    let Some(embedder) = held.embedder() else { return Some(TICK) };
    let (turns, begin) = (Arc::clone(&held.embedding), Instant::now());
    let turn = turns.lock().unwrap_or_else(PoisonError::into_inner);
    let (missing, published) = {
        let mut state = held.state();
        // It is large: once, to begin with; after that when somebody searches.
        if state.index.is_none() && std::mem::replace(begun, true) {
            return Some(TICK);
        }
        state.take_vectors_of_holder_quietly();
        let missing = state.missing(&*embedder, BACKGROUND_BATCH);
        let published = state.vectors_to_publish(&*embedder, missing.as_ref().is_ok_and(Vec::is_empty));
        (missing, published)
    };
    drop(held);
    match published {
        Ok(Some(published)) => published.write(),
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "other notebooks make their vectors themselves"),
    }
    let outcome = missing.and_then(|missing| {
        if missing.is_empty() {
            return Ok(false);
        }
        let vectors = embed_all(&*embedder, &missing)?;
        memory.upgrade().map_or(Ok(()), |memory| memory.keep(&embedder, missing, vectors))?;
        Ok(true)
    });
    drop(turn);
    match outcome {
        Ok(true) => Some(begin.elapsed() / 2),
        Ok(false) => Some(TICK),
        Err(error) => {
            tracing::warn!(%error);
            Some(RECOVERY)
        }
    }
}

impl State {
    /// Texts that this process has to embed, the newest first.
    fn missing(&mut self, embedder: &dyn Embedder, limit: usize) -> Result<Vec<Waiting>, MemoryError> {
        let deferred = self.left_to_holder(embedder.name())?;
        let mut missing = self.without_vectors(embedder, limit.saturating_add(deferred.len()))?;
        missing.retain(|(_, content, _)| !deferred.contains(content));
        missing.truncate(limit);
        Ok(missing)
    }

    /// Contents of facts without vectors that the process which holds the database embeds with this model, as far as is known.
    fn left_to_holder(&mut self, model: &str) -> Result<HashSet<String>, MemoryError> {
        if !matches!(self.mode, Mode::Shared { .. }) {
            return Ok(HashSet::new());
        }
        let facts = known_vectors::left_to_holder(self, model)?;
        let Some(index) = self.index.as_ref().filter(|index| index.model.as_deref() == Some(model)) else {
            return Ok(facts);
        };
        let facts: HashSet<String> = facts.into_iter().filter(|content| index.vector(content).is_none()).collect();
        // A few are made sooner than they are waited for.
        Ok(if facts.len() > BATCH { facts } else { HashSet::new() })
    }

    /// In the database, as far as they are of what outlives this run, and in the index.
    pub fn keep_vectors(
        &mut self,
        embedder: &dyn Embedder,
        embedded: impl Iterator<Item = (Waiting, Vec<f32>)>,
    ) -> Result<(), MemoryError> {
        let (mut durable, mut late) = (Vec::new(), Vec::new());
        for ((scope, content, _), mut vector) in embedded {
            late.extend(self.undecided.contains_key(&content).then(|| content.clone()));
            if vector.len() != embedder.dimensions() {
                vector.clear();
            }
            // They may have come from another process meanwhile.
            let new = self.index_for(Some(embedder))?.set_vector(&content, &vector);
            if new && scope != Scope::Session {
                durable.push((content, vector));
            }
        }
        self.published_vectors.outdated |= !durable.is_empty();
        self.store.add_vectors(embedder.name(), &durable)?;
        self.decide_late(embedder, &late)
    }
}

/// One vector a text.
pub(crate) fn embed(embedder: &dyn Embedder, texts: &[&str]) -> Result<Vec<Vec<f32>>, MemoryError> {
    let vectors = embedder.embed(texts).map_err(MemoryError::Embedder)?;
    if vectors.len() == texts.len() {
        Ok(vectors)
    } else {
        Err(MemoryError::Embedder(format!("{} texts gave {} vectors", texts.len(), vectors.len())))
    }
}

fn embed_all(embedder: &dyn Embedder, missing: &[Waiting]) -> Result<Vec<Vec<f32>>, MemoryError> {
    let texts: Vec<&str> = missing.iter().map(|(_, _, text)| text.as_str()).collect();
    embed(embedder, &texts)
}
