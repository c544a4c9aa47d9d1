//! What is open behind [`crate::Memory`]: the databases, the journal, the index, and who sees what.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backup::replace_damaged;
use crate::error::MemoryError;
use crate::event::{Entry, Event};
use crate::facts::known::Known;
use crate::index::Index;
use crate::index::kept::Kept;
use crate::indexing::Upkeep;
use crate::journal::Journal;
use crate::known_facts;
use crate::known_vectors::{self, HolderVectors, PublishedVectors};
use crate::memory::MemoryOptions;
use crate::project::{Project, ProjectKey};
use crate::records::{ConversationId, FactId, Mode, Scope};
use crate::sharing::Seen;
use crate::store::lock::{self, Attempt, FileLock};
use crate::store::{IsNew, OpenFailure, Store, suspect};
use crate::vault::{MasterKey, Vault, VaultFile, unlock, vault_path};
use crate::veil::Veil;

/// How often a process beside the holder looks whether the holder is gone.
const PATIENCE: Duration = Duration::from_secs(1);

/// Of the database's facts, and of the session's.
type Revision = (u64, Option<u64>);

/// The order of the fields is the order of closing: the lock goes last.
pub(crate) struct State {
    pub store: Store,
    /// The file of words, and how it is kept up.
    pub kept: Option<Arc<Kept>>,
    pub upkeep: Upkeep,
    /// The index before this one, for its vectors.
    pub outdated: Option<Index>,
    /// What belongs to this run only; made when first needed.
    pub session: Option<Store>,
    /// Over what of it would be written elsewhere.
    pub veil: Veil,
    pub index: Option<Index>,
    /// The facts that hold here, as of which change of them.
    pub known: RefCell<Option<(Revision, Arc<Known>)>>,
    /// Facts that were kept before they had a vector, by their contents: others may say the same.
    pub undecided: HashMap<String, FactId>,
    pub pending_journals: usize,
    /// Where the database is, or would be; `None` in memory.
    pub database: Option<PathBuf>,
    pub mode: Mode,
    pub seen: Seen,
    pub holder_vectors: HolderVectors,
    pub published_vectors: PublishedVectors,
    /// How long the file is that other processes read facts from, where this one wrote it.
    published_facts: Option<u64>,
    /// Of the files, also while another process holds the database.
    pub vault: Vault,
    pub project: ProjectKey,
    /// What a person should be told of how it was opened.
    pub notices: Vec<String>,
    pub key: Option<MasterKey>,
    journal: Option<Journal>,
    looked_for_holder: Instant,
    lock: Option<FileLock>,
}

impl State {
    /// Opens the database, or works beside the process that holds it.
    pub fn open(options: &MemoryOptions) -> Result<Self, MemoryError> {
        let path = lock::prepare_folder(&options.path)?;
        let mut state = Self::new(Store::in_memory()?, options);
        state.database = Some(path.clone());
        match lock::acquire(&path)? {
            Attempt::HeldBy(holder) => state.share(&path, holder)?,
            Attempt::Acquired(lock) => match open_or_restore(&path, options.key.as_ref(), &mut state.notices) {
                Ok(store) => state.hold(store, lock)?,
                Err(OpenFailure::Busy(holder)) => state.share(&path, holder)?,
                Err(OpenFailure::Failed(error)) => return Err(error),
            },
        }
        if let Some(project) = &options.project {
            state.record(Event::project_seen(project))?;
        }
        Ok(state)
    }

    pub fn in_memory(options: &MemoryOptions) -> Result<Self, MemoryError> {
        Ok(Self::new(Store::in_memory()?, options))
    }

