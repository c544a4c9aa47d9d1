//! The one door to memory, and what goes through it as it happens: conversations, turns,
//! tool runs. What is learned from them is in [`crate::facts`] and [`crate::knowledge`].

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use chrono::Utc;

use crate::embedder::Embedder;
use crate::error::MemoryError;
use crate::event::Event;
use crate::index::{Document, Gone};
use crate::project::{Project, ProjectKey};
use crate::records::{
    ConversationId, EarlierTurn, Mode, NewMessage, NewToolRun, NewTurn, Scope, Statistics, StoredConversation,
    StoredMessage, StoredToolRun, StoredTurn, ToolRunId, TurnId,
};
use crate::redaction::{Redactor, redacted};
use crate::reranker::Reranker;
use crate::state::State;
use crate::store::{Spoken, Store};
use crate::vault::MasterKey;

/// What is remembered, for one user; shared by everything in the process.
///
/// What a method that writes has acknowledged survives the end of the process, however it
/// ends, and the loss of power as far as the disk keeps its promises.
pub struct Memory {
    state: Mutex<State>,
    embedder: RwLock<Option<Arc<dyn Embedder>>>,
    /// Or why there is none; `None` where nobody wants one.
    reranker: RwLock<Option<Result<Arc<dyn Reranker>, String>>>,
    /// Why the last search went on without it.
    reranker_failure: Mutex<Option<String>>,
    /// Whose turn it is to embed what is missing: nothing is embedded twice.
    pub(crate) embedding: Arc<Mutex<()>>,
    /// Threads for whose sake the background gives way.
    pub(crate) urgent: AtomicUsize,
    /// A thread embeds what is missing in the background.
    pub(crate) background: AtomicBool,
    /// An embedder is asked for the vector of a fact that is to be kept.
    pub(crate) asking: Arc<AtomicBool>,
    redactor: RwLock<Arc<Redactor>>,
}

/// How memory is opened.
#[derive(Clone)]
pub struct MemoryOptions {
    /// The database file; its folder is made if it is not there.
    pub path: PathBuf,
    /// Without one, search is by words alone.
    pub embedder: Option<Arc<dyn Embedder>>,
    /// Whose work this is; what is kept of other projects is not seen.
    pub project: Option<Project>,
    /// Of an encrypted memory, or one that is to be. `None`: `CODRIVER_MEMORY_KEY`, then the system keyring.
    pub key: Option<MasterKey>,
    /// What is blanked out before anything is kept.
    pub redactor: Redactor,
}

impl MemoryOptions {
    /// No embedder, no project; secrets are known by their shape and from the environment.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), embedder: None, project: None, key: None, redactor: Redactor::with_environment() }
    }
}

impl Memory {
    /// Opens or creates the database file, and its folder.
    ///
    /// Where another process holds the file, memory works in [`Mode::Shared`]. A file that
    /// cannot be read, or that a newer Codriver wrote, is an error and stays as it is; the
    /// caller can go on with [`Memory::in_memory`].
    pub fn open(path: &Path, embedder: Option<Arc<dyn Embedder>>) -> Result<Self, MemoryError> {
        Self::open_with(MemoryOptions { embedder, ..MemoryOptions::new(path) })
    }

    /// [`Memory::open`] for a project, with a key, with more to be redacted.
    pub fn open_with(options: MemoryOptions) -> Result<Self, MemoryError> {
        State::open(&options).map(|state| Self::new(state, options))
    }

    /// Memory that ends with the process.
    pub fn in_memory(embedder: Option<Arc<dyn Embedder>>) -> Result<Self, MemoryError> {
        Self::in_memory_with(MemoryOptions { embedder, ..MemoryOptions::new("") })
    }

    /// [`Memory::in_memory`] for a project; the path and the key are not used.
    pub fn in_memory_with(options: MemoryOptions) -> Result<Self, MemoryError> {
        State::in_memory(&options).map(|state| Self::new(state, options))
    }

    fn new(state: State, options: MemoryOptions) -> Self {
        Self {
            state: Mutex::new(state),
            embedder: RwLock::new(options.embedder),
            reranker: RwLock::default(),
            reranker_failure: Mutex::default(),
            embedding: Arc::default(),
            urgent: AtomicUsize::new(0),
            background: AtomicBool::new(false),
            asking: Arc::default(),
            redactor: RwLock::new(Arc::new(options.redactor)),
        }
    }

    pub fn mode(&self) -> Mode {
        self.state().mode.clone()
    }

    pub fn start_conversation(&self, agent: &str, notebook: &str) -> Result<ConversationId, MemoryError> {
        let id = ConversationId::random();
        let mut state = self.state();
        let (agent, notebook, project) = (agent.to_owned(), notebook.to_owned(), state.project.clone());
        state.record(Event::ConversationStarted { id: id.clone(), agent, notebook, project })?;
        Ok(id)
    }

    /// Of this project, those with the newest turns first. While another process holds the file,
    /// those of this process.
    pub fn conversations(&self, limit: usize) -> Result<Vec<StoredConversation>, MemoryError> {
        let mut state = self.state();
        state.refresh();
        let mut conversations = state.store.conversations(usize::MAX)?;
        conversations.retain(|conversation| conversation.project == state.project);
        conversations.truncate(limit);
        Ok(conversations)
    }

