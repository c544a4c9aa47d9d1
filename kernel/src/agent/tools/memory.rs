//! `remember` and `recall`: what outlives the notebook.

use codriver_memory::{Scope, SearchOptions, says_redacted};
use codriver_tools::{Effect, Tool, ToolContext, ToolDisplay, ToolError, ToolOutput, ToolSpecification};
use serde_json::{Value, json};

use super::{SessionParts, text_argument};

const MOST_HITS: usize = 5;

pub(super) struct Remember {
    parts: SessionParts,
    specification: ToolSpecification,
}

impl Remember {
    pub(super) fn new(parts: &SessionParts) -> Self {
        Self {
            parts: parts.clone(),
            specification: ToolSpecification {
                name: "remember",
                description: "Keeps a fact for later conversations, in this notebook and others.",
                parameters: one_text("text", "the fact, in a sentence that stands on its own"),
                effect: Effect::Memory,
            },
        }
    }
}

impl Tool for Remember {
    fn specification(&self) -> &ToolSpecification {
        &self.specification
    }

    fn run(&self, arguments: &Value, _context: &ToolContext) -> Result<ToolOutput, ToolError> {
        let text = text_argument(arguments, "text").trim();
        if text.is_empty() {
            return Err(ToolError::Failed("there is nothing to remember: the text is empty".to_owned()));
        }
        let memory = &self.parts.memory;
        if says_redacted(&memory.redactor().redact(text)) {
            return Err(ToolError::Failed("this is a secret, and secrets are not remembered".to_owned()));
        }
        // A model's word is not enough for what is to hold in other projects: the rules that read the person's request do
        // that, and %memory promote.
        memory
            .remember(text, Scope::Project, &self.parts.source)
            .map_err(|error| ToolError::Failed(error.to_string()))?;
        Ok(ToolOutput { text: format!("remembered: {text}"), display: ToolDisplay::Text })
    }
}

pub(super) struct Recall {
    parts: SessionParts,
    specification: ToolSpecification,
}

impl Recall {
    pub(super) fn new(parts: &SessionParts) -> Self {
        Self {
            parts: parts.clone(),
            specification: ToolSpecification {
                name: "recall",
                description: "Searches what was remembered and said earlier, here and in other notebooks.",
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "query": { "type": "string", "description": "what to look for" },
                        "kind": { "type": "string", "enum": ["fact", "chunk", "message"], "description": "only this" },
                        "origin": { "type": "string", "description": "only from there: a part of a document's name" },
                        "since": { "type": "string", "description": "only of that day (YYYY-MM-DD) or later" },
                        "before": { "type": "string", "description": "only of before that day (YYYY-MM-DD)" },
                    },
                    "required": ["query"],
                    "additionalProperties": false,
                }),
                effect: Effect::Read,
            },
        }
    }
}

impl Tool for Recall {
    fn specification(&self) -> &ToolSpecification {
        &self.specification
    }

    fn run(&self, arguments: &Value, _context: &ToolContext) -> Result<ToolOutput, ToolError> {
        let query = text_argument(arguments, "query");
        self.parts.embedder.wait(&self.parts.memory, &self.parts.context.interrupt);
        let given = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or_default();
        let options = SearchOptions::asked(given("kind"), given("origin"), given("since"), given("before"))
            .map_err(|error| ToolError::Failed(error.to_string()))?;
        let hits = self
            .parts
            .memory
            .search_with(query, MOST_HITS, &options)
            .map_err(|error| ToolError::Failed(error.to_string()))?;
        if hits.is_empty() {
            return Ok(ToolOutput { text: "nothing found".to_owned(), display: ToolDisplay::Text });
        }
        let lines: Vec<String> = hits
            .iter()
            .map(|hit| match hit.kind {
                "chunk" => format!("{} ({}): {}", hit.title, self.parts.memory.whereabouts(hit), hit.text),
                _ if hit.title.is_empty() => hit.text.clone(),
                _ => format!("{}: {}", hit.title, hit.text),
            })
            .collect();
        let rows = hits
            .iter()
            .zip(&lines)
            .map(|(hit, line)| {
                vec![hit.kind.to_owned(), line.clone(), self.parts.memory.whereabouts(hit), format!("{:.2}", hit.score)]
            })
            .collect();
        let columns = ["kind", "text", "origin", "score"].map(str::to_owned).to_vec();
        Ok(ToolOutput { text: lines.join("\n"), display: ToolDisplay::Table { columns, rows, total_rows: hits.len() } })
    }
}

fn one_text(name: &str, description: &str) -> Value {
    json!({
        "type": "object",
        "properties": { name: { "type": "string", "description": description } },
        "required": [name],
        "additionalProperties": false,
    })
}
