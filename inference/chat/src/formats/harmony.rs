//! gpt-oss: messages on channels. `<|channel|>analysis<|message|>..<|end|>` is reasoning, `final` the answer, and
//! `commentary to=functions.name <|constrain|>json<|message|>{..}<|call|>` a call.

use super::reading::{Reading, Span, arguments, json_span, space};
use crate::ToolDefinition;
use crate::grammar::Grammar;

pub(super) const OPENINGS: [&str; 2] = ["<|channel|>", "<|start|>"];
pub(super) const ENDS: [&str; 3] = ["<|end|>", "<|return|>", "<|call|>"];
pub(super) const MESSAGE: &str = "<|message|>";
pub(super) const CONSTRAIN: &str = "<|constrain|>";

/// What a message is, once its header is read.
pub(super) enum Header {
    Reasoning(usize),
    Text(usize),
    Call(Reading),
}

pub(super) fn read(opening: &str, rest: &str, within: bool, finished: bool) -> Header {
    if within {
        return Header::Call(after_call(rest));
    }
    let Some(header_end) = rest.find(MESSAGE) else { return Header::Call(Reading::More) };
    let header = format!("{opening}{}", &rest[..header_end]);
    let body = header_end + MESSAGE.len();
    let recipient = header.split_once("to=").map(|(_, after)| after);
    let recipient = recipient.map(|after| &after[..after.find([' ', '<']).unwrap_or(after.len())]);
    if let Some(recipient) = recipient.filter(|recipient| *recipient != "assistant" && *recipient != "user") {
        let name = recipient.strip_prefix("functions.").unwrap_or(recipient);
        return Header::Call(call(name, rest, body, finished));
    }
    let channel = header.split_once("<|channel|>").map_or("", |(_, after)| after);
    if channel.starts_with("analysis") { Header::Reasoning(body) } else { Header::Text(body) }
}

fn call(name: &str, rest: &str, body: usize, finished: bool) -> Reading {
    let begin = body + space(&rest[body..]);
    let text = &rest[begin..];
    if text.starts_with('{') {
        let Span::Whole(length) = json_span(text) else { return Reading::More };
        return Reading::call(begin + length, (name.to_string(), arguments(&text[..length])), false);
    }
    // Not JSON: all there is before the end.
    let end = ENDS.iter().filter_map(|end| text.find(end)).min();
    match end.or((finished && !text.is_empty()).then_some(text.len())) {
        Some(end) => Reading::call(begin + end, (name.to_string(), arguments(&text[..end])), false),
        None => Reading::More,
    }
}

fn after_call(rest: &str) -> Reading {
    let begin = space(rest);
    let text = &rest[begin..];
    if let Some(end) = ENDS.iter().find(|end| text.starts_with(**end)) {
        return Reading::skip(begin + end.len(), true);
    }
    let comes = ENDS.iter().any(|end| end.starts_with(text));
    if comes { Reading::More } else { Reading::Text { length: 0 } }
}

/// The prompt ends in `<|start|>assistant`.
pub(super) fn grammar(tool: &ToolDefinition) -> Grammar {
    Grammar::Sequence(vec![
        Grammar::token("<|channel|>"),
        Grammar::text(format!("commentary to=functions.{} ", tool.name)),
        Grammar::token(CONSTRAIN),
        Grammar::text("json"),
        Grammar::token(MESSAGE),
        Grammar::Json(tool.parameters.clone()),
        Grammar::token("<|call|>"),
    ])
}
