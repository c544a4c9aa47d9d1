//! Mistral: `[TOOL_CALLS][{..}]`, and since Mistral Small 3.2 `[TOOL_CALLS]name[CALL_ID]id[ARGS]{..}`.

use super::lists;
use super::reading::{Reading, Span, arguments, json_span, space};
use crate::ToolDefinition;
use crate::grammar::Grammar;

pub(super) const OPEN: &str = "[TOOL_CALLS]";
pub(super) const CALL_ID: &str = "[CALL_ID]";
pub(super) const ARGUMENTS: &str = "[ARGS]";

pub(super) fn read(rest: &str, within: bool) -> Reading {
    match rest.trim_start().strip_prefix(OPEN) {
        // A further marker begins a further call.
        Some(after) => read_marked(after, false).after(rest.len() - after.len()),
        None => read_marked(rest, within),
    }
}

fn read_marked(rest: &str, within: bool) -> Reading {
    let begin = space(rest);
    let text = &rest[begin..];
    if text.is_empty() {
        return Reading::More;
    }
    // After a call, a bracket can only begin a further marker.
    if OPEN.starts_with(text) {
        return Reading::More;
    }
    if text.starts_with(['{', ',', ']']) || text.starts_with('[') && !within {
        return lists::read(rest, &[]);
    }
    if within {
        return Reading::Text { length: 0 };
    }
    let Some(brace) = text.find('{') else { return Reading::More };
    let head = &text[..brace];
    let head = head.strip_suffix(ARGUMENTS).unwrap_or(head);
    let name = head.split_once(CALL_ID).map_or(head, |(name, _)| name).trim();
    let Span::Whole(length) = json_span(&text[brace..]) else { return Reading::More };
    let end = brace + length;
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Reading::Text { length: begin + end };
    }
    Reading::call(begin + end, (name.to_string(), arguments(&text[brace..end])), false)
}

pub(super) fn grammar(tools: &[&ToolDefinition], parallel: bool, with_ids: bool) -> Grammar {
    let call = |tool: &&ToolDefinition| {
        let mut parts = vec![Grammar::token(OPEN), Grammar::text(tool.name.clone())];
        if with_ids {
            parts.extend([Grammar::token(CALL_ID), Grammar::Pattern("[a-zA-Z0-9]{9}".to_string())]);
        }
        parts.extend([Grammar::token(ARGUMENTS), Grammar::Json(tool.parameters.clone())]);
        Grammar::Sequence(parts)
    };
    Grammar::Choice(tools.iter().map(call).collect()).repeated(parallel, None)
}

pub(super) fn list_grammar(tools: &[&ToolDefinition], parallel: bool) -> Grammar {
    lists::grammar(tools, parallel, ["name", "arguments"], [Grammar::token(OPEN), Grammar::text("")])
}
