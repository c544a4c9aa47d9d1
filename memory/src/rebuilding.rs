//! The files of memory's indexes made anew, from the database alone.

use codriver_vectors::Vectors;

use crate::collections::Progress;
use crate::error::MemoryError;
use crate::index::files::{vectors_file, write_vectors};
use crate::index::{kept, key};
use crate::indexing::Upkeep;
use crate::journal::beside;
use crate::memory::Memory;

impl Memory {
    /// Deletes the files of indexes and writes them anew: the words of what was said and read, and a graph for each
    /// model of which there are so many vectors that it pays. The process that holds the file can do this.
    pub fn rebuild_indexes(&self, progress: Progress<'_>) -> Result<(), MemoryError> {
        let mut state = self.state();
        state.refresh();
        let folder = beside(&state.require_the_file()?, "index");
        if let Upkeep::Writing(written) = std::mem::take(&mut state.upkeep) {
            // Whatever became of that file, it goes.
            drop(written.recv());
        }
        (state.index, state.kept, state.outdated) = (None, None, None);
        if folder.exists() {
            fs_err::remove_dir_all(&folder).map_err(|error| crate::backup::unwritable(&folder, &error))?;
        }
        kept::write(&folder, &state.store, &|| progress(0, 0))?;
        for (model, _) in state.store.vectors_by_model()? {
            let stored = state.store.vectors(&model)?;
            let dimensions = stored.values().map(Vec::len).max().unwrap_or_default();
            let mut vectors = Vectors::new(dimensions);
            for (content, vector) in stored.iter().filter(|(_, vector)| vector.len() == dimensions) {
                vectors.insert(key(content), vector);
            }
            if vectors.wants_generation() {
                let (snapshot, total) = (vectors.snapshot(), vectors.len());
                let label = snapshot.keys().fold(0, |sum, content| sum ^ content);
                let path = vectors_file(&folder, &model);
                write_vectors(&path, &state.vault, &snapshot, label, 0, &|done| progress(done, total))?;
            }
        }
        Ok(())
    }
}
