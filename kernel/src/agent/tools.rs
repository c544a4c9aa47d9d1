//! The tools that need the live session, beside those of `codriver-tools`.

mod describe_table;
mod explain_error;
mod memory;
mod run_rust;
pub mod search_docs;
mod sql;

use std::sync::Arc;

use codriver_memory::Memory;
use codriver_tools::{
    Decision, Effect, Policy, Tool, ToolContext, ToolError, ToolOutput, ToolRegistry, ToolSpecification,
};
use serde_json::Value;

use super::embedding::EmbedderLoader;
use crate::languages::sql::SqlEngine;
use crate::languages::{CellContext, CellError};
use crate::session::{LazyRust, Session};

/// What the session's tools work on: handles that share with the session.
#[derive(Clone)]
pub struct SessionParts {
    pub sql: SqlEngine,
    pub rust: LazyRust,
    pub memory: Arc<Memory>,
    embedder: Arc<EmbedderLoader>,
    pub last_error: Option<CellError>,
    pub context: CellContext,
    /// Who remembers: written beside each fact.
    pub source: String,
}

/// The tools of one turn: what the model may call, what each call may do, and its running.
pub struct Toolbox {
    registry: ToolRegistry,
    parts: SessionParts,
    context: ToolContext,
}

/// Whether a call may go ahead, in words for the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub decision: Decision,
    pub effect: Effect,
    pub why: String,
}

impl Toolbox {
    /// `names` in the order they are offered to the model.
    pub fn new(session: &Session, context: &CellContext, source: &str, names: &[&str]) -> Result<Self, ToolError> {
        let parts = SessionParts {
            sql: session.sql.clone(),
            rust: session.rust.clone(),
            memory: Arc::clone(&session.memory),
            embedder: Arc::clone(&session.agents.embedder),
            last_error: session.last_error.clone(),
            context: context.clone(),
            source: source.to_owned(),
        };
        let interrupt = context.interrupt.clone();
        Ok(Self {
            registry: all(&parts).subset(names)?,
            context: ToolContext {
                workspace: session.workspace.clone(),
                interrupted: Arc::new(move || interrupt.is_set()),
            },
            parts,
        })
    }

    pub fn specifications(&self) -> Vec<ToolSpecification> {
        self.registry.specifications()
    }

    /// Whether the call is one that could run at all.
    pub fn check(&self, name: &str, arguments: &Value) -> Result<(), ToolError> {
        self.registry.check(name, arguments)
    }

    /// What the policy says to a call that [`Toolbox::check`] let pass.
    pub fn judge(&self, policy: Policy, name: &str, arguments: &Value) -> Result<Verdict, ToolError> {
        let tool =
            self.registry.get(name).ok_or_else(|| ToolError::Unknown { name: name.to_owned(), suggestion: None })?;
        let mut specification = tool.specification().clone();
        if name == sql::NAME && sql::changes_something(&self.parts, arguments) {
            specification.effect = Effect::Write;
        }
        let decision = policy.decide(&specification);
        let why = match (specification.effect, decision) {
            (Effect::Read, Decision::Allow) => "allowed: reads only",
            (Effect::Memory, Decision::Allow) => "allowed: changes Codriver's memory only",
            (Effect::Write, Decision::Allow) => "allowed",
            (_, Decision::Ask) => "asked",
            (_, Decision::Deny) => "denied: it changes something and nobody can be asked",
        };
        Ok(Verdict { decision, effect: specification.effect, why: why.to_owned() })
    }

    /// Runs a call that the policy, or the person asked, has let pass with `effect`.
    pub fn run(&self, name: &str, arguments: &Value, effect: Effect) -> Result<ToolOutput, ToolError> {
        if name == sql::NAME && effect == Effect::Write {
            return sql::run_allowed(&self.parts, arguments);
        }
        self.registry.run(name, arguments, &self.context)
    }
}

/// Every tool there is, for `%tools` and for checking names.
pub fn specifications(session: &Session, context: &CellContext) -> Vec<ToolSpecification> {
    let parts = SessionParts {
        sql: session.sql.clone(),
        rust: session.rust.clone(),
        memory: Arc::clone(&session.memory),
        embedder: Arc::clone(&session.agents.embedder),
        last_error: None,
        context: context.clone(),
        source: String::new(),
    };
    all(&parts).specifications()
}

fn all(parts: &SessionParts) -> ToolRegistry {
    let mut registry = ToolRegistry::new();
    let session_tools: [Arc<dyn Tool>; 7] = [
        Arc::new(sql::Sql::new(parts)),
        Arc::new(describe_table::DescribeTable::new(parts)),
        Arc::new(run_rust::RunRust::new(parts)),
        Arc::new(memory::Remember::new(parts)),
        Arc::new(memory::Recall::new(parts)),
        Arc::new(explain_error::ExplainError::new(parts)),
        Arc::new(search_docs::SearchDocs::new(parts)),
    ];
    for tool in session_tools.into_iter().chain(codriver_tools::builtin()) {
        registry.register(tool);
    }
    registry
}

/// An argument the schema has checked.
fn text_argument<'a>(arguments: &'a Value, name: &str) -> &'a str {
    arguments.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn failed(error: &CellError) -> ToolError {
    if error.name == "Interrupted" {
        return ToolError::Interrupted;
    }
    ToolError::Failed(plain_error(error))
}

/// The whole error as text, colours left out.
pub fn plain_error(error: &CellError) -> String {
    let text = strip_ansi_escapes::strip_str(error.traceback.join("\n"));
    if text.contains(&error.value) { text } else { format!("{error}\n{text}") }
}