    fn new(store: Store, options: &MemoryOptions) -> Self {
        Self {
            store,
            kept: None,
            upkeep: Upkeep::default(),
            outdated: None,
            session: None,
            veil: Veil::default(),
            index: None,
            known: RefCell::default(),
            undecided: HashMap::new(),
            pending_journals: 0,
            database: None,
            mode: Mode::InMemory,
            seen: Seen::default(),
            holder_vectors: HolderVectors::default(),
            published_vectors: PublishedVectors::default(),
            published_facts: None,
            vault: Vault::off(),
            project: options.project.as_ref().map_or_else(ProjectKey::none, |project: &Project| project.key.clone()),
            notices: Vec::new(),
            key: options.key.clone(),
            journal: None,
            looked_for_holder: Instant::now(),
            lock: None,
        }
    }

    fn hold(&mut self, mut store: Store, lock: FileLock) -> Result<(), MemoryError> {
        store.close_lost_tool_runs()?;
        self.mode = Mode::Durable;
        self.lock = Some(lock);
        self.adopt(store)
    }

    /// Goes on with this database, which is this process' to write.
    pub fn adopt(&mut self, store: Store) -> Result<(), MemoryError> {
        // A journal that is locked by its writer is not taken away, and this is its writer.
        self.journal = None;
        self.vault = store.vault().clone();
        self.store = store;
        (self.index, self.kept, self.outdated, self.upkeep) = (None, None, None, Upkeep::default());
        self.seen = Seen::default();
        if let Some(database) = &self.database {
            known_vectors::remove(database);
        }
        self.published_vectors = PublishedVectors::default();
        self.published_facts = None;
        self.refresh();
        self.publish_facts()
    }

    fn share(&mut self, path: &Path, holder: String) -> Result<(), MemoryError> {
        self.vault = match VaultFile::read(path)? {
            Some(file) => unlock(path, &file, self.key.as_ref())?,
            None => Vault::off(),
        };
        self.mode = Mode::Shared { holder };
        self.refresh();
        Ok(())
    }

    /// Where the holder of the database has ended, this process becomes it. True if it did.
    pub fn take_over(&mut self) -> Result<bool, MemoryError> {
        let (Mode::Shared { .. }, Some(database)) = (&self.mode, self.database.clone()) else { return Ok(false) };
        if self.looked_for_holder.elapsed() < PATIENCE {
            return Ok(false);
        }
        self.looked_for_holder = Instant::now();
        let Attempt::Acquired(lock) = lock::acquire(&database)? else { return Ok(false) };
        match open_or_restore(&database, self.key.as_ref(), &mut self.notices) {
            Ok(store) => self.hold(store, lock).map(|()| true),
            Err(OpenFailure::Busy(_)) => Ok(false),
            Err(OpenFailure::Failed(error)) => Err(error),
        }
    }

    /// Makes a change that outlives the process, as far as the mode allows; without what only the session knows.
    pub fn record(&mut self, event: Event) -> Result<(), MemoryError> {
        self.record_entry(Entry::now(self.veil.over(event)))
    }

    pub fn record_entry(&mut self, entry: Entry) -> Result<(), MemoryError> {
        if let (Mode::Shared { .. }, Some(database)) = (&self.mode, &self.database) {
            let journal = match &mut self.journal {
                Some(journal) => journal,
                None => self.journal.insert(Journal::create(database, self.vault.clone())?),
            };
            if let Err(error) = journal.append(&entry) {
                self.journal = None;
                return Err(error);
            }
        }
        self.store.commit(std::slice::from_ref(&entry))
    }

    /// A change of facts or documents.
    pub fn record_in(&mut self, scope: Scope, entry: Entry) -> Result<(), MemoryError> {
        match scope {
            Scope::Session => {
                self.veil.take_in(&entry.event);
                self.session()?.commit(&[entry])
            }
            Scope::Project | Scope::Global => {
                if let Event::FactRemembered { text, .. } = &entry.event {
                    self.veil.lift(text);
                }
                let (changes_facts, new) = (entry.event.changes_facts(), entry.new_fact());
                self.record_entry(entry)?;
                if !changes_facts {
                    return Ok(());
                }
                match (new, &self.database, self.published_facts) {
                    (Some(fact), Some(database), Some(length)) if self.mode == Mode::Durable => {
                        self.published_facts = known_facts::append(database, &self.vault, &fact, length);
                        if self.published_facts.is_some() { Ok(()) } else { self.publish_facts() }
                    }
                    _ => self.publish_facts(),
                }
            }
        }
    }

