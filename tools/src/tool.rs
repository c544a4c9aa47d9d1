//! The interface every tool has.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

/// Something an agent can do, run with JSON arguments that match its schema.
pub trait Tool: Send + Sync {
    fn specification(&self) -> &ToolSpecification;

    /// Runs with arguments already checked against the schema by the registry.
    fn run(&self, arguments: &Value, context: &ToolContext) -> Result<ToolOutput, ToolError>;
}

/// A tool as models and policies know it. Names are stable.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpecification {
    pub name: &'static str,
    pub description: &'static str,
    /// JSON Schema of the arguments object (`type: object`).
    pub parameters: Value,
    pub effect: Effect,
}

/// The most a tool may do; what a policy decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Looks and changes nothing.
    Read,
    /// Changes Codriver's own memory only (`remember`), never the user's files or data.
    Memory,
    /// Changes files, data or the session, or runs code.
    Write,
}

/// What a tool is given besides its arguments.
#[derive(Clone)]
pub struct ToolContext {
    /// The folder file and git tools may not leave. Absolute.
    pub workspace: PathBuf,
    /// True once the user interrupted; long tools poll it.
    pub interrupted: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// What a tool gives back: text for the model, something to look at for the person.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolOutput {
    pub text: String,
    pub display: ToolDisplay,
}

/// How the result is shown in its card.
#[derive(Debug, Clone, PartialEq)]
pub enum ToolDisplay {
    /// The same text the model reads.
    Text,
    /// `rows` may be fewer than `total_rows`.
    Table { columns: Vec<String>, rows: Vec<Vec<String>>, total_rows: usize },
    /// A unified diff.
    Diff(String),
    /// Source with the syntax's name (`rust`, `sql`, `python`, ...).
    Code { language: String, source: String },
}

/// Why a tool failed, in words for the model and the person alike.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ToolError {
    #[error("unknown tool {name:?}{}", suggestion.as_ref().map(|nearest| format!("; did you mean {nearest:?}?")).unwrap_or_default())]
    Unknown { name: String, suggestion: Option<String> },
    #[error("invalid arguments for {tool}: {reason}")]
    InvalidArguments { tool: String, reason: String },
    #[error("denied: {0}")]
    Denied(String),
    #[error("interrupted")]
    Interrupted,
    #[error("{0}")]
    Failed(String),
}
