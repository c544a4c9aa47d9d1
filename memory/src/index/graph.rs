//! The graph over memory's vectors, built on a thread of its own while searches go on without it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use codriver_vectors::{Generation, GenerationError, Progress, Snapshot};

use super::{Index, files};
use crate::records::Scope;
use crate::vault::Vault;

/// Where the graph is kept.
pub(crate) struct GraphFile {
    pub path: PathBuf,
    pub vault: Vault,
}

/// Comparing every vector takes long once there are many; a graph is built beside the searches, which go on without.
#[derive(Default)]
pub(super) enum Graph {
    #[default]
    Idle,
    Building {
        finished: Receiver<Generation>,
        /// The thread ends early once nobody holds this.
        _wanted: Arc<()>,
    },
    /// Not tried again: searches stay exact.
    Failed,
}

impl Index {
    /// Goes over to a graph that is finished, and begins one where it would pay.
    pub(super) fn tend_graph(&mut self) {
        let first = self.first();
        let Some(vectors) = &mut self.vectors else { return };
        match &self.graph {
            Graph::Building { finished, .. } => match finished.try_recv() {
                Ok(generation) => {
                    vectors.adopt(generation);
                    self.graph = Graph::Idle;
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => self.graph = Graph::Failed,
            },
            Graph::Idle if vectors.wants_generation() => {
                // What belongs to this run alone does not go into a file.
                let (slots, places) = (&self.slots, &self.places);
                let of_session = |slot: &u32| {
                    let slot = slots.get((*slot - first) as usize).and_then(Option::as_ref);
                    slot.is_some_and(|slot| slot.document.scope == Scope::Session)
                };
                let kept = |content: u64| !places.get(&content).is_some_and(|places| places.iter().any(of_session));
                let file = self.graph_file.as_ref().map(|file| (file.path.clone(), file.vault.clone()));
                let snapshot = if file.is_some() { vectors.snapshot_of(&kept) } else { vectors.snapshot() };
                let (sender, receiver) = channel();
                let wanted = Arc::new(());
                let waits = Arc::downgrade(&wanted);
                let build = move || {
                    let goes_on = |_: usize| waits.strong_count() > 0;
                    let built = match &file {
                        Some((path, vault)) => on_disk(&snapshot, path, vault, &goes_on),
                        None => in_memory(&snapshot, &goes_on).map_err(|error| error.to_string()),
                    };
                    match built {
                        // Nobody waits for it where memory was closed meanwhile.
                        Ok(generation) => drop(sender.send(generation)),
                        Err(_) if !goes_on(0) => {}
                        Err(error) => tracing::warn!(error, "every vector is compared at each search"),
                    }
                };
                let spawned = std::thread::Builder::new().name("codriver-vectors".to_owned()).spawn(build);
                self.graph = spawned.map_or(Graph::Failed, |_| Graph::Building { finished: receiver, _wanted: wanted });
            }
            Graph::Idle | Graph::Failed => {}
        }
    }
}

/// On one thread: a person may be working on the others.
fn in_memory(snapshot: &Snapshot, goes_on: Progress<'_>) -> Result<Generation, GenerationError> {
    let bytes = snapshot.build(0, 1, goes_on, |built| built.bytes())?;
    Generation::from_bytes(&bytes, Path::new("the vectors in memory"))
}

fn on_disk(snapshot: &Snapshot, path: &Path, vault: &Vault, goes_on: Progress<'_>) -> Result<Generation, String> {
    crate::store::lock::prepare_folder(path).map_err(|error| error.to_string())?;
    files::write_vectors(path, vault, snapshot, sum_of(snapshot.keys()), 1, goes_on).map_err(|error| error.to_string())
}

/// Of contents, in any order.
fn sum_of(contents: impl Iterator<Item = u64>) -> u64 {
    contents.fold(0, |sum, content| sum ^ content)
}
