//! A turn: the one loop that runs agents, whatever the model.

mod calls;
mod plan;
mod record;
mod told;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use codriver_inference::{
    Cancellation, ChatEvent, ChatRequest, ChatResponse, FinishReason, Message, ModelError, ToolCall, Usage,
};
use codriver_memory::{ContextItem, ConversationId, Memory, Redactor};
use serde_json::{Value, json};

use super::facts::Learner;
use super::ledger::{self, UserData};
use super::secrets::Secrets;
use super::stream::{Words, kind};
use crate::languages::{CellContext, CellError};
use crate::render::context::context_card;
use crate::session::Session;
use calls::{Calls, Outcome};
use plan::Plan;

/// What a `%%agent` line says. `None` leaves it to the agent's definition.
#[derive(Debug, Clone, Default)]
pub struct TurnOptions {
    pub agent: Option<String>,
    pub model: Option<String>,
    pub tools: Option<Vec<String>>,
    pub max_turns: Option<usize>,
    pub max_tokens: Option<usize>,
    pub temperature: Option<f32>,
    pub seed: Option<u64>,
    /// Nothing remembered goes into the prompt, earlier turns included. The turn is still
    /// recorded.
    pub no_memory: bool,
    /// In a conversation of its own, as if nothing had been said before.
    pub fresh: bool,
    /// Stops at the first tool call, without running it and without a record.
    pub dry_run: bool,
}

/// What happened in a turn that ended well.
#[derive(Debug, Clone)]
pub struct TurnReport {
    pub agent: String,
    pub model: String,
    pub answer: String,
    pub tool_runs: Vec<ToolRun>,
    /// In a dry run: the call that was not made.
    pub first_call: Option<ToolCall>,
    pub usage: Usage,
    pub milliseconds: u64,
}

/// One call and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolRun {
    pub tool: String,
    pub arguments: Value,
    /// `ok`, `failed`, `denied`, `invalid` or `interrupted`.
    pub status: &'static str,
    pub result: String,
    pub milliseconds: u64,
}

/// The last turn as `%context` shows it.
#[derive(Debug, Clone, Default)]
pub struct LastTurn {
    pub request: String,
    pub model: String,
    /// Of the model, in tokens.
    pub window: usize,
    pub context: Vec<ContextItem>,
    /// One for each model call: the exact text and its tokens.
    pub prompts: Vec<(String, usize)>,
    /// `None` in a dry run.
    pub conversation: Option<ConversationId>,
}

/// Answers `request`, streaming to `context.output`.
pub fn run_turn(
    session: &mut Session,
    options: &TurnOptions,
    request: &str,
    context: &CellContext,
) -> Result<TurnReport, CellError> {
    let request = request.trim();
    if request.is_empty() {
        return Err(CellError::new("AgentError", "nothing was asked: write the request below the %%agent line"));
    }
    let started = Instant::now();
    let plan = Plan::make(session, options, request, context)?;
    if !options.dry_run && !plan.retrieved.items.is_empty() {
        let shown = without_secrets(&plan.retrieved.items, &session.memory.redactor());
        let card = context_card(&shown, plan.model.context_window());
        context.output.display(kind(card, "context"));
    }
    let (cancellation, _guard) = context.interrupt.cancellation();
    let mut turn = Turn {
        secrets: session.agents.models.secrets(),
        memory: &session.memory,
        learner: &session.agents.learner,
        context,
        cancellation,
        dry_run: options.dry_run,
        usage: Usage::default(),
        prompts: Vec::new(),
        answer: String::new(),
        tool_runs: Vec::new(),
        data: UserData::of_context(&plan.retrieved.items, &plan.chat.environment),
        plan,
    };
    turn.note_compaction();
    let ending = turn.run();
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let recorded = if options.dry_run { Ok(()) } else { turn.record(request, &ending, milliseconds) };
    let last = LastTurn {
        request: session.memory.redactor().redact(request).into_owned(),
        model: turn.plan.model.name().to_owned(),
        window: turn.plan.model.context_window(),
        conversation: turn.plan.conversation.clone(),
        context: without_secrets(&turn.plan.retrieved.items, &session.memory.redactor()),
        prompts: std::mem::take(&mut turn.prompts),
    };
    let report = turn.report(&ending, milliseconds);
    session.agents.last_turn = Some(last);
    if let Err(error) = recorded {
        context.output.stderr(format!("this turn is not recorded: {error}\n"));
    }
    match ending {
        Ending::Answered | Ending::Call(_) => Ok(report),
        Ending::Interrupted => Err(CellError::interrupted("the agent was stopped; what it said so far is kept")),
        Ending::Failed { name, reason } => Err(CellError::new(name, reason)),
    }
}

