//! How each family of models writes its tool calls.

use crate::grammar::Grammar;
use crate::{ToolChoice, ToolDefinition};
use serde_json::json;

/// A family's way to write tool calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolFormat {
    /// `<tool_call>{"name": .., "arguments": ..}</tool_call>` (Hermes, Qwen).
    Hermes,
    /// `{"name": .., "parameters": ..}` (Llama 3).
    Llama,
}

impl ToolFormat {
    /// The language of answers that are calls and nothing else, as `choice` asks for: one or more calls of
    /// the tools, or one call of the named tool. `None` where `choice` asks for no call, or no tool is there to call.
    pub fn call_grammar(self, tools: &[ToolDefinition], choice: &ToolChoice) -> Option<Grammar> {
        let (tools, parallel): (Vec<&ToolDefinition>, bool) = match choice {
            ToolChoice::Auto | ToolChoice::None => return None,
            ToolChoice::Required => (tools.iter().collect(), true),
            ToolChoice::Named(name) => (tools.iter().filter(|tool| tool.name == *name).collect(), false),
        };
        let call = |tool: &ToolDefinition, key: &str| {
            Grammar::Sequence(vec![
                Grammar::text(format!("{{\"name\": {}, \"{key}\": ", json!(tool.name))),
                Grammar::Json(tool.parameters.clone()),
                Grammar::text("}"),
            ])
        };
        if tools.is_empty() {
            return None;
        }
        Some(match self {
            Self::Hermes => Grammar::Sequence(vec![
                Grammar::token("<tool_call>"),
                Grammar::text("\n"),
                Grammar::Choice(tools.iter().map(|tool| call(tool, "arguments")).collect()),
                Grammar::text("\n"),
                Grammar::token("</tool_call>"),
            ])
            .repeated(parallel, Some(Grammar::text("\n"))),
            Self::Llama => Grammar::Choice(tools.iter().map(|tool| call(tool, "parameters")).collect())
                .repeated(parallel, Some(Grammar::text("; "))),
        })
    }
}
