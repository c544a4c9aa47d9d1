//! The one door to memory, and what goes through it as it happens: conversations, turns,
//! tool runs. What is learned from them is in [`crate::knowledge`].

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::embedder::Embedder;
use crate::error::MemoryError;
use crate::event::{Entry, Event};
use crate::index::{Document, Index};
use crate::journal::Journal;
use crate::known_facts;
use crate::records::{
    ConversationId, EarlierTurn, Mode, NewMessage, NewToolRun, NewTurn, Scope, Statistics, StoredConversation, StoredMessage,
    StoredToolRun, StoredTurn, ToolRunId, TurnId,
};
use crate::sharing::Seen;
use crate::store::lock::{self, Attempt, FileLock};
use crate::store::{OpenFailure, Store};

/// What is remembered, for one user; shared by everything in the process.
///
/// What a method that writes has acknowledged survives the end of the process, however it
/// ends, and the loss of power as far as the disk keeps its promises.
pub struct Memory {
    state: Mutex<State>,
    embedder: RwLock<Option<Arc<dyn Embedder>>>,
}

/// The order of the fields is the order of closing: the lock goes last.
pub(crate) struct State {
    pub store: Store,
    /// What belongs to this run only; made when first needed.
    pub session: Option<Store>,
    pub index: Option<Index>,
    pub pending_journals: usize,
    /// Where the database is, or would be; `None` in memory.
    pub database: Option<PathBuf>,
    pub mode: Mode,
    pub seen: Seen,
    journal: Option<Journal>,
    _lock: Option<FileLock>,
}

impl Memory {
    /// Opens or creates the database file, and its folder.
    ///
    /// Where another process holds the file, memory works in [`Mode::Shared`]. A file that
    /// cannot be read, or that a newer Codriver wrote, is an error and stays as it is; the
    /// caller can go on with [`Memory::in_memory`].
    pub fn open(path: &Path, embedder: Option<Arc<dyn Embedder>>) -> Result<Self, MemoryError> {
        let path = lock::prepare_folder(path)?;
        let state = match lock::acquire(&path)? {
            Attempt::HeldBy(holder) => State::shared(path, holder)?,
            Attempt::Acquired(lock) => match Store::open(&path) {
                Ok(store) => State::durable(path, store, lock)?,
                Err(OpenFailure::Busy(holder)) => State::shared(path, holder)?,
                Err(OpenFailure::Failed(error)) => return Err(error),
            },
        };
        Ok(Self { state: Mutex::new(state), embedder: RwLock::new(embedder) })
    }

    /// Memory that ends with the process.
    pub fn in_memory(embedder: Option<Arc<dyn Embedder>>) -> Result<Self, MemoryError> {
        let state = State::new(Store::in_memory()?, Mode::InMemory, None, None);
        Ok(Self { state: Mutex::new(state), embedder: RwLock::new(embedder) })
    }

    pub fn mode(&self) -> Mode {
        self.state().mode.clone()
    }

    pub fn start_conversation(&self, agent: &str, notebook: &str) -> Result<ConversationId, MemoryError> {
        let id = ConversationId::random();
        let event = Event::ConversationStarted { id: id.clone(), agent: agent.to_owned(), notebook: notebook.to_owned() };
        self.state().record(event)?;
        Ok(id)
    }

    /// The newest conversations first.
    pub fn conversations(&self, limit: usize) -> Result<Vec<StoredConversation>, MemoryError> {
        self.state().store.conversations(limit)
    }

    /// Keeps a finished turn: the request, the answer, every message, the prompt to the letter
    /// and what was retrieved for it. Durable when it returns.
    pub fn append_turn(&self, turn: &NewTurn) -> Result<TurnId, MemoryError> {
        let mut state = self.state();
        state.require_conversation(&turn.conversation)?;
        let id = TurnId::random();
        state.record(Event::TurnAppended { id: id.clone(), turn: turn.clone() })?;
        if let Some(index) = &mut state.index {
            spoken(&id, turn).for_each(|document| index.insert(document));
        }
        Ok(id)
    }

    /// The last `limit` messages since the conversation's last reset, oldest first.
    pub fn recent_messages(&self, conversation: &ConversationId, limit: usize) -> Result<Vec<StoredMessage>, MemoryError> {
        self.state().store.recent_messages(conversation, limit)
    }

    pub fn last_turn(&self, conversation: &ConversationId) -> Result<Option<StoredTurn>, MemoryError> {
        Ok(self.turns(conversation, 1)?.pop())
    }

    /// The last `limit` turns, oldest first, those before a reset included: the record is kept.
    pub fn turns(&self, conversation: &ConversationId, limit: usize) -> Result<Vec<StoredTurn>, MemoryError> {
        self.state().store.turns(conversation, limit)
    }

    /// One turn by its number in the conversation, from 1.
    pub fn turn(&self, conversation: &ConversationId, number: usize) -> Result<Option<StoredTurn>, MemoryError> {
        self.state().store.turn(conversation, number)
    }

    /// What was said after turn `after`, oldest first: the last `limit` of those turns.
    pub fn earlier_turns(&self, conversation: &ConversationId, after: usize, limit: usize) -> Result<Vec<EarlierTurn>, MemoryError> {
        self.state().store.earlier_turns(conversation, after, limit)
    }

    /// From here on nothing said before is used: not as recent messages, not by search.
    pub fn reset_conversation(&self, conversation: &ConversationId) -> Result<(), MemoryError> {
        let mut state = self.state();
        state.require_conversation(conversation)?;
        state.record(Event::ConversationReset { conversation: conversation.clone() })?;
        if let Some(index) = &mut state.index {
            index.remove(|document| document.kind == "message" && document.origin == conversation.as_str());
        }
        Ok(())
    }

