//! The vectors of the facts that the holder of the database knows, in a file beside it, so that a second process need not
//! make them again. A cache: written from the index, never read back into the database.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::embedder::Embedder;
use crate::error::MemoryError;
use crate::event::digest;
use crate::journal::{beside, replace};
use crate::project::ProjectKey;
use crate::records::{Mode, Scope};
use crate::sharing::key_of;
use crate::state::State;
use crate::vault::Vault;

/// What the file is bound to where it is encrypted.
const ASSOCIATED: &[u8] = b"known vectors";

/// Bytes of a content's digest.
const DIGEST: usize = 32;

/// The holder's embedding model may still be loading: so long its vectors are waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often vectors are published while more are made.
const INTERVAL: Duration = Duration::from_secs(30);

/// What the file begins with: a line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    model: String,
    dimensions: usize,
    /// Whose facts the holder embeds, beside those that hold everywhere.
    project: ProjectKey,
}

/// What a process beside the holder has seen of its vectors.
pub(crate) struct HolderVectors {
    header: Option<Header>,
    written: Option<SystemTime>,
    since: Instant,
}

impl Default for HolderVectors {
    fn default() -> Self {
        Self { header: None, written: None, since: Instant::now() }
    }
}

/// What this process has published, as the holder.
pub(crate) struct PublishedVectors {
    /// There are vectors that other processes were not told of.
    pub outdated: bool,
    at: Option<Instant>,
}

impl Default for PublishedVectors {
    fn default() -> Self {
        Self { outdated: true, at: None }
    }
}

/// Bytes on their way into the file; sealed and written without memory's lock.
pub(crate) struct Published {
    file: PathBuf,
    vault: Vault,
    bytes: Vec<u8>,
}

impl Published {
    pub fn write(self) {
        if let Err(error) = replace(&self.file, &self.vault, &self.bytes, ASSOCIATED) {
            tracing::warn!(%error, "other notebooks make their vectors themselves");
        }
    }
}

/// Forgets what an earlier holder published: this one may have another model, or none.
pub(crate) fn remove(database: &Path) {
    fs_err::remove_file(beside(database, "vectors")).unwrap_or_else(|error| tracing::debug!(%error));
}

impl State {
    /// The vectors of the facts that outlive this process, if they are others than were published before, and now and then
    /// before they are `complete`.
    pub fn vectors_to_publish(
        &mut self,
        embedder: &dyn Embedder,
        complete: bool,
    ) -> Result<Option<Published>, MemoryError> {
        let (Mode::Durable, Some(database)) = (&self.mode, &self.database) else { return Ok(None) };
        let is_due = complete || self.published_vectors.at.is_none_or(|at| at.elapsed() > INTERVAL);
        if !self.published_vectors.outdated || !is_due {
            return Ok(None);
        }
        let (file, known) = (beside(database, "vectors"), self.known()?);
        let header = Header {
            model: embedder.name().to_owned(),
            dimensions: embedder.dimensions(),
            project: self.project.clone(),
        };
        let mut bytes = serde_json::to_vec(&header).unwrap_or_default();
        bytes.push(b'\n');
        let index = self.index_for(Some(embedder))?;
        for fact in known.facts.iter().filter(|fact| fact.scope != Scope::Session) {
            let content = digest(&fact.text);
            if let Some(vector) = index.vector(&content).filter(|vector| vector.len() == header.dimensions) {
                bytes.extend(content.as_bytes());
                bytes.extend(vector.iter().flat_map(|number| number.to_le_bytes()));
            }
        }
        self.published_vectors = PublishedVectors { outdated: false, at: Some(Instant::now()) };
        Ok(Some(Published { file, vault: self.vault.clone(), bytes }))
    }

    /// What cannot be read now is left for the next time.
    pub fn take_vectors_of_holder_quietly(&mut self) {
        if let Err(error) = self.take_vectors_of_holder() {
            tracing::warn!(%error, "the vectors of other notebooks were not taken in");
        }
    }

    /// Takes in the vectors that the holder published since the last look.
    fn take_vectors_of_holder(&mut self) -> Result<(), MemoryError> {
        let (Mode::Shared { .. }, Some(database)) = (&self.mode, &self.database) else { return Ok(()) };
        let file = beside(database, "vectors");
        let written = fs_err::metadata(&file).and_then(|metadata| metadata.modified()).ok();
        if written == self.holder_vectors.written {
            return Ok(());
        }
        let read = written.and_then(|_| read(&file, &self.vault));
        self.holder_vectors.written = written;
        self.holder_vectors.header = read.as_ref().map(|(header, _)| header.clone());
        let Some((header, vectors)) = read else { return Ok(()) };
        let known = self.store.vectors(&header.model)?;
        let new: Vec<(String, Vec<f32>)> =
            vectors.into_iter().filter(|(content, _)| !known.contains_key(content)).collect();
        if let Some(index) = self.index.as_mut().filter(|index| index.model.as_ref() == Some(&header.model)) {
            for (content, vector) in &new {
                index.set_vector(content, vector);
            }
        } else {
            // It would not have these.
            self.outdated = None;
        }
        // This process' own database is in memory: so they outlast a new index.
        self.store.add_vectors(&header.model, &new)
    }
}

/// Contents of the facts that came from the holder and that it embeds with this model, or may once it has loaded one.
pub(crate) fn left_to_holder(state: &State, model: &str) -> Result<HashSet<String>, MemoryError> {
    let seen = &state.holder_vectors;
    let covers = |project: &ProjectKey| match &seen.header {
        Some(header) => header.model == model && header.project == *project,
        None => seen.since.elapsed() < PATIENCE,
    };
    let embeds_any = seen.header.as_ref().is_none_or(|header| header.model == model);
    if !embeds_any || (seen.header.is_none() && seen.since.elapsed() >= PATIENCE) {
        return Ok(HashSet::new());
    }
    let known = state.known()?;
    let of_holder = known.facts.iter().filter(|fact| fact.scope == Scope::Global || covers(&fact.project));
    Ok(of_holder.filter(|fact| state.seen.is_of_holder(&key_of(fact))).map(|fact| digest(&fact.text)).collect())
}

/// `None` where it cannot be read: then they are made.
fn read(file: &Path, vault: &Vault) -> Option<(Header, Vec<(String, Vec<f32>)>)> {
    let plain = vault.open(&fs_err::read(file).ok()?, ASSOCIATED).ok()?;
    let end = plain.iter().position(|byte| *byte == b'\n')?;
    let header: Header = serde_json::from_slice(plain.get(..end)?).ok()?;
    let length = DIGEST + header.dimensions.checked_mul(4)?;
    let vector = |record: &[u8]| {
        let (content, numbers) = record.split_at_checked(DIGEST)?;
        let numbers =
            numbers.chunks_exact(4).filter_map(|four| Some(f32::from_le_bytes(four.try_into().ok()?))).collect();
        Some((String::from_utf8(content.to_vec()).ok()?, numbers))
    };
    let vectors = plain.get(end + 1..)?.chunks_exact(length).filter_map(vector).collect();
    Some((header, vectors))
}
