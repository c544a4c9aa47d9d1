//! What the kernel and the evaluator process say to each other: JSON, a line each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Names the kernel's socket to every process that belongs to the Rust session.
pub const SOCKET: &str = "CODRIVER_CELL_SOCKET";
/// Makes a started binary the evaluator: the session's own folder.
pub const WORKER: &str = "CODRIVER_RUST_WORKER";
/// The folder user code runs in.
pub const WORKSPACE: &str = "CODRIVER_RUST_WORKSPACE";

#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    Execute {
        code: String,
    },
    /// `cursor` is a byte offset.
    Complete {
        code: String,
        cursor: usize,
    },
    Inspect {
        code: String,
        cursor: usize,
    },
    /// The answer to [`Response::Input`].
    Input {
        text: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Response {
    Ready,
    /// There is no evaluator; the message says why.
    Unavailable {
        message: String,
    },
    Executed {
        outcome: Executed,
        variables: Vec<String>,
    },
    Completions {
        start: usize,
        end: usize,
        matches: Vec<(String, String)>,
    },
    Inspected {
        plain: String,
        html: String,
    },
    /// The code reads a line from the person.
    Input {
        prompt: String,
        password: bool,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Executed {
    /// By MIME type, what evcxr's own commands (`:vars`, `:help`) show.
    Done {
        content: BTreeMap<String, String>,
    },
    Rejected {
        diagnostics: Vec<Diagnostic>,
    },
    /// The user process ended; its variables are gone.
    Terminated {
        message: String,
    },
    Failed {
        message: String,
    },
}

/// A compiler's message, in the cell's own lines and columns (from 1, in characters).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Diagnostic {
    pub level: String,
    pub code: Option<String>,
    pub message: String,
    pub spans: Vec<DiagnosticSpan>,
    /// `help: ...` and `note: ...` lines.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DiagnosticSpan {
    pub start_line: usize,
    pub start_column: usize,
    pub end_line: usize,
    /// Exclusive.
    pub end_column: usize,
    pub label: String,
    pub primary: bool,
}
