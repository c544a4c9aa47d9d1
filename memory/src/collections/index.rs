//! A collection's indexes: files that say at which revision of the database they were written, and that are caught
//! up with it, or made anew, where they are older, damaged or gone.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use codriver_vectors::Vectors;

use crate::collections::database::Database;
use crate::collections::windows::{self, DocumentVectors};
use crate::collections::{Finding, Progress, unwritable};
use crate::error::MemoryError;
use crate::index::files::{open_vectors, open_words, vectors_file, write_vectors, write_words};
use crate::index::lexical::Lexical;
use crate::index::words;

/// Documents read from the database at once.
const BLOCK: usize = 8192;

pub(super) struct Indexes {
    folder: PathBuf,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    /// At a revision of the database.
    ranks: Option<(u64, Arc<Ranks>)>,
    lexical: Option<Current<Lexical>>,
    vectors: Option<(String, Current<DocumentVectors>)>,
}

/// An index, at a revision of the database.
struct Current<T> {
    revision: u64,
    /// What is the matter with the file; nothing where it holds the same.
    stale: Option<Staleness>,
    index: Arc<T>,
}

/// Why an index file cannot be used as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Staleness {
    /// It was not written yet, or was deleted.
    Missing,
    /// Documents came or went since it was written.
    Older,
    /// It is made anew.
    Damaged { path: String, reason: String },
}

/// Documents' places in the order of their identifiers, by slot: which of equals comes first, however they came.
pub(super) struct Ranks(Vec<u32>);

impl Ranks {
    fn read(database: &Database) -> Result<Self, MemoryError> {
        let slots = database.slots_by_identifier()?;
        let mut ranks = vec![u32::MAX; slots.iter().max().map_or(0, |last| *last as usize + 1)];
        for (rank, slot) in (0..).zip(slots) {
            ranks[slot as usize] = rank;
        }
        Ok(Self(ranks))
    }

    pub fn of(&self, slot: u64) -> u64 {
        self.0.get(slot as usize).copied().unwrap_or(u32::MAX).into()
    }
}

