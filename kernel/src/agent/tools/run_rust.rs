//! `run_rust`: a cell in the live Rust session.

use std::sync::{Arc, Mutex, PoisonError};

use codriver_tools::{Effect, Tool, ToolContext, ToolDisplay, ToolError, ToolOutput, ToolSpecification};
use serde_json::{Value, json};

use super::{SessionParts, failed, text_argument};
use crate::agent::context::shorten_clean;
use crate::languages::CellContext;
use crate::session::{Output, OutputEvent, OutputSink};

/// Output a model reads.
const LONGEST: usize = 6_000;

pub(super) struct RunRust {
    parts: SessionParts,
    specification: ToolSpecification,
}

impl RunRust {
    pub(super) fn new(parts: &SessionParts) -> Self {
        Self {
            parts: parts.clone(),
            specification: ToolSpecification {
                name: "run_rust",
                description: "Runs Rust code in the notebook's live session and returns what it prints and its last value.",
                parameters: json!({
                    "type": "object",
                    "properties": { "code": { "type": "string", "description": "the source of one cell" } },
                    "required": ["code"],
                    "additionalProperties": false,
                }),
                effect: Effect::Write,
            },
        }
    }
}

impl Tool for RunRust {
    fn specification(&self) -> &ToolSpecification {
        &self.specification
    }

    fn run(&self, arguments: &Value, _context: &ToolContext) -> Result<ToolOutput, ToolError> {
        let heard = Arc::new(Tee { output: self.parts.context.output.clone(), text: Mutex::default() });
        let context = CellContext { output: Output::new(heard.clone()), ..self.parts.context.clone() };
        let outcome = self.parts.rust.execute(text_argument(arguments, "code"), &context);
        let mut text = heard.take();
        let redactor = self.parts.memory.redactor();
        match outcome {
            Ok(outcome) => {
                if let Some(result) = outcome.result {
                    text.push_str(result.text());
                    self.parts.context.output.display(result);
                }
                if text.trim().is_empty() {
                    "ran without output".clone_into(&mut text);
                }
                Ok(ToolOutput { text: shorten_clean(text.trim_end(), LONGEST, &redactor), display: ToolDisplay::Text })
            }
            Err(error) => Err(match failed(&error) {
                ToolError::Failed(reason) if !text.trim().is_empty() => {
                    ToolError::Failed(shorten_clean(&format!("{}\n{reason}", text.trim_end()), LONGEST, &redactor))
                }
                other => other,
            }),
        }
    }
}

/// Passes outputs on to the cell and keeps their text for the model.
struct Tee {
    output: Output,
    text: Mutex<String>,
}

impl Tee {
    fn take(&self) -> String {
        std::mem::take(&mut *self.text.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl OutputSink for Tee {
    fn emit(&self, event: OutputEvent) {
        let heard = match &event {
            OutputEvent::Stdout(text) | OutputEvent::Stderr(text) => text.clone(),
            OutputEvent::Display { bundle, .. } => format!("{}\n", bundle.text()),
            OutputEvent::UpdateDisplay { .. } | OutputEvent::Clear { .. } => String::new(),
        };
        {
            let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
            // The model reads the ends only; a flood must not fill the memory.
            if text.len() < 4 * LONGEST {
                text.push_str(&heard);
            }
        }
        self.output.emit(event);
    }

    fn ask(&self, prompt: &str, password: bool) -> Option<String> {
        self.output.ask(prompt, password)
    }

    fn can_ask(&self) -> bool {
        self.output.can_ask()
    }
}