    /// The conversation of this project whose identifier is, or alone begins with, `prefix`.
    pub fn find_conversation(&self, prefix: &str) -> Result<StoredConversation, MemoryError> {
        let prefix = long_enough("conversation", prefix)?;
        let mut matches = self.conversations(usize::MAX)?;
        matches.retain(|conversation| conversation.id.as_str().starts_with(prefix));
        match matches.len() {
            1 => Ok(matches.remove(0)),
            0 => Err(MemoryError::Unknown { what: "conversation", id: prefix.to_owned() }),
            _ => Err(MemoryError::Ambiguous {
                what: "conversations",
                prefix: prefix.to_owned(),
                matches: matches.iter().map(|conversation| conversation.id.short().to_owned()).collect(),
            }),
        }
    }

    /// Keeps a finished turn: the request, the answer, every message, the prompt to the letter
    /// and what was retrieved for it, without secrets. Durable when it returns.
    pub fn append_turn(&self, turn: &NewTurn) -> Result<TurnId, MemoryError> {
        let turn = redacted(turn, &self.redactor());
        let mut state = self.state();
        state.require_conversation(&turn.conversation)?;
        let id = TurnId::random();
        let turn = state.veil.over_turn(turn);
        state.record(Event::TurnAppended { id: id.clone(), turn: turn.clone() })?;
        let project = state.project.clone();
        if let Some(index) = &mut state.index {
            spoken(&id, &turn, &project).for_each(|document| index.insert(document));
        }
        Ok(id)
    }

    /// The last `limit` messages since the conversation's last reset, oldest first.
    pub fn recent_messages(
        &self,
        conversation: &ConversationId,
        limit: usize,
    ) -> Result<Vec<StoredMessage>, MemoryError> {
        let state = self.state();
        let clear = |message: StoredMessage| StoredMessage {
            content: state.veil.lifted(&message.content).into_owned(),
            json: message.json.as_ref().map(|json| state.veil.lifted_in_json(json)),
            ..message
        };
        Ok(state.store.recent_messages(conversation, limit)?.into_iter().map(clear).collect())
    }

    pub fn last_turn(&self, conversation: &ConversationId) -> Result<Option<StoredTurn>, MemoryError> {
        Ok(self.turns(conversation, 1)?.pop())
    }

    /// The last `limit` turns, oldest first, those before a reset included: the record is kept.
    pub fn turns(&self, conversation: &ConversationId, limit: usize) -> Result<Vec<StoredTurn>, MemoryError> {
        let state = self.state();
        let turns = state.store.turns(conversation, limit)?;
        Ok(turns.into_iter().map(|stored| state.clear(stored)).collect())
    }

    /// One turn by its number in the conversation, from 1.
    pub fn turn(&self, conversation: &ConversationId, number: usize) -> Result<Option<StoredTurn>, MemoryError> {
        let state = self.state();
        Ok(state.store.turn(conversation, number)?.map(|stored| state.clear(stored)))
    }

    /// What was said after turn `after`, oldest first: the last `limit` of those turns.
    pub fn earlier_turns(
        &self,
        conversation: &ConversationId,
        after: usize,
        limit: usize,
    ) -> Result<Vec<EarlierTurn>, MemoryError> {
        let state = self.state();
        let clear = |turn: EarlierTurn| EarlierTurn { answer: state.veil.lifted(&turn.answer).into_owned(), ..turn };
        Ok(state.store.earlier_turns(conversation, after, limit)?.into_iter().map(clear).collect())
    }

    /// From here on nothing said before is used: not as recent messages, not by search.
    pub fn reset_conversation(&self, conversation: &ConversationId) -> Result<(), MemoryError> {
        let mut state = self.state();
        state.require_conversation(conversation)?;
        state.record(Event::ConversationReset { conversation: conversation.clone() })?;
        if let Some(index) = &mut state.index {
            index.remove(&Gone::Conversation(conversation.as_str()));
        }
        Ok(())
    }

    /// Notes that a tool is about to run, so that nothing it does is missing from the record.
    pub fn start_tool_run(&self, run: &NewToolRun) -> Result<ToolRunId, MemoryError> {
        let run = NewToolRun { arguments: self.redactor().redact_json(&run.arguments), ..run.clone() };
        let mut state = self.state();
        state.require_conversation(&run.conversation)?;
        let id = ToolRunId::random();
        state.record(Event::ToolRunStarted { id: id.clone(), run })?;
        Ok(id)
    }

    pub fn finish_tool_run(
        &self,
        id: &ToolRunId,
        status: &str,
        result: &str,
        milliseconds: u64,
    ) -> Result<(), MemoryError> {
        let result = self.redactor().redact(result).into_owned();
        let mut state = self.state();
        if !state.store.has_tool_run(id.as_str())? {
            return Err(MemoryError::Unknown { what: "tool run", id: id.to_string() });
        }
        state.record(Event::ToolRunFinished { id: id.clone(), status: status.to_owned(), result, milliseconds })
    }

