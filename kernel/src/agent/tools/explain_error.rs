//! `explain_error`: the last cell's error, with what Codriver's help knows about it.

use codriver_tools::{Effect, Tool, ToolContext, ToolDisplay, ToolError, ToolOutput, ToolSpecification};
use regex::Regex;
use serde_json::{Value, json};

use super::{SessionParts, plain_error, search_docs};

pub(super) struct ExplainError {
    parts: SessionParts,
    specification: ToolSpecification,
}

impl ExplainError {
    pub(super) fn new(parts: &SessionParts) -> Self {
        Self {
            parts: parts.clone(),
            specification: ToolSpecification {
                name: "explain_error",
                description: "Returns the error of the last cell that failed, complete, with what is known about its kind.",
                parameters: json!({ "type": "object", "properties": {}, "additionalProperties": false }),
                effect: Effect::Read,
            },
        }
    }
}

impl Tool for ExplainError {
    fn specification(&self) -> &ToolSpecification {
        &self.specification
    }

    fn run(&self, _arguments: &Value, _context: &ToolContext) -> Result<ToolOutput, ToolError> {
        let error = self.parts.last_error.clone().or_else(|| self.parts.rust.started()?.last_error());
        let Some(error) = error else {
            return Ok(ToolOutput { text: "the last cell did not fail".to_owned(), display: ToolDisplay::Text });
        };
        let mut text = plain_error(&error);
        if let Some(meaning) = meaning(&error.name, &text) {
            text.push_str("\n\n");
            text.push_str(&meaning);
        }
        Ok(ToolOutput { text, display: ToolDisplay::Text })
    }
}

/// rustc's codes and Codriver's error classes have a page each in the help.
fn meaning(name: &str, text: &str) -> Option<String> {
    let code = Regex::new(r"\bE0\d{3}\b").ok()?.find(text).map(|found| found.as_str());
    search_docs::section("errors", code.unwrap_or(name)).or_else(|| search_docs::section("errors", name))
}
