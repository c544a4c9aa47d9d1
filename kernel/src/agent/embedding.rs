//! The embedding model, and the reranker where one is wanted, loaded beside everything else and handed to memory.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use codriver_inference::TextEmbedder;
use codriver_inference::device::DeviceChoice;
use codriver_inference::store::Purpose;
use codriver_memory::{Embedder, Memory};

use super::reranking;
use super::store::model_store;
use crate::session::Interrupt;

/// How long a session that has just started is left alone before the embedder loads.
const GRACE: Duration = Duration::from_secs(3);

/// Loads the embedder once: soon, or when something is first searched for.
#[derive(Default)]
pub struct EmbedderLoader {
    progress: Mutex<Option<Arc<Progress>>>,
}

#[derive(Default)]
struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Somebody waits: no more grace.
    wanted: bool,
    finished: bool,
}

impl EmbedderLoader {
    /// Loads in the background, after a moment.
    pub fn start(&self, memory: &Arc<Memory>) {
        self.progress(memory);
    }

    /// Where there is something to find, waits until it can be found by its meaning, so that
    /// the same question finds the same things whether it comes early or late. Returns early
    /// when interrupted. What is only to be embedded anew, by another model, is not waited for.
    pub fn wait(&self, memory: &Arc<Memory>, interrupt: &Interrupt) {
        if memory.holds_something() {
            self.wait_anyway(memory, interrupt);
        }
    }

    /// The same before there is something, by those who are about to add it.
    pub fn wait_anyway(&self, memory: &Arc<Memory>, interrupt: &Interrupt) {
        let progress = self.progress(memory);
        let mut state = progress.state();
        state.wanted = true;
        progress.changed.notify_all();
        while !state.finished && !interrupt.is_set() {
            (state, _) =
                progress.changed.wait_timeout(state, Duration::from_millis(50)).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn progress(&self, memory: &Arc<Memory>) -> Arc<Progress> {
        let mut slot = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = slot.get_or_insert_with(|| spawn(Arc::clone(memory)));
        Arc::clone(progress)
    }
}

impl Progress {
    fn finish(&self) {
        self.state().finished = true;
        self.changed.notify_all();
    }

    fn wait_until_wanted(&self) {
        let state = self.state();
        let waited = self.changed.wait_timeout_while(state, GRACE, |state| !state.wanted);
        drop(waited);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn spawn(memory: Arc<Memory>) -> Arc<Progress> {
    let progress = Arc::new(Progress::default());
    let (folder, reranker) = (model_folder(), reranking::chosen());
    if folder.is_none() && reranker.is_none() {
        progress.finish();
        return progress;
    }
    let other = Arc::clone(&progress);
    let spawned = thread::Builder::new().name("codriver-embedder".to_owned()).spawn(move || {
        // Finished even if loading panics: nobody may wait for ever.
        let progress = FinishOnDrop(other);
        progress.0.wait_until_wanted();
        let embedder = folder.map(|folder| open(&folder));
        if let Some(name) = reranker {
            let opened = reranking::open_reranker(&name, reranking::PATIENCE);
            memory.use_reranker(
                opened.inspect_err(|reason| tracing::warn!("search goes on without a reranker: {reason}")),
            );
        }
        match embedder {
            Some(Ok(embedder)) => memory.use_embedder(embedder),
            Some(Err(reason)) => return tracing::warn!("memory searches by words alone: {reason}"),
            None => return,
        }
        drop(progress);
        let held = Arc::downgrade(&memory);
        drop(memory);
        Memory::embed_in_background(&held);
    });
    if let Err(error) = spawned {
        tracing::warn!("memory searches by words alone: {error}");
        progress.finish();
    }
    progress
}

struct FinishOnDrop(Arc<Progress>);

impl Drop for FinishOnDrop {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// The embedding model that memory uses, loaded; `None` where there is none.
pub fn open_embedder() -> Option<Result<Arc<dyn Embedder>, String>> {
    model_folder().map(|folder| open(&folder))
}

fn open(folder: &std::path::Path) -> Result<Arc<dyn Embedder>, String> {
    let embedder = TextEmbedder::open(folder, DeviceChoice::Cpu).map_err(|error| error.to_string())?;
    Ok(Arc::new(Adapter(embedder)))
}

/// The embedding model where nobody chose another; its owner goes without saying.
const DEFAULT: &str = "all-MiniLM-L6-v2";

/// The folder that `CODRIVER_EMBEDDING_MODEL` names (or a model of the store), or
/// all-MiniLM-L6-v2 in the model store.
pub fn model_folder() -> Option<PathBuf> {
    let chosen = std::env::var("CODRIVER_EMBEDDING_MODEL").ok().filter(|value| !value.is_empty());
    let name = chosen.as_deref().unwrap_or(DEFAULT);
    let workspace = std::env::current_dir().unwrap_or_default();
    let model = model_store().find(name, &workspace).ok()?;
    (model.purpose == Purpose::Embedding).then_some(model.path)
}

/// Memory knows nothing of inference: this is the bridge.
struct Adapter(TextEmbedder);

impl Embedder for Adapter {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn dimensions(&self) -> usize {
        self.0.dimensions()
    }

    fn windows(&self, text: &str) -> Vec<String> {
        let windows = self.0.windows(text).unwrap_or_else(|_| vec![text]);
        windows.into_iter().map(str::to_owned).collect()
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, String> {
        self.0.embed(texts).map_err(|error| error.to_string())
    }
}
