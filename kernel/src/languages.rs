//! The languages a cell can be written in.

pub mod rust;
pub mod shell;
pub mod sql;
mod utf8;

use serde_json::{Value, json};

use crate::session::{Interrupt, MimeBundle, Output};

/// What a running cell is given: where to write and what can stop it.
#[derive(Clone)]
pub struct CellContext {
    pub output: Output,
    pub interrupt: Interrupt,
    pub execution_count: u32,
}

/// What a cell that succeeded leaves besides its streamed output.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CellOutcome {
    /// Becomes `execute_result`.
    pub result: Option<MimeBundle>,
    /// `execute_reply` payloads (`page`, `set_next_input`).
    pub payload: Vec<Value>,
}

impl CellOutcome {
    /// Shows `result`, and puts `cell` below as the next cell to run, where the front end can.
    pub fn next_input(cell: &str, result: MimeBundle) -> Self {
        let payload = json!({ "source": "set_next_input", "text": cell, "replace": false });
        Self { result: Some(result), payload: vec![payload] }
    }
}

/// What a cell that failed shows: Jupyter's `error` output.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name}: {value}")]
pub struct CellError {
    /// `ename`, a short class: `CompileError`, `SqlError`, `Panic`, `Interrupted`, ...
    pub name: String,
    /// `evalue`, one line.
    pub value: String,
    /// What is shown, a line each, ANSI colours kept.
    pub traceback: Vec<String>,
}

impl CellError {
    pub fn new(name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        let traceback = vec![format!("\u{1b}[1;31m{name}\u{1b}[0m: {value}")];
        Self { name: name.to_owned(), value, traceback }
    }

    #[must_use]
    pub fn with_traceback(mut self, lines: Vec<String>) -> Self {
        self.traceback = lines;
        self
    }

    /// A magic or a tool that was written wrong: `reason` says how it is written.
    pub fn usage(reason: impl Into<String>) -> Self {
        Self::new("UsageError", reason)
    }

    pub fn interrupted(what_was_kept: &str) -> Self {
        Self::new("Interrupted", what_was_kept)
    }
}

pub type CellResult = Result<CellOutcome, CellError>;

/// Whether a cell can run as typed (Jupyter's `is_complete`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completeness {
    Complete,
    Incomplete { indent: String },
    Invalid,
    Unknown,
}

/// Completions for a cursor. Offsets are bytes into the text that was asked about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Completions {
    pub start: usize,
    pub end: usize,
    pub matches: Vec<Completion>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    pub text: String,
    /// JupyterLab's `_jupyter_types_experimental` type: `function`, `table`, `column`, `keyword`, `magic`, `path`, ...
    pub kind: String,
}