    /// The last `limit` tool runs, oldest first.
    pub fn tool_runs(&self, conversation: &ConversationId, limit: usize) -> Result<Vec<StoredToolRun>, MemoryError> {
        let state = self.state();
        let clear = |stored: StoredToolRun| StoredToolRun {
            result: state.veil.lifted(&stored.result).into_owned(),
            run: NewToolRun { arguments: state.veil.lifted_in_json(&stored.run.arguments), ..stored.run },
            ..stored
        };
        Ok(state.store.tool_runs(conversation, limit)?.into_iter().map(clear).collect())
    }

    pub fn statistics(&self) -> Result<Statistics, MemoryError> {
        let embedder = self.embedder().map(|embedder| embedder.name().to_owned());
        let state = self.state();
        let session = state.session.as_ref();
        let facts = state.facts(None)?;
        let of_scope = |scope: Scope| facts.iter().filter(|fact| fact.scope == scope).count();
        Ok(Statistics {
            mode: state.mode.clone(),
            path: state.database.as_ref().map(|path| path.display().to_string()),
            schema_version: state.store.version()?,
            bytes: state.store.bytes(),
            encrypted: state.vault.is_on(),
            conversations: state.store.count("conversations")?,
            turns: state.store.count("turns")?,
            messages: state.store.count("messages")?,
            tool_runs: state.store.count("tool_runs")?,
            facts: state.store.count_facts()?,
            project_facts: of_scope(Scope::Project),
            session_facts: of_scope(Scope::Session),
            chunks: state.store.count("chunks")?,
            session_chunks: session.map_or(Ok(0), |session| session.count("chunks"))?,
            embeddings: state.store.count("embeddings")?,
            embeddings_by_model: state.store.vectors_by_model()?,
            embedder,
            pending_journals: state.pending_journals,
        })
    }

    /// Whether there is anything to find.
    pub fn holds_something(&self) -> bool {
        let state = self.state();
        let some =
            |store: &Store| ["messages", "chunks"].into_iter().any(|table| store.has_rows(table).unwrap_or(false));
        state.known().is_ok_and(|known| !known.facts.is_empty())
            || some(&state.store)
            || state.session.as_ref().is_some_and(some)
    }

    /// Blanks out more, or less, from now on.
    pub fn set_redactor(&self, redactor: Redactor) {
        *self.redactor.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(redactor);
    }

    /// What blanks out secrets before anything is kept; for what is sent, too.
    pub fn redactor(&self) -> Arc<Redactor> {
        Arc::clone(&self.redactor.read().unwrap_or_else(PoisonError::into_inner))
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

    pub(crate) fn reranker(&self) -> Option<Result<Arc<dyn Reranker>, String>> {
        self.reranker.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn replace_reranker(&self, reranker: Result<Arc<dyn Reranker>, String>) {
        *self.reranker.write().unwrap_or_else(PoisonError::into_inner) = Some(reranker);
        self.note_reranker_failure(None);
    }

    pub(crate) fn reranker_failure(&self) -> Option<String> {
        self.reranker_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn note_reranker_failure(&self, reason: Option<String>) {
        *self.reranker_failure.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

impl State {
    /// A turn as it was, while what only this session knows is known.
    fn clear(&self, stored: StoredTurn) -> StoredTurn {
        StoredTurn { turn: self.veil.lifted_turn(stored.turn), ..stored }
    }
}

/// Of an identifier so much has to be said: a slip of one character must not name something.
const LEAST_OF_AN_ID: usize = 4;

/// The beginning of an identifier, if it is one.
pub(crate) fn long_enough<'a>(what: &'static str, prefix: &'a str) -> Result<&'a str, MemoryError> {
    if prefix.chars().count() < LEAST_OF_AN_ID {
        return Err(MemoryError::ShortId { what, prefix: prefix.to_owned(), least: LEAST_OF_AN_ID });
    }
    Ok(prefix)
}

/// What of a turn can be found again: what the person and the agent said.
fn spoken(id: &TurnId, turn: &NewTurn, project: &ProjectKey) -> impl Iterator<Item = Document> {
    let said = |(_, message): &(usize, &NewMessage)| matches!(message.role.as_str(), "user" | "assistant");
    turn.messages.iter().enumerate().filter(said).filter_map(move |(position, message)| {
        message_document(&Spoken {
            turn: id.clone(),
            position,
            conversation: turn.conversation.clone(),
            project: project.clone(),
            sequence: 0,
            role: message.role.clone(),
            content: message.content.clone(),
            said_at: Utc::now(),
        })
    })
}

pub(crate) fn message_document(spoken: &Spoken) -> Option<Document> {
    let document = || Document {
        kind: "message",
        scope: Scope::Project,
        id: format!("{}#{}", spoken.turn, spoken.position),
        origin: spoken.conversation.to_string(),
        title: spoken.role.clone(),
        text: spoken.content.clone(),
        created_at: Some(spoken.said_at),
        importance: Document::USUAL,
        pinned: false,
        project: Some(spoken.project.to_string()),
    };
    (!spoken.content.trim().is_empty()).then(document)
}
