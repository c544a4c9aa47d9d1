//! Agents: a cell that is a conversation, answered with the session at hand.
//!
//! [`run_turn`] is the one loop, whatever the model: pack the window ([`context`], with earlier turns
//! condensed by [`compaction`]), render the prompt ([`prompts`]), ask the model ([`models`]), check and run its tool calls ([`tools`]), until
//! it answers. [`stream`] shows the words as they come; memory keeps all of it.

pub mod compaction;
pub mod context;
mod definitions;
mod embedding;
mod environment;
mod examples;
pub mod facts;
pub mod knowledge;
mod ledger;
mod magics;
mod models;
mod prompts;
mod provenance;
mod reranking;
mod secrets;
pub mod store;
mod stream;
pub mod tools;
mod turn;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use codriver_memory::{ContextItem, ConversationId, Memory, StoredConversation};

use crate::languages::CellError;
use definitions::Definitions;
use embedding::EmbedderLoader;
use facts::Learner;

pub use definitions::{AgentDefinition, configuration_folder};
pub use embedding::{model_folder as embedding_model_folder, open_embedder};
pub use magics::magics;
pub use models::{LoadedModel, ModelEntry, ModelManager, STARTER};
pub use reranking::{chosen as reranking_model, open_reranker};
pub use secrets::Secrets;
pub use stream::METADATA;
pub use turn::{LastTurn, ToolRun, TurnOptions, TurnReport, run_turn};

/// The agent that takes a request when none is named.
const DEFAULT_AGENT: &str = "codriver";

/// The agents of a session: who there is, who is talked to, and what was said last.
pub struct Agents {
    pub models: ModelManager,
    pub last_turn: Option<LastTurn>,
    /// What `%context` showed last: its numbers name items.
    shown_items: Vec<ContextItem>,
    current: String,
    definitions: Definitions,
    /// What is wrong with the user's `agents.json`, if anything.
    problem: Option<String>,
    memory: Arc<Memory>,
    conversations: HashMap<String, ConversationId>,
    embedder: Arc<EmbedderLoader>,
    /// Finds facts in turns.
    pub learner: Arc<Learner>,
}

impl Agents {
    /// Loads the definitions. Models wait for the first request.
    pub fn new(memory: Arc<Memory>, workspace: &Path) -> Self {
        let (definitions, problem) = Definitions::load();
        let of_agents = definitions.all().iter().filter_map(|agent| agent.model.clone()).collect();
        Self {
            learner: Arc::new(Learner::new(&memory)),
            models: ModelManager::new(workspace, of_agents),
            last_turn: None,
            shown_items: Vec::new(),
            current: DEFAULT_AGENT.to_owned(),
            definitions,
            problem,
            memory,
            conversations: HashMap::new(),
            embedder: Arc::default(),
        }
    }

    /// The conversation with `agent` in this session; a new one if `fresh`.
    fn conversation(&mut self, agent: &str, fresh: bool) -> Result<ConversationId, CellError> {
        if !fresh && let Some(known) = self.conversations.get(agent) {
            return Ok(known.clone());
        }
        let notebook = std::env::var("JPY_SESSION_NAME").unwrap_or_default();
        let conversation = self.memory.start_conversation(agent, &notebook).map_err(|error| memory_error(&error))?;
        self.conversations.insert(agent.to_owned(), conversation.clone());
        Ok(conversation)
    }

    /// Ends the conversation with `agent`: the record stays, the next turn starts anew.
    fn reset(&mut self, agent: &str) -> Result<bool, CellError> {
        let Some(conversation) = self.conversations.remove(agent) else { return Ok(false) };
        self.memory.reset_conversation(&conversation).map_err(|error| memory_error(&error))?;
        Ok(true)
    }

    /// Goes on with an earlier conversation of this project: the newest of the current agent that said
    /// something, or the one of this identifier or the beginning of it.
    fn resume(&mut self, id: Option<&str>) -> Result<StoredConversation, CellError> {
        let found = match id {
            Some(id) => self.memory.find_conversation(id).map_err(|error| memory_error(&error))?,
            None => {
                let here: Vec<&ConversationId> = self.conversations.values().collect();
                let earlier = |conversation: &StoredConversation| {
                    conversation.agent == self.current && conversation.turns > 0 && !here.contains(&&conversation.id)
                };
                let all = self.memory.conversations(usize::MAX).map_err(|error| memory_error(&error))?;
                all.into_iter().find(earlier).ok_or_else(|| {
                    CellError::new(
                        "AgentError",
                        format!("there is no earlier conversation with {} in this project", self.current),
                    )
                })?
            }
        };
        if self.definitions.get(&found.agent).is_some() {
            self.current.clone_from(&found.agent);
        }
        self.conversations.insert(self.current.clone(), found.id.clone());
        Ok(found)
    }

    /// Starts loading the embedding model, for those who will search soon.
    pub fn warm_up(&self) {
        self.embedder.start(&self.memory);
    }
}

fn memory_error(error: &codriver_memory::MemoryError) -> CellError {
    CellError::new("MemoryError", error.to_string())
}
