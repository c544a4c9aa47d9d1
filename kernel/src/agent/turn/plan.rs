//! What is settled before the model is asked.

use std::sync::Arc;

use codriver_inference::{ChatModel, ChatRequest, Message, Priority, SamplingParameters, ToolDefinition};
use codriver_memory::ConversationId;
use codriver_tools::{Policy, nearest};

use super::{Ending, TurnOptions};
use crate::agent::context::{Retrieved, Sources};
use crate::agent::definitions::AgentDefinition;
use crate::agent::environment::environment;
use crate::agent::tools::Toolbox;
use crate::languages::{CellContext, CellError};
use crate::session::Session;

/// Agent, model, tools, context and the request as it will be sent.
pub(super) struct Plan {
    pub agent: AgentDefinition,
    pub model: Arc<dyn ChatModel>,
    pub toolbox: Toolbox,
    pub policy: Policy,
    /// `None` in a dry run, which leaves no record.
    pub conversation: Option<ConversationId>,
    pub retrieved: Retrieved,
    pub chat: ChatRequest,
    pub max_turns: usize,
    system: SystemPrompt,
}

/// Renders the system prompt again when something has to be left out.
type SystemPrompt = Box<dyn Fn(&Retrieved) -> Result<String, CellError>>;

impl Plan {
    pub(super) fn make(
        session: &mut Session,
        options: &TurnOptions,
        request: &str,
        context: &CellContext,
    ) -> Result<Self, CellError> {
        let (agent, why) = choose_agent(session, options, request)?;
        if !why.is_empty() && !options.dry_run {
            tracing::debug!(agent = agent.name, why, "routed");
        }
        let model_name = options.model.as_deref().or(agent.model.as_deref());
        let model = session.agents.models.get(model_name).map_err(|error| {
            CellError::new("ModelError", session.agents.models.secrets().redact(&error.to_string()))
        })?;
        let toolbox = toolbox(session, options, &agent, context)?;
        let definitions: Vec<ToolDefinition> = toolbox
            .specifications()
            .into_iter()
            .map(|tool| ToolDefinition {
                name: tool.name.to_owned(),
                description: tool.description.to_owned(),
                parameters: tool.parameters,
            })
            .collect();
        let environment = environment(session, &context.interrupt);
        let talk = options.agent.clone().unwrap_or_else(|| session.agents.current.clone());
        let conversation = match options.dry_run {
            true => None,
            false => Some(session.agents.conversation(&talk, options.fresh)?),
        };
        let use_memory = !options.no_memory && model.reads_system_prompt();
        if use_memory {
            session.agents.embedder.wait(&session.memory, &context.interrupt);
        }
        let sources = Sources {
            environment: &environment,
            memory: &session.memory,
            conversation: conversation.as_ref(),
            use_memory,
        };
        let retrieved = Retrieved::gather(&sources, request, model.as_ref());
        let prompts = Arc::clone(&session.agents.prompts);
        let system: SystemPrompt = {
            let (agent, definitions) = (agent.clone(), definitions.clone());
            Box::new(move |retrieved| prompts.system(&agent, &definitions, &retrieved.groups()))
        };
        let sampling = SamplingParameters {
            temperature: options.temperature.unwrap_or(agent.temperature).max(0.0),
            seed: options.seed.unwrap_or(0),
            // Half of a small window is left to the prompt.
            max_tokens: options.max_tokens.unwrap_or(agent.max_tokens).min(model.context_window() / 2).max(1),
            ..SamplingParameters::default()
        };
        let chat = ChatRequest {
            messages: messages(&system(&retrieved)?, &retrieved, request),
            tools: definitions,
            sampling,
            environment,
            // Where nobody can be asked, nobody waits.
            priority: if context.output.can_ask() { Priority::Interactive } else { Priority::Batch },
            ..ChatRequest::default()
        };
        let mut plan = Self {
            max_turns: options.max_turns.unwrap_or(agent.max_turns).max(1),
            policy: Policy { can_ask: context.output.can_ask() },
            agent,
            model,
            toolbox,
            conversation,
            retrieved,
            chat,
            system,
        };
        plan.fit(request)?;
        Ok(plan)
    }

    /// Leaves out one retrieved item and renders the prompt again; false when none is left.
    pub(super) fn make_room(&mut self) -> Result<bool, Ending> {
        if !self.retrieved.drop_one("no room in the model's window") {
            return Ok(false);
        }
        let system = (self.system)(&self.retrieved)
            .map_err(|error| Ending::Failed { name: "PromptError", reason: error.value })?;
        let request = self.chat.messages.iter().rposition(|message| message.role == codriver_inference::Role::User);
        let kept = self.chat.messages.split_off(request.unwrap_or(self.chat.messages.len()));
        self.chat.messages = history(&system, &self.retrieved);
        self.chat.messages.extend(kept);
        Ok(true)
    }

    /// Drops retrieved items until prompt and answer fit the window.
    fn fit(&mut self, request: &str) -> Result<(), CellError> {
        if !self.model.reads_system_prompt() {
            return Ok(());
        }
        let window = self.model.context_window();
        loop {
            // A prompt that cannot be rendered is reported when the model is asked.
            let Ok(prompt) = self.model.render_prompt(&self.chat) else { return Ok(()) };
            let needed = self.model.count_tokens(&prompt) + self.chat.sampling.max_tokens;
            if needed <= window || !self.retrieved.drop_one("no room in the model's window") {
                return Ok(());
            }
            let system = (self.system)(&self.retrieved)?;
            self.chat.messages = messages(&system, &self.retrieved, request);
        }
    }
}

fn history(system: &str, retrieved: &Retrieved) -> Vec<Message> {
    let mut messages = vec![Message::system(system)];
    for (request, answer) in retrieved.earlier_turns() {
        messages.push(Message::user(request));
        messages.push(Message::assistant(answer, Vec::new()));
    }
    messages
}

fn messages(system: &str, retrieved: &Retrieved, request: &str) -> Vec<Message> {
    let mut messages = history(system, retrieved);
    messages.push(Message::user(request));
    messages
}

/// The agent that takes the request, and why it is not the one that was asked.
fn choose_agent(
    session: &Session,
    options: &TurnOptions,
    request: &str,
) -> Result<(AgentDefinition, String), CellError> {
    let definitions = &session.agents.definitions;
    let name = options.agent.as_deref().unwrap_or(&session.agents.current);
    let asked = definitions.get(name).ok_or_else(|| {
        let hint =
            nearest(name, definitions.names()).map(|near| format!(" Did you mean {near:?}?")).unwrap_or_default();
        CellError::new("AgentError", format!("there is no agent {name:?}.{hint} %agent list shows all of them"))
    })?;
    let routed = definitions.route(asked, request);
    Ok((routed.agent.clone(), routed.why))
}

fn toolbox(
    session: &Session,
    options: &TurnOptions,
    agent: &AgentDefinition,
    context: &CellContext,
) -> Result<Toolbox, CellError> {
    let names: Vec<&str> = match &options.tools {
        Some(names) => names.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect(),
        None => agent.tools.iter().map(String::as_str).collect(),
    };
    let source = format!("agent {}", agent.name);
    Toolbox::new(session, context, &source, &names)
        .map_err(|error| CellError::new("AgentError", format!("{error}. %tools lists them")))
}
