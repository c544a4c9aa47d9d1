//! Jinja2 as chat templates use it, with Python's values behind it.
//!
//! Templates are written against jinja2 in CPython and rely on how Python prints, compares, slices and
//! fails: `{{ tools }}` prints a `repr`, `message['items']` without such a key finds the method `dict.items`,
//! lists are truthy by length and generators always. This is an interpreter of that language, checked against
//! `jinja2` itself (sandboxed, `trim_blocks`, `lstrip_blocks`, loop controls, `{% generation %}`), and bounded:
//! instructions, text and recursion have limits, since templates come from strangers.

mod arguments;
mod attributes;
mod calls;
mod checks;
mod expressions;
mod fields;
mod filters;
mod formatting;
mod functions;
mod json;
mod lexer;
mod methods;
mod numbers;
mod operators;
mod parser;
mod printing;
mod selection;
mod sequences;
mod slices;
mod statements;
mod strings;
mod syntax;
mod value;

use serde_json::Map;

pub(crate) use json::{JsonStyle, write_json};
use statements::Interpreter;

/// Room for the recursion of parser and interpreter; pages that are not used cost nothing.
const STACK: usize = 128 << 20;

/// A template, ready to render. Anything it defines lives for one rendering.
#[derive(Debug)]
pub(crate) struct Template {
    body: Vec<syntax::Statement>,
}

/// What is wrong with a template, or what went wrong in it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}{}", .line.map(|line| format!(" (line {line})")).unwrap_or_default())]
pub(crate) struct Error {
    pub(crate) message: String,
    pub(crate) line: Option<usize>,
}

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), line: None }
    }

    fn at(mut self, line: usize) -> Self {
        self.line.get_or_insert(line);
        self
    }
}

impl Template {
    pub(crate) fn parse(source: &str) -> Result<Self> {
        with_room(|| Ok(Self { body: parser::parse(lexer::tokenize(source)?)? }))
    }

    /// Renders with `variables` in sight.
    pub(crate) fn render(&self, variables: &Map<String, serde_json::Value>) -> Result<String> {
        with_room(|| Interpreter::new(variables).render(&self.body))
    }
}

/// Runs on a stack that the limits on recursion cannot exhaust, whatever thread asks.
fn with_room<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let thread = thread.map_err(|error| Error::new(format!("no thread for the template: {error}")))?;
        thread
            .join()
            .unwrap_or_else(|_| Err(Error::new("the template interpreter failed; please report it with the template")))
    })
}
