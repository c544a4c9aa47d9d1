//! Calls as Python: `[name(key="text", other=1), ..]`, bare (Llama 3.2 and 4) or between markers (LFM2).

use serde_json::Value;

use super::literals::{Literals, PYTHON};
use super::reading::{Reading, Span, WrittenCall, balanced, space};
use super::schema::{Dialect, Schemas};
use crate::ToolDefinition;
use crate::grammar::Grammar;

pub(super) const OPENINGS: [&str; 3] = ["<|tool_call_start|>", "<|python_start|>", "<function_calls>"];
pub(super) const CLOSINGS: [&str; 3] = ["<|tool_call_end|>", "<|python_end|>", "</function_calls>"];

/// A list of calls, all of known tools where no marker says that they are calls.
pub(super) fn read(opening: &str, rest: &str, schemas: &Schemas, within: bool) -> Reading {
    let begin = space(rest);
    let text = &rest[begin..];
    if let Some(close) = CLOSINGS.iter().find(|close| text.starts_with(**close)) {
        return Reading::skip(begin + close.len(), true);
    }
    let closing = OPENINGS.iter().position(|known| *known == opening).and_then(|index| CLOSINGS.get(index));
    if within {
        let comes = closing.is_some_and(|close| close.starts_with(text));
        return if comes { Reading::More } else { Reading::Text { length: 0 } };
    }
    if !text.starts_with('[') {
        // Between markers, calls may stand on lines of their own.
        let Some(close) = closing else { return Reading::Text { length: 0 } };
        let Some(end) = text.find(close) else { return Reading::More };
        return match calls(&text[..end], "\n") {
            Some(calls) => Reading::Calls { length: begin + end + close.len(), calls, done: true },
            None => Reading::Text { length: begin + end + close.len() },
        };
    }
    // Where nothing says that these are calls, what cannot become one is text at once.
    let name = text[1..].trim_start();
    let may_be_known = schemas.0.iter().any(|tool| {
        let called = format!("{}(", tool.name);
        name.starts_with(&called) || called.starts_with(name)
    });
    if opening.is_empty() && !may_be_known {
        return Reading::Text { length: 0 };
    }
    let Span::Whole(length) = balanced(text, &['"', '\'']) else { return Reading::More };
    let found = calls(&text[1..length - 1], ",");
    let known = |calls: &Vec<WrittenCall>| !opening.is_empty() || calls.iter().all(|(name, _)| schemas.knows(name));
    match found.filter(known) {
        Some(calls) => Reading::Calls { length: begin + length, calls, done: opening.is_empty() },
        None => Reading::Text { length: begin + length },
    }
}

/// `name(..)` with a separator between.
fn calls(text: &str, separator: &str) -> Option<Vec<WrittenCall>> {
    let mut literals = Literals::new(text, PYTHON);
    let mut calls = Vec::new();
    loop {
        calls.push(call(&mut literals)?);
        literals.skip_space();
        if literals.position() == text.len() {
            return Some(calls);
        }
        if separator == "," {
            literals.take(",")?;
        }
    }
}

/// `name(key=value, ..)`
pub(super) fn call(literals: &mut Literals) -> Option<WrittenCall> {
    let name = literals.name()?.to_string();
    literals.take("(")?;
    Some((name, Value::Object(literals.arguments("=", ")")?)))
}

pub(super) fn grammar(tools: &[&ToolDefinition], parallel: bool, marked: bool) -> Grammar {
    let text = Grammar::Pattern(r#""([^"\\\n]|\\["\\nrt])*""#.to_string());
    let dialect =
        Dialect { between_arguments: ", ", assign: "=", text, truths: ["True", "False"], quotes: ["\"", "\""] };
    let call = |tool: &&ToolDefinition| {
        Grammar::Sequence(vec![
            Grammar::text(format!("{}(", tool.name)),
            dialect.arguments(&tool.parameters),
            Grammar::text(")"),
        ])
    };
    let calls = Grammar::Choice(tools.iter().map(call).collect()).repeated(parallel, Some(Grammar::text(", ")));
    let list = vec![Grammar::text("["), calls, Grammar::text("]")];
    if !marked {
        return Grammar::Sequence(list);
    }
    let (open, close) = (Grammar::token("<|tool_call_start|>"), Grammar::token("<|tool_call_end|>"));
    Grammar::Sequence(std::iter::once(open).chain(list).chain([close]).collect())
}
