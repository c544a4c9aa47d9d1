//! What is settled before the model is asked.

use std::borrow::Cow;
use std::sync::Arc;

use codriver_inference::{ChatModel, ChatRequest, Message, ModelError, Priority, SamplingParameters, ToolDefinition};
use codriver_memory::ConversationId;
use codriver_tools::{Policy, nearest};

use super::told::Told;
use super::{Ending, TurnOptions};
use crate::agent::compaction::Asked;
use crate::agent::context::{Retrieved, Section, Shares, Sources};
use crate::agent::definitions::AgentDefinition;
use crate::agent::environment::environment;
use crate::agent::tools::Toolbox;
use crate::agent::{examples, memory_error, prompts};
use crate::languages::{CellContext, CellError};
use crate::render::cards::one_line;
use crate::session::{Session, StaleCell};

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
    /// The request's place among the messages.
    pub asked: usize,
    /// What goes before the request when it is sent: how the session is now, and what was retrieved.
    known: String,
    pub max_turns: usize,
    /// What the model that condensed earlier turns was asked, if it was.
    pub compacted: Option<Asked>,
    /// What is remembered may go before the model.
    pub use_memory: bool,
}

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
        let (cancellation, _guard) = context.interrupt.cancellation();
        let model = session.agents.models.get(model_name, &cancellation).map_err(|error| match error {
            ModelError::Cancelled => CellError::interrupted("the model was not loaded"),
            error => CellError::new("ModelError", session.agents.models.secrets().redact(&error.to_string())),
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
        if use_memory && !context.output.can_ask() {
            // Nobody waits, and a notebook that runs again is told the same again.
            session.agents.learner.settle(&context.interrupt);
        }
        if use_memory {
            session.agents.embedder.wait(&session.memory, &context.interrupt);
        }
        let sampling = SamplingParameters {
            temperature: options.temperature.unwrap_or(agent.temperature),
            seed: options.seed.unwrap_or(0),
            // Half of a small window is left to the prompt.
            max_tokens: options.max_tokens.unwrap_or(agent.max_tokens).min(model.context_window() / 2).max(1),
            ..SamplingParameters::default()
        };
        // Where nobody can be asked, nobody waits.
        let priority = if context.output.can_ask() { Priority::Interactive } else { Priority::Batch };
        let chat = ChatRequest { tools: definitions, sampling, environment, priority, ..ChatRequest::default() };
        let mut plan = Self {
            max_turns: options.max_turns.unwrap_or(agent.max_turns),
            policy: Policy { can_ask: context.output.can_ask() },
            agent,
            model,
            toolbox,
            conversation,
            retrieved: Retrieved::default(),
            chat,
            asked: 0,
            known: String::new(),
            compacted: None,
            use_memory,
        };
        plan.fill(session, request, use_memory, context)?;
        Ok(plan)
    }

    /// Packs the window.
    fn fill(
        &mut self,
        session: &Session,
        request: &str,
        use_memory: bool,
        context: &CellContext,
    ) -> Result<(), CellError> {
        let memory = session.memory.as_ref();
        let [system, tools, asked] = self.fixed(request)?;
        let window = self.model.context_window();
        let shares = Shares::new(window, self.chat.sampling.max_tokens, system + tools + asked);
        let mut told = match &self.conversation {
            Some(conversation) if use_memory => {
                Told::load(memory, conversation).map_err(|error| memory_error(&error))?
            }
            _ => Told::default(),
        };
        let stale: Vec<String> = session.runs.stale().iter().map(StaleCell::line).collect();
        let examples = if use_memory { examples::like(request, memory) } else { Vec::new() };
        let gather = |told: &Told, plan: &Self| {
            let sources = Sources {
                environment: &plan.chat.environment,
                stale_cells: &stale,
                memory,
                workspace: &session.workspace,
                turns: &told.turns,
                compaction: told.compactions.current(),
                choices: &told.choices,
                examples: &examples,
                use_memory,
            };
            Retrieved::gather(&sources, request, plan.model.as_ref())
        };
        self.retrieved = gather(&told, self);
        if self.retrieved.turns_overflow(&shares) && !told.compactions.held {
            let secrets = session.agents.models.secrets();
            self.compacted = told.condense(memory, self, shares.of(Section::Turns), &secrets, context);
            if self.compacted.is_some() {
                self.retrieved = gather(&told, self);
            }
        }
        // A model that reads only what exists in the session is given all of it.
        if self.model.reads_system_prompt() {
            self.retrieved.pack(&shares);
        }
        // Before it is cut: half of a secret is not recognized any more.
        let clean = |text: &str| session.agents.models.secrets().redact(&memory.redactor().redact(text));
        let template = format!("{}, version {}", self.agent.template, prompts::used_version(&self.agent.template));
        let offered = format!("{} tools", self.chat.tools.len());
        let fixed = [
            (Section::System, template, system),
            (Section::Tools, offered, tools),
            (Section::Request, one_line(&clean(request), 80), asked),
        ];
        let unread = (!self.model.reads_system_prompt()).then_some("this model reads only the request and what exists");
        self.retrieved.put_fixed(fixed, unread);
        self.tell()?;
        self.chat.messages.push(Message::user(request));
        self.fit()
    }

    /// Tokens of what is always there: the system prompt, the tools, the request with what stands
    /// around it.
    fn fixed(&mut self, request: &str) -> Result<[usize; 3], CellError> {
        let system = prompts::system(&self.agent, &self.chat.tools)?;
        let count = |chat: &ChatRequest| {
            let prompt = self.model.render_prompt(chat).ok()?;
            Some(self.model.count_tokens(&prompt))
        };
        let system_tokens = self.model.count_tokens(&system);
        let bare = ChatRequest {
            messages: vec![Message::system(&system), Message::user(request)],
            tools: Vec::new(),
            ..self.chat.clone()
        };
        let with_tools = ChatRequest { tools: self.chat.tools.clone(), ..bare.clone() };
        // A prompt that cannot be rendered is reported when the model is asked.
        let without = count(&bare).unwrap_or(system_tokens);
        let with = count(&with_tools).unwrap_or(without);
        if !self.model.reads_system_prompt() {
            return Ok([0, 0, with]);
        }
        Ok([system_tokens, with.saturating_sub(without), without.saturating_sub(system_tokens)])
    }

    /// Puts what is in before the request.
    fn tell(&mut self) -> Result<(), CellError> {
        let said = self.chat.messages.split_off(self.asked);
        let system = prompts::system(&self.agent, &self.chat.tools)?;
        if self.model.reads_system_prompt() {
            self.known = prompts::known(&self.agent, &self.chat.tools, &self.retrieved.groups(), &system)?;
        }
        self.chat.messages = vec![Message::system(system)];
        for (request, answer) in self.retrieved.earlier_turns() {
            self.chat.messages.push(Message::user(request));
            self.chat.messages.push(Message::assistant(answer, Vec::new()));
        }
        self.asked = self.chat.messages.len();
        self.chat.messages.extend(said);
        Ok(())
    }

    /// What the model is sent: what is known changes from turn to turn, so it comes after all that does not.
    pub(super) fn sent(&self) -> Cow<'_, ChatRequest> {
        let mut chat = Cow::Borrowed(&self.chat);
        if !self.known.is_empty()
            && let Some(asked) = chat.to_mut().messages.get_mut(self.asked)
        {
            asked.content = format!("{}\n\n{}", self.known, asked.content);
        }
        chat
    }

    /// Leaves out one retrieved item and renders the prompt again; false when none is left.
    pub(super) fn make_room(&mut self) -> Result<bool, Ending> {
        if !self.retrieved.drop_one("no room in the model's window") {
            return Ok(false);
        }
        self.tell().map_err(|error| Ending::Failed { name: "PromptError", reason: error.value })?;
        Ok(true)
    }

    /// Drops retrieved items until prompt and answer fit the window.
    fn fit(&mut self) -> Result<(), CellError> {
        if !self.model.reads_system_prompt() {
            return Ok(());
        }
        let window = self.model.context_window();
        loop {
            // A prompt that cannot be rendered is reported when the model is asked.
            let Ok(prompt) = self.model.render_prompt(&self.sent()) else { return Ok(()) };
            let needed = self.model.count_tokens(&prompt) + self.chat.sampling.max_tokens;
            if needed <= window || !self.retrieved.drop_one("no room in the model's window") {
                return Ok(());
            }
            self.tell()?;
        }
    }
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
        Some(names) => {
            names.iter().map(|name| name.trim()).filter(|name| !name.is_empty() && *name != "none").collect()
        }
        None => agent.tools.iter().map(String::as_str).collect(),
    };
    let source = format!("agent {}", agent.name);
    Toolbox::new(session, context, &source, &names)
        .map_err(|error| CellError::new("AgentError", format!("{error}. %tools lists them")))
}