struct Turn<'a> {
    plan: Plan,
    secrets: Arc<Secrets>,
    memory: &'a Memory,
    learner: &'a Learner,
    context: &'a CellContext,
    cancellation: Cancellation,
    dry_run: bool,
    usage: Usage,
    prompts: Vec<(String, usize)>,
    answer: String,
    tool_runs: Vec<ToolRun>,
    /// Of the person's tables, in the prompt so far.
    data: UserData,
}

enum Ending {
    Answered,
    /// A dry run's first call.
    Call(ToolCall),
    Interrupted,
    Failed {
        name: &'static str,
        reason: String,
    },
}

impl Ending {
    fn failed(reason: impl Into<String>) -> Self {
        Self::Failed { name: "AgentError", reason: reason.into() }
    }
}

impl Turn<'_> {
    fn run(&mut self) -> Ending {
        let mut calls = Calls::default();
        let mut asked_again = false;
        for _ in 0..self.plan.max_turns {
            let response = match self.ask_model() {
                Ok(response) => response,
                Err(ending) => return ending,
            };
            let message = response.message;
            if message.tool_calls.is_empty() {
                if !message.content.trim().is_empty() {
                    return self.answered(message, response.finish_reason);
                }
                if response.finish_reason == FinishReason::ContentFilter {
                    return Ending::failed("the provider's content filter withheld the answer");
                }
                if std::mem::replace(&mut asked_again, true) {
                    return Ending::failed(
                        "the model answered with nothing, twice; ask in other words, or choose another model with %model",
                    );
                }
                self.plan
                    .chat
                    .messages
                    .push(Message::user("Your answer was empty. Answer the request, or call a tool."));
                continue;
            }
            if self.dry_run {
                return message.tool_calls.into_iter().next().map_or(Ending::Answered, Ending::Call);
            }
            self.plan.chat.messages.push(message.clone());
            for call in &message.tool_calls {
                match self.run_call(call, &mut calls) {
                    Outcome::Result(text) => self.plan.chat.messages.push(Message::tool_result(call, text)),
                    Outcome::End(ending) => return ending,
                }
            }
        }
        Ending::failed(format!(
            "no answer after {} model call{}; raise the limit with --max-turns, or ask for less at once",
            self.plan.max_turns,
            if self.plan.max_turns == 1 { "" } else { "s" }
        ))
    }

    /// One model call, streamed. Where the prompt is too long, the least important of what
    /// was retrieved is left out and the model asked again.
    fn ask_model(&mut self) -> Result<ChatResponse, Ending> {
        loop {
            if self.context.interrupt.is_set() {
                return Err(Ending::Interrupted);
            }
            let started = Instant::now();
            let chat = as_sent(&self.plan, self.memory);
            let prompt = self.plan.model.render_prompt(&chat).map_err(|error| self.model_failed(&error))?;
            let tokens = self.plan.model.count_tokens(&prompt);
            self.prompts.push((self.secrets.redact(&prompt), tokens));
            let secrets = Arc::clone(&self.secrets);
            let mut words = Words::new(&self.context.output, &secrets);
            let quiet = self.dry_run;
            let outcome = self.plan.model.chat(&chat, &self.cancellation, &mut |event| match event {
                ChatEvent::Text(text) if !quiet => words.say(&text),
                ChatEvent::Reasoning(text) if !quiet => words.think(&text),
                ChatEvent::Notice(text) if !quiet => words.note(&text),
                _ => {}
            });
            self.answer = words.said();
            let usage = outcome.as_ref().map_or_else(|_| Usage::default(), |response| response.usage);
            words.finish(&self.details(usage, started));
            if let Some((_, tokens)) = self.prompts.last_mut()
                && usage.prompt_tokens > 0
            {
                // The model's own count goes before ours.
                *tokens = usage.prompt_tokens;
            }
            self.add(usage);
            let conversation = self.plan.conversation.as_ref();
            let model = self.plan.model.as_ref();
            ledger::note(self.memory, conversation, model, "turn", (&prompt, tokens), usage, &self.data);
            return match outcome {
                Ok(response) if response.finish_reason == FinishReason::Cancelled => Err(Ending::Interrupted),
                Ok(response) => Ok(self.without_keys(response)),
                Err(ModelError::Cancelled) => Err(Ending::Interrupted),
                Err(_) if self.context.interrupt.is_set() => Err(Ending::Interrupted),
                Err(ModelError::ContextOverflow { .. })
                    if self.plan.model.reads_system_prompt() && self.plan.make_room()? =>
                {
                    self.prompts.pop();
                    continue;
                }
                Err(error) => Err(self.model_failed(&error)),
            };
        }
    }

    /// What was asked to condense earlier turns is part of the turn's record.
    fn note_compaction(&mut self) {
        let Some(asked) = self.plan.compacted.take() else { return };
        self.add(asked.usage);
        self.prompts.push((asked.prompt, asked.tokens));
    }

    fn add(&mut self, usage: Usage) {
        self.usage.prompt_tokens += usage.prompt_tokens;
        self.usage.completion_tokens += usage.completion_tokens;
    }

    /// The server was sent the key: it can send it back, as words or as arguments.
    fn without_keys(&self, mut response: ChatResponse) -> ChatResponse {
        let message = &mut response.message;
        message.content = self.secrets.redact(&message.content);
        for call in &mut message.tool_calls {
            call.name = self.secrets.redact(&call.name);
            call.arguments = self.secrets.redact_json(call.arguments.take());
        }
        response
    }

    fn answered(&mut self, message: Message, finish: FinishReason) -> Ending {
        self.answer.clone_from(&message.content);
        self.plan.chat.messages.push(message);
        if finish == FinishReason::Length && !self.dry_run {
            let limit = self.plan.chat.sampling.max_tokens;
            self.context
                .output
                .stderr(format!("the answer was cut at {limit} tokens; --max-tokens raises the limit\n"));
        }
        Ending::Answered
    }

    fn model_failed(&self, error: &ModelError) -> Ending {
        Ending::Failed { name: "ModelError", reason: self.secrets.redact(&error.to_string()) }
    }

    fn details(&self, usage: Usage, started: Instant) -> Value {
        json!({
            "agent": self.plan.agent.name,
            "model": self.plan.model.name(),
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "milliseconds": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn report(self, ending: &Ending, milliseconds: u64) -> TurnReport {
        TurnReport {
            agent: self.plan.agent.name,
            model: self.plan.model.name().to_owned(),
            answer: self.answer,
            tool_runs: self.tool_runs,
            first_call: match ending {
                Ending::Call(call) => Some(call.clone()),
                _ => None,
            },
            usage: self.usage,
            milliseconds,
        }
    }
}

/// As they are shown: titles are cut, and half of a secret is not recognized any more.
fn without_secrets(items: &[ContextItem], redactor: &Redactor) -> Vec<ContextItem> {
    let clean = |text: &str| redactor.redact(text).into_owned();
    let item = |item: &ContextItem| ContextItem { title: clean(&item.title), text: clean(&item.text), ..item.clone() };
    items.iter().map(item).collect()
}

/// What leaves the machine is without secrets, whatever a cell, a table or a file holds.
fn as_sent<'a>(plan: &'a Plan, memory: &Memory) -> Cow<'a, ChatRequest> {
    let sent = plan.sent();
    if plan.model.destination().is_none() {
        return sent;
    }
    let redactor = memory.redactor();
    let mut chat = sent.into_owned();
    for message in &mut chat.messages {
        message.content = redactor.redact(&message.content).into_owned();
        for call in &mut message.tool_calls {
            call.arguments = redactor.redact_json(&call.arguments);
        }
    }
    Cow::Owned(chat)
}
