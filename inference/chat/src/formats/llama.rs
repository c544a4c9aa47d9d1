//! Llama 3: the answer is `{"name": .., "parameters": ..}`, or several; after `<|python_tag|>` also code, or a call of
//! a built-in tool as Python.

use serde_json::json;

use super::literals::{Literals, PYTHON};
use super::pythonic;
use super::reading::{Reading, Span, json_call, json_span, space};
use super::schema::Schemas;
use crate::ToolDefinition;
use crate::grammar::Grammar;

pub(super) const PYTHON_TAG: &str = "<|python_tag|>";

pub(super) fn read(opening: &str, rest: &str, schemas: &Schemas, within: bool, finished: bool) -> Reading {
    let begin = space(rest);
    let text = &rest[begin..];
    if within && text.starts_with([';', ',']) {
        return Reading::skip(begin + 1, false);
    }
    if text.starts_with('{') {
        let Span::Whole(length) = json_span(text) else { return Reading::More };
        let call = json_call(&text[..length]).filter(|(name, _)| !opening.is_empty() || schemas.knows(name));
        return match call {
            Some(call) => Reading::call(begin + length, call, false),
            None => Reading::Text { length: begin + length },
        };
    }
    if text.is_empty() || opening.is_empty() && !within {
        return if text.is_empty() { Reading::More } else { Reading::Text { length: 0 } };
    }
    if within {
        return Reading::Text { length: 0 };
    }
    // Only its end tells whether this is a call or code.
    if !finished {
        return Reading::More;
    }
    built_in(text)
        .or_else(|| Some((schemas.code_tool()?.to_string(), json!({ "code": text.trim() }))))
        .map_or(Reading::Text { length: rest.len() }, |call| Reading::call(rest.len(), call, true))
}

/// `brave_search.call(query="..")`
fn built_in(text: &str) -> Option<super::reading::WrittenCall> {
    let mut literals = Literals::new(text.trim(), PYTHON);
    let (name, arguments) = pythonic::call(&mut literals)?;
    let whole = literals.position() == text.trim().len();
    Some((name.strip_suffix(".call").filter(|_| whole)?.to_string(), arguments))
}

pub(super) fn grammar(tool: &ToolDefinition) -> Grammar {
    Grammar::Sequence(vec![
        Grammar::text(format!("{{\"name\": {}, \"parameters\": ", json!(tool.name))),
        Grammar::Json(tool.parameters.clone()),
        Grammar::text("}"),
    ])
}
