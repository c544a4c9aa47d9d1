//! A marker and calls in JSON, one or a list: Granite 3 and Phi-4-mini (`<|tool_call|>[..]`), the older Mistral
//! (`[TOOL_CALLS][..]`), Command R (`<|START_ACTION|>[..]` and `Action: ```json`).

use serde_json::json;

use super::reading::{Reading, Span, json_call, json_span, may_begin, space};
use crate::ToolDefinition;
use crate::grammar::Grammar;

/// What follows the marker: calls one by one, separators and brackets around them, and one of `closes`.
pub(super) fn read(rest: &str, closes: &[&str]) -> Reading {
    let begin = space(rest);
    let text = &rest[begin..];
    if let Some(close) = closes.iter().find(|close| text.starts_with(**close)) {
        return Reading::skip(begin + close.len(), true);
    }
    match text.chars().next() {
        Some('{') => match json_span(text) {
            Span::Unfinished => Reading::More,
            Span::Whole(length) => match json_call(&text[..length]) {
                Some(call) => Reading::call(begin + length, call, false),
                None => Reading::Text { length: begin + length },
            },
        },
        Some('[' | ',' | ';') => Reading::skip(begin + 1, false),
        Some(']') => Reading::skip(begin + 1, closes.is_empty()),
        None => Reading::More,
        _ if closes.iter().any(|close| may_begin(text, close)) => Reading::More,
        // Text after calls; before any call it is what the engine makes of it.
        _ => Reading::Text { length: 0 },
    }
}

/// `open` [ calls ] `close`
pub(super) fn grammar(tools: &[&ToolDefinition], parallel: bool, keys: [&str; 2], around: [Grammar; 2]) -> Grammar {
    let [name_key, arguments_key] = keys;
    let call = |tool: &&ToolDefinition| {
        Grammar::Sequence(vec![
            Grammar::text(format!("{{\"{name_key}\": {}, \"{arguments_key}\": ", json!(tool.name))),
            Grammar::Json(tool.parameters.clone()),
            Grammar::text("}"),
        ])
    };
    let [open, close] = around;
    let calls = Grammar::Choice(tools.iter().map(call).collect()).repeated(parallel, Some(Grammar::text(", ")));
    Grammar::Sequence(vec![open, Grammar::text("["), calls, Grammar::text("]"), close])
}
