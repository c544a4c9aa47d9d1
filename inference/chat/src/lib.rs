//! What is said to a model and what it answers, whatever the model.

pub mod answer;
mod constraint;
pub mod formats;
pub mod grammar;
mod jinja;
pub mod markers;
pub mod retelling;
pub mod template;

pub use constraint::Constraint;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

/// A model that can hold a conversation and call tools.
///
/// Calls block the thread they run on; streaming goes through `on_event`, and
/// `cancellation` is checked between tokens (local) or raced with the socket (remote).
pub trait ChatModel: Send + Sync {
    /// The name a person would pass to `--model`.
    fn name(&self) -> &str;

    /// Tokens the model can attend to, prompt and answer together.
    fn context_window(&self) -> usize;

    /// Exact for local models, an estimate (bytes / 4, rounded up) where the tokenizer is unknown.
    fn count_tokens(&self, text: &str) -> usize;

    /// Whether the model reads the system prompt and earlier messages. One that reads only
    /// the last message and the [`Environment`] says no, and `%context` shows it.
    fn reads_system_prompt(&self) -> bool {
        true
    }

    /// The host that a request is sent to; `None` for a model on this machine. A server on loopback is
    /// a host too: where it sends things on to is not known here.
    fn destination(&self) -> Option<String> {
        None
    }

    /// Bytes that the model holds of its device's memory; `None` for one that runs elsewhere.
    fn memory(&self) -> Option<u64> {
        None
    }

    /// Whether it can't answer any more, whatever it is asked: it has to be loaded anew.
    fn has_stopped(&self) -> bool {
        false
    }

    /// The prompt exactly as the model reads it, for `%context`. Remote models return the
    /// request body with secrets left out.
    fn render_prompt(&self, request: &ChatRequest) -> Result<String, ModelError>;

    /// Runs one model call. Text arrives as [`ChatEvent`]s while it is produced; the
    /// response repeats it whole.
    fn chat(
        &self,
        request: &ChatRequest,
        cancellation: &Cancellation,
        on_event: &mut dyn FnMut(ChatEvent),
    ) -> Result<ChatResponse, ModelError>;
}

/// One model call: the conversation so far, the tools on offer and how to sample.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ChatRequest {
    pub messages: Vec<Message>,
    pub tools: Vec<ToolDefinition>,
    pub tool_choice: ToolChoice,
    pub sampling: SamplingParameters,
    /// Names that exist in the session. Constrained decoding admits no others.
    pub environment: Environment,
    #[serde(default)]
    pub priority: Priority,
}

/// Who is served first where many ask the same model, the most urgent first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// A person waits.
    #[default]
    Interactive,
    /// Nobody waits: a notebook that runs by itself, a job.
    Batch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub role: Role,
    pub content: String,
    /// Calls an assistant message asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// On a tool message: the call it answers, and the tool's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_name: Option<String>,
}

impl Message {
    pub fn system(content: impl Into<String>) -> Self {
        Self::plain(Role::System, content)
    }

    pub fn user(content: impl Into<String>) -> Self {
        Self::plain(Role::User, content)
    }

    pub fn assistant(content: impl Into<String>, tool_calls: Vec<ToolCall>) -> Self {
        Self { tool_calls, ..Self::plain(Role::Assistant, content) }
    }

    /// The result of `call`, as the model will read it.
    pub fn tool_result(call: &ToolCall, content: impl Into<String>) -> Self {
        Self {
            tool_call_id: Some(call.id.clone()),
            tool_name: Some(call.name.clone()),
            ..Self::plain(Role::Tool, content)
        }
    }