    /// After facts changed that other processes should hear of.
    pub fn publish_facts(&mut self) -> Result<(), MemoryError> {
        if let (Mode::Durable, Some(database)) = (&self.mode, &self.database) {
            self.published_facts = known_facts::write(database, &self.vault, &self.store.facts()?);
        }
        Ok(())
    }

    pub fn session(&mut self) -> Result<&mut Store, MemoryError> {
        match &mut self.session {
            Some(session) => Ok(session),
            empty => Ok(empty.insert(Store::in_memory()?)),
        }
    }

    pub fn store_of(&mut self, scope: Scope) -> Result<&mut Store, MemoryError> {
        match scope {
            Scope::Session => self.session(),
            Scope::Project | Scope::Global => Ok(&mut self.store),
        }
    }

    pub fn require_conversation(&self, id: &ConversationId) -> Result<(), MemoryError> {
        if self.store.has_conversation(id)? {
            Ok(())
        } else {
            Err(MemoryError::Unknown { what: "conversation", id: id.to_string() })
        }
    }
}

/// [`open_store`]; a damaged database is replaced by the newest backup, if there is one.
fn open_or_restore(path: &Path, key: Option<&MasterKey>, notices: &mut Vec<String>) -> Result<Store, OpenFailure> {
    let opened = open_store(path, key).and_then(|store| {
        // Damage was seen the last time: this time everything is read.
        if suspect(path).exists() {
            store.read_everything()?;
            fs_err::remove_file(suspect(path)).unwrap_or_else(|error| tracing::debug!(%error));
        }
        Ok(store)
    });
    let Err(OpenFailure::Failed(error @ MemoryError::Unreadable { .. })) = opened else { return opened };
    let Some(notice) = replace_damaged(path, key, &error.reason())? else { return Err(error.into()) };
    tracing::warn!("{notice}");
    notices.push(notice);
    fs_err::remove_file(suspect(path)).unwrap_or_else(|error| tracing::debug!(%error));
    open_store(path, key)
}

/// Opens the file with the key it needs. Where there is none, nothing is touched. A new file is
/// encrypted if a key is given.
pub(crate) fn open_store(path: &Path, given: Option<&MasterKey>) -> Result<Store, OpenFailure> {
    let beside = VaultFile::read(path)?;
    // Before the database is opened: DuckDB would tidy it up.
    let known = beside.as_ref().map(|file| unlock(path, file, given)).transpose()?;
    let mut written = None;
    let store = Store::open(path, |found, IsNew(is_new)| {
        let (file, vault, entry) = match found {
            Some(file) => match &known {
                Some(vault) if vault.key_id() == Some(file.key_id.as_str()) => (file, vault.clone(), None),
                _ => {
                    let vault = unlock(path, &file, given)?;
                    (file, vault, None)
                }
            },
            // The database was not encrypted to the end, whatever the file beside it says.
            None if !is_new => return Ok((Vault::off(), None)),
            None => match (
                beside.clone().zip(known),
                given.cloned().map_or_else(MasterKey::from_environment, |key| Ok(Some(key)))?,
            ) {
                (Some((file, vault)), _) => (file.clone(), vault, Some(file)),
                (None, Some(key)) => {
                    let (file, vault) = VaultFile::create(&key)?;
                    (file.clone(), vault, Some(file))
                }
                (None, None) => return Ok((Vault::off(), None)),
            },
        };
        written = Some(file);
        Ok((vault, entry))
    })?;
    match written {
        Some(file) if beside.as_ref() != Some(&file) => file.write(path)?,
        None if beside.is_some() => {
            fs_err::remove_file(vault_path(path))
                .unwrap_or_else(|error| tracing::warn!(%error, "this memory is not encrypted"));
        }
        _ => {}
    }
    Ok(store)
}