impl Indexes {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, loaded: Mutex::default() }
    }

    /// The order of all documents.
    pub fn ranks(&self, database: &Database) -> Result<Arc<Ranks>, MemoryError> {
        let revision = database.revision()?;
        let mut loaded = self.loaded();
        if let Some((_, ranks)) = loaded.ranks.as_ref().filter(|(of, _)| *of == revision) {
            return Ok(Arc::clone(ranks));
        }
        let ranks = Arc::new(Ranks::read(database)?);
        loaded.ranks = Some((revision, Arc::clone(&ranks)));
        Ok(ranks)
    }

    /// The words of all documents.
    pub fn lexical(&self, database: &Database) -> Result<Arc<Lexical>, MemoryError> {
        let revision = database.revision()?;
        let mut loaded = self.loaded();
        if let Some(current) = loaded.lexical.as_ref().filter(|current| current.revision == revision) {
            return Ok(Arc::clone(&current.index));
        }
        let before = loaded.lexical.take().map(|current| current.index);
        let (index, stale) = self.caught_up_words(before, database, revision)?;
        let current = loaded.lexical.insert(Current { revision, stale, index });
        Ok(Arc::clone(&current.index))
    }

    /// The vectors of one model. Without a file of them that can be used, they are compared one by one.
    pub fn vectors(&self, database: &Database, model: &str) -> Result<Arc<DocumentVectors>, MemoryError> {
        let revision = database.revision()?;
        let mut loaded = self.loaded();
        if let Some((of, current)) = &loaded.vectors
            && of == model
            && current.revision == revision
        {
            return Ok(Arc::clone(&current.index));
        }
        loaded.vectors = None;
        let (index, stale) = self.caught_up_vectors(database, model, revision)?;
        let index = Arc::new(DocumentVectors::new(index, database.unembedded(model)?));
        let (_, current) = loaded.vectors.insert((model.to_owned(), Current { revision, stale, index }));
        Ok(Arc::clone(&current.index))
    }

    /// Why what was loaded is not what the files hold.
    pub fn stale(&self) -> Option<Staleness> {
        let loaded = self.loaded();
        let words = loaded.lexical.as_ref().and_then(|current| current.stale.clone());
        words.max(loaded.vectors.as_ref().and_then(|(_, current)| current.stale.clone()))
    }

    /// Catches both up and writes what changed. The database is given back before anything long begins.
    pub fn refresh(&self, database: Database, model: Option<&str>, progress: Progress<'_>) -> Result<(), MemoryError> {
        self.make_folder().map_err(|error| unwritable(&self.folder, &error))?;
        let revision = database.revision()?;
        let lexical = self.lexical(&database)?;
        let vectors = model.map(|model| self.vectors(&database, model).map(|vectors| (model, vectors))).transpose()?;
        let vault = database.vault().clone();
        drop(database);
        if self.loaded().lexical.as_ref().is_some_and(|current| current.stale.is_some()) {
            write_words(&self.folder.join(LEXICAL), &vault, &lexical, &label(revision))?;
            if let Some(current) = &mut self.loaded().lexical {
                current.stale = None;
            }
        }
        let Some((model, vectors)) = vectors.filter(|(_, vectors)| !vectors.is_empty()) else { return Ok(()) };
        if self.loaded().vectors.as_ref().is_some_and(|(_, current)| current.stale.is_some()) {
            let (path, total) = (windows_file(&self.folder, model), vectors.all().len());
            let progress = |done| progress(done, total);
            let generation = write_vectors(&path, &vault, &vectors.all().snapshot(), revision, 0, &progress)?;
            let index = Arc::new(DocumentVectors::new(Vectors::with_base(generation), vectors.missing()));
            self.loaded().vectors = Some((model.to_owned(), Current { revision, stale: None, index }));
        }
        Ok(())
    }

    /// Deletes the files.
    pub fn forget(&self) -> Result<(), MemoryError> {
        *self.loaded() = Loaded::default();
        let removed = match self.folder.is_file() {
            true => fs_err::remove_file(&self.folder),
            false => fs_err::remove_dir_all(&self.folder),
        };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unwritable(&self.folder, &error)),
            _ => Ok(()),
        }
    }

    /// In place of a file that somebody put there.
    fn make_folder(&self) -> std::io::Result<()> {
        if self.folder.is_file() {
            fs_err::remove_file(&self.folder)?;
        }
        fs_err::create_dir_all(&self.folder)
    }

    pub fn bytes(&self) -> u64 {
        let entries = fs_err::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
    }

    /// Looks at the files as they are, not at what was loaded.
    pub fn verify(&self, database: &Database) -> Result<Vec<Finding>, MemoryError> {
        let revision = database.revision()?;
        let path = self.folder.join(LEXICAL);
        let vault = database.vault();
        let detail = match open_words(&path, vault, &[]) {
            Ok(lexical) if lexical.label() == label(revision) => Ok(format!("{} documents, up to date", lexical.len())),
            Ok(lexical) => {
                Ok(format!("{} documents, older than the database: caught up at the next search", lexical.len()))
            }
            Err(error) => Err(missing_or(&path, &error)),
        };
        let mut findings = vec![finding("lexical", detail)];
        for (model, _) in database.models()? {
            let path = windows_file(&self.folder, &model);
            let detail = match open_vectors(&path, vault) {
                Ok(generation) if generation.label() == revision => {
                    Ok(format!("{} of {model}, up to date", generation.len()))
                }
                Ok(generation) => Ok(format!(
                    "{} of {model}, older than the database: caught up at the next search",
                    generation.len()
                )),
                Err(error) => Err(missing_or(&path, &error)),
            };
            findings.push(finding("vectors", detail));
        }
        Ok(findings)
    }

    fn caught_up_words(
        &self,
        before: Option<Arc<Lexical>>,
        database: &Database,
        revision: u64,
    ) -> Result<(Arc<Lexical>, Option<Staleness>), MemoryError> {
        let path = self.folder.join(LEXICAL);
        let (lexical, stale) = match before {
            Some(lexical) => (lexical, Staleness::Older),
            None => match opened(&path, || open_words(&path, database.vault(), &[])) {
                Ok(lexical) if lexical.label() == label(revision) => return Ok((Arc::new(lexical), None)),
                Ok(lexical) if lexical.label().split(':').next() == label(revision).split(':').next() => {
                    (Arc::new(lexical), Staleness::Older)
                }
                Ok(_) => (Arc::new(Lexical::new(&[])?), Staleness::Older),
                Err(stale) => (Arc::new(Lexical::new(&[])?), stale),
            },
        };
        let slots = database.slots()?;
        let present: HashSet<u64> = lexical.keys()?.into_iter().collect();
        let wanted: HashSet<u64> = slots.iter().copied().collect();
        for gone in present.difference(&wanted) {
            lexical.remove(*gone)?;
        }
        let missing: Vec<u64> = slots.into_iter().filter(|slot| !present.contains(slot)).collect();
        for block in missing.chunks(BLOCK) {
            for (slot, content) in database.contents_of(block)? {
                lexical.insert(slot, &content)?;
            }
        }
        lexical.commit()?;
        Ok((lexical, Some(stale)))
    }

    fn caught_up_vectors(
        &self,
        database: &Database,
        model: &str,
        revision: u64,
    ) -> Result<(Vectors, Option<Staleness>), MemoryError> {
        let path = windows_file(&self.folder, model);
        let slots = database.embedded_slots(model)?;
        let (mut vectors, stale) = match opened(&path, || open_vectors(&path, database.vault())) {
            Ok(generation) if generation.label() == revision => return Ok((Vectors::with_base(generation), None)),
            Ok(generation) => (Vectors::with_base(generation), Staleness::Older),
            // No file is written of no vectors.
            Err(Staleness::Missing) if slots.is_empty() => return Ok((Vectors::new(0), None)),
            Err(stale) => (Vectors::new(0), stale),
        };
        let wanted: HashSet<u64> = slots.iter().copied().collect();
        let present: HashSet<u64> = vectors.keys().map(|key| key / windows::MOST).collect();
        let gone: Vec<u64> = vectors.keys().filter(|key| !wanted.contains(&(key / windows::MOST))).collect();
        for gone in gone {
            vectors.remove(gone);
        }
        let missing: Vec<u64> = slots.into_iter().filter(|slot| !present.contains(slot)).collect();
        for block in missing.chunks(BLOCK) {
            for (slot, of_document) in database.vectors_of(model, block)? {
                for (window, vector) in (slot * windows::MOST..).zip(&of_document) {
                    if vectors.is_empty() && vectors.dimensions() != vector.len() {
                        vectors = Vectors::new(vector.len());
                    }
                    vectors.insert(window, vector);
                }
            }
        }
        Ok((vectors, Some(stale)))
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const LEXICAL: &str = "lexical";

/// What is in a file, or why it cannot be used.
fn opened<T>(path: &Path, open: impl FnOnce() -> Result<T, String>) -> Result<T, Staleness> {
    if !path.exists() {
        return Err(Staleness::Missing);
    }
    open().map_err(|reason| Staleness::Damaged { path: path.display().to_string(), reason })
}

/// Of a model's vectors, which are numbered by slot and window.
fn windows_file(folder: &Path, model: &str) -> PathBuf {
    vectors_file(folder, &format!("{model}, by windows"))
}

/// Of the lexical index: how words are made of texts, that it is of one segment, and what it was made of.
fn label(revision: u64) -> String {
    format!("{} whole:{revision}", words::VERSION)
}

fn finding(part: &str, detail: Result<String, String>) -> Finding {
    match detail {
        Ok(detail) => Finding::sound(part, detail),
        Err(detail) => Finding::unsound(part, detail),
    }
}

fn missing_or(path: &Path, reason: &str) -> String {
    match path.exists() {
        true => format!("{} is damaged ({reason}): made anew at the next search", path.display()),
        false => format!("{} is not there: made at the next search", path.display()),
    }
}
