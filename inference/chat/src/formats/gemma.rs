//! FunctionGemma: `<start_function_call>call:name{key:<escape>text<escape>,other:1}<end_function_call>`, and Gemma 4,
//! which has other markers around the same.

use serde_json::Value;

use super::literals::{Literals, Notation};
use super::reading::{Reading, may_begin, space};
use super::schema::Dialect;
use crate::ToolDefinition;
use crate::grammar::Grammar;

#[derive(Debug)]
pub(super) struct Markers {
    pub(super) open: &'static str,
    pub(super) close: &'static str,
    quotes: &'static [&'static str],
}

pub(super) const FUNCTION_GEMMA: Markers =
    Markers { open: "<start_function_call>", close: "<end_function_call>", quotes: &["<escape>"] };
pub(super) const GEMMA_4: Markers = Markers { open: "<|tool_call>", close: "<tool_call|>", quotes: &["<|\"|>"] };

const CALL: &str = "call:";

pub(super) fn read(rest: &str, markers: &Markers) -> Reading {
    let begin = space(rest);
    let text = &rest[begin..];
    if text.starts_with(markers.close) {
        return Reading::skip(begin + markers.close.len(), true);
    }
    if !text.starts_with(CALL) {
        return if may_begin(text, CALL) || may_begin(text, markers.close) {
            Reading::More
        } else {
            Reading::Text { length: 0 }
        };
    }
    let mut literals = Literals::new(&text[CALL.len()..], Notation { quotes: markers.quotes, escapes: false });
    let call = literals.name().map(str::to_string).and_then(|name| {
        literals.take("{")?;
        Some((name, Value::Object(literals.arguments(":", "}")?)))
    });
    match call {
        Some(call) => Reading::call(begin + CALL.len() + literals.position(), call, false),
        None => Reading::More,
    }
}

pub(super) fn grammar(tool: &ToolDefinition, markers: &Markers) -> Grammar {
    let quote = markers.quotes.first().copied().unwrap_or("\"");
    let text = Grammar::Sequence(vec![
        Grammar::token(quote),
        // No quote has its first character within the text.
        Grammar::Pattern("[^<]*".to_string()),
        Grammar::token(quote),
    ]);
    let dialect =
        Dialect { between_arguments: ",", assign: ":", text, truths: ["true", "false"], quotes: [quote, quote] };
    Grammar::Sequence(vec![
        Grammar::token(markers.open),
        Grammar::text(format!("{CALL}{}{{", tool.name)),
        dialect.arguments(&tool.parameters),
        Grammar::text("}"),
        Grammar::token(markers.close),
    ])
}