    /// Notes that a tool is about to run, so that nothing it does is missing from the record.
    pub fn start_tool_run(&self, run: &NewToolRun) -> Result<ToolRunId, MemoryError> {
        let mut state = self.state();
        state.require_conversation(&run.conversation)?;
        let id = ToolRunId::random();
        state.record(Event::ToolRunStarted { id: id.clone(), run: run.clone() })?;
        Ok(id)
    }

    pub fn finish_tool_run(&self, id: &ToolRunId, status: &str, result: &str, milliseconds: u64) -> Result<(), MemoryError> {
        let mut state = self.state();
        if !state.store.has_tool_run(id.as_str())? {
            return Err(MemoryError::Unknown { what: "tool run", id: id.to_string() });
        }
        let (status, result) = (status.to_owned(), result.to_owned());
        state.record(Event::ToolRunFinished { id: id.clone(), status, result, milliseconds })
    }

    /// The last `limit` tool runs, oldest first.
    pub fn tool_runs(&self, conversation: &ConversationId, limit: usize) -> Result<Vec<StoredToolRun>, MemoryError> {
        self.state().store.tool_runs(conversation, limit)
    }

    pub fn statistics(&self) -> Result<Statistics, MemoryError> {
        let embedder = self.embedder().map(|embedder| embedder.name().to_owned());
        let state = self.state();
        let in_session = |table| state.session.as_ref().map_or(Ok(0), |session| session.count(table));
        Ok(Statistics {
            mode: state.mode.clone(),
            path: state.database.as_ref().map(|path| path.display().to_string()),
            schema_version: state.store.version()?,
            bytes: state.store.bytes(),
            conversations: state.store.count("conversations")?,
            turns: state.store.count("turns")?,
            messages: state.store.count("messages")?,
            tool_runs: state.store.count("tool_runs")?,
            facts: state.store.count("facts")?,
            session_facts: in_session("facts")?,
            chunks: state.store.count("chunks")?,
            session_chunks: in_session("chunks")?,
            embeddings: state.store.count("embeddings")?,
            embedder,
            pending_journals: state.pending_journals,
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one transaction, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn embedder(&self) -> Option<Arc<dyn Embedder>> {
        self.embedder.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn replace_embedder(&self, embedder: Arc<dyn Embedder>) {
        *self.embedder.write().unwrap_or_else(PoisonError::into_inner) = Some(embedder);
    }
}

impl State {
    fn new(store: Store, mode: Mode, database: Option<PathBuf>, lock: Option<FileLock>) -> Self {
        let seen = Seen::default();
        Self { store, session: None, index: None, pending_journals: 0, database, mode, seen, journal: None, _lock: lock }
    }

    fn durable(path: PathBuf, mut store: Store, lock: FileLock) -> Result<Self, MemoryError> {
        store.close_lost_tool_runs()?;
        let mut state = Self::new(store, Mode::Durable, Some(path), Some(lock));
        state.refresh();
        state.publish_facts()?;
        Ok(state)
    }

    fn shared(path: PathBuf, holder: String) -> Result<Self, MemoryError> {
        let mut state = Self::new(Store::in_memory()?, Mode::Shared { holder }, Some(path), None);
        state.refresh();
        Ok(state)
    }

    /// Makes a change that outlives the process, as far as the mode allows.
    pub fn record(&mut self, event: Event) -> Result<(), MemoryError> {
        self.record_entry(Entry::now(event))
    }

    pub fn record_entry(&mut self, entry: Entry) -> Result<(), MemoryError> {
        if let (Mode::Shared { .. }, Some(database)) = (&self.mode, &self.database) {
            let journal = match &mut self.journal {
                Some(journal) => journal,
                None => self.journal.insert(Journal::create(database)?),
            };
            if let Err(error) = journal.append(&entry) {
                self.journal = None;
                return Err(error);
            }
        }
        self.store.commit(std::slice::from_ref(&entry))
    }

    /// After global facts changed.
    pub fn publish_facts(&self) -> Result<(), MemoryError> {
        if let (Mode::Durable, Some(database)) = (&self.mode, &self.database) {
            known_facts::write(database, &self.store.facts(Scope::Global)?);
        }
        Ok(())
    }

    pub fn session(&mut self) -> Result<&mut Store, MemoryError> {
        match &mut self.session {
            Some(session) => Ok(session),
            empty => Ok(empty.insert(Store::in_memory()?)),
        }
    }

    fn require_conversation(&self, id: &ConversationId) -> Result<(), MemoryError> {
        if self.store.has_conversation(id)? {
            Ok(())
        } else {
            Err(MemoryError::Unknown { what: "conversation", id: id.to_string() })
        }
    }
}

/// What of a turn can be found again: what the person and the agent said.
fn spoken(id: &TurnId, turn: &NewTurn) -> impl Iterator<Item = Document> {
    let said = |(_, message): &(usize, &NewMessage)| matches!(message.role.as_str(), "user" | "assistant");
    turn.messages.iter().enumerate().filter(said).filter_map(move |(position, message)| {
        message_document(id, position, turn.conversation.as_str(), &message.role, &message.content)
    })
}

pub(crate) fn message_document(turn: &TurnId, position: usize, conversation: &str, role: &str, content: &str) -> Option<Document> {
    let document = || Document {
        kind: "message",
        scope: Scope::Global,
        id: format!("{turn}#{position}"),
        origin: conversation.to_owned(),
        title: role.to_owned(),
        text: content.to_owned(),
        created_at: None,
        importance: Document::USUAL,
        pinned: false,
        project: None,
    };
    (!content.trim().is_empty()).then(document)
}