    fn plain(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), tool_calls: Vec::new(), tool_call_id: None, tool_name: None }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    /// A JSON object. A model that wrote unparsable arguments yields a JSON string here,
    /// which the agent reports back to it. So does a call that `max_tokens` cut off, even
    /// where a grammar held it to the tool's schema.
    pub arguments: serde_json::Value,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolDefinition {
    pub name: String,
    pub description: String,
    /// JSON Schema of the arguments object.
    pub parameters: serde_json::Value,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ToolChoice {
    #[default]
    Auto,
    None,
    Required,
    Named(String),
}

/// Decoding parameters. `temperature == 0.0` is greedy and ignores the rest but
/// `repetition_penalty`, `stop` and `max_tokens`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SamplingParameters {
    pub temperature: f32,
    /// 0 disables.
    pub top_k: usize,
    /// 1.0 disables.
    pub top_p: f32,
    /// 0.0 disables.
    pub min_p: f32,
    /// 1.0 disables.
    pub repetition_penalty: f32,
    pub seed: u64,
    /// Tokens an answer has at most. One that is cut off by it, constrained or not, ends with
    /// [`FinishReason::Length`]: JSON is then the beginning of some, not whole.
    pub max_tokens: usize,
    pub stop: Vec<String>,
    /// What the answer's text must be. With tools on offer, an answer is this or calls of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Constraint>,
}

impl Default for SamplingParameters {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
            max_tokens: 1024,
            stop: Vec::new(),
            constraint: None,
        }
    }
}

/// What exists in the session: the names a tool call may use.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    pub tables: Vec<TableSchema>,
    /// Paths relative to the workspace, `/`-separated; folders end in `/`.
    pub files: Vec<String>,
    pub branches: Vec<String>,
    /// Named variables of the Rust session, as `name: Type`.
    pub variables: Vec<String>,
    /// The last error of the session, if the last cell failed.
    pub last_error: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TableSchema {
    pub name: String,
    pub columns: Vec<ColumnSchema>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnSchema {
    pub name: String,
    /// DuckDB's name of the type: `VARCHAR`, `BIGINT`, `DATE`, ...
    pub data_type: String,
    /// Distinct values of a text column that has few of them (at most 50), else empty.
    pub values: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ChatEvent {
    /// A piece of the answer; never splits a UTF-8 character.
    Text(String),
    /// A piece of the model's reasoning, kept apart from the answer.
    Reasoning(String),
    /// A call is complete.
    ToolCall(ToolCall),
    /// What a person should know of how the answer was made; said once a model.
    Notice(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatResponse {
    pub message: Message,
    pub finish_reason: FinishReason,
    pub usage: Usage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
    Cancelled,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
}

/// Set once by whoever interrupts; read between tokens.
#[derive(Debug, Clone, Default)]
pub struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Why a model call failed. Messages say what to do next.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("the request was interrupted")]
    Cancelled,
    #[error("{path}: {reason}")]
    File { path: String, reason: String },
    #[error("unsupported model: {0}")]
    Unsupported(String),
    #[error(
        "the prompt has {prompt} tokens but the model's window holds {window}; shorten the request or reset the conversation with %agent reset"
    )]
    ContextOverflow { prompt: usize, window: usize },
    #[error("{provider} answered {status}: {message}")]
    Provider { provider: String, status: u16, message: String },
    #[error("cannot reach {endpoint}: {reason}")]
    Unreachable { endpoint: String, reason: String },
    #[error("{provider} sent something that is not a chat completion: {reason}")]
    Protocol { provider: String, reason: String },
    #[error("chat template: {0}")]
    Template(String),
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// What was asked of the answer's form cannot be asked of this model.
    #[error("the answer's constraint: {0}")]
    Constraint(String),
    #[error("numerical failure: {0}")]
    Numeric(String),
    /// More requests wait for the model than it takes on.
    #[error(
        "the model is busy: {waiting} requests wait for it already; ask again when some are answered, or interrupt one"
    )]
    Busy { waiting: usize },
    /// Keys and values of the request's tokens cannot be held.
    #[error("no room for the request: {reason}; shorten it, or end what else uses memory")]
    NoRoom { reason: String },
    /// What the model runs on failed, or is gone.
    #[error("the device failed: {0}")]
    Device(String),
}
