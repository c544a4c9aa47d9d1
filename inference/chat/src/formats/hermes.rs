//! `<tool_call>..</tool_call>` spans: JSON inside (Hermes, Qwen, Granite 4, SmolLM3), or the XML of Qwen3-Coder.

use serde_json::{Map, Value, json};

use super::reading::{Reading, Span, WrittenCall, json_call, json_span, may_begin, space};
use super::schema::{Schemas, property, texts};
use crate::ToolDefinition;
use crate::grammar::Grammar;

pub(super) const OPEN: &str = "<tool_call>";
pub(super) const CLOSE: &str = "</tool_call>";
const FUNCTION: &str = "<function=";
const FUNCTION_END: &str = "</function>";
const PARAMETER: &str = "<parameter=";
const PARAMETER_END: &str = "</parameter>";

/// What follows `<tool_call>`, or `<function=` where Qwen3-Coder leaves the first marker out.
pub(super) fn read(opening: &str, rest: &str, schemas: &Schemas, within: bool) -> Reading {
    if opening == FUNCTION && !within {
        return function(0, rest, schemas);
    }
    let begin = space(rest);
    let text = &rest[begin..];
    if text.starts_with(['{', '[']) {
        let Span::Whole(length) = json_span(text) else { return Reading::More };
        return match calls(&text[..length]) {
            Some(calls) => Reading::Calls { length: begin + length, calls, done: false },
            None => closed(rest),
        };
    }
    if text.starts_with(CLOSE) {
        return Reading::skip(begin + CLOSE.len(), true);
    }
    if let Some(after) = text.strip_prefix(FUNCTION) {
        return function(begin + FUNCTION.len(), after, schemas);
    }
    if may_begin(text, CLOSE) || may_begin(text, FUNCTION) {
        return Reading::More;
    }
    // After a call, an end that is missing is no reason to hold text back.
    if within { Reading::Text { length: 0 } } else { closed(rest) }
}

/// A span that is no call, to its end.
fn closed(rest: &str) -> Reading {
    rest.find(CLOSE).map_or(Reading::More, |end| Reading::Text { length: end + CLOSE.len() })
}

/// One call, or a list of them.
fn calls(text: &str) -> Option<Vec<WrittenCall>> {
    match serde_json::from_str::<Vec<Value>>(text) {
        Ok(calls) => calls.iter().map(|call| json_call(&call.to_string())).collect(),
        Err(_) => Some(vec![json_call(text)?]),
    }
}

/// `name>` parameters `</function>`
fn function(begin: usize, text: &str, schemas: &Schemas) -> Reading {
    // A value may contain the end marker: the function ends where no parameter is open.
    let Some(name_end) = text.find('>') else { return Reading::More };
    let name = text[..name_end].trim().to_string();
    let mut arguments = Map::new();
    let mut position = name_end + 1;
    loop {
        position += space(&text[position..]);
        let rest = &text[position..];
        if rest.starts_with(FUNCTION_END) {
            let length = begin + position + FUNCTION_END.len();
            return Reading::call(length, (name, Value::Object(arguments)), false);
        }
        let Some(parameter) = rest.strip_prefix(PARAMETER) else {
            return if may_begin(rest, FUNCTION_END) || may_begin(rest, PARAMETER) {
                Reading::More
            } else {
                // Something else is between the parameters: the call as it is written.
                text.find(FUNCTION_END).map_or(Reading::More, |end| {
                    let raw = Value::String(text[name_end + 1..end].trim().to_string());
                    Reading::call(begin + end + FUNCTION_END.len(), (name, raw), false)
                })
            };
        };
        let (Some(key_end), Some(value_end)) = (parameter.find('>'), parameter.find(PARAMETER_END)) else {
            return Reading::More;
        };
        let key = parameter[..key_end].trim().to_string();
        let value = parameter.get(key_end + 1..value_end).unwrap_or_default();
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        arguments.insert(key.clone(), schemas.typed(&name, &key, value));
        position += PARAMETER.len() + value_end + PARAMETER_END.len();
    }
}

pub(super) fn json_grammar(tool: &ToolDefinition) -> Grammar {
    Grammar::Sequence(vec![
        Grammar::token(OPEN),
        Grammar::text(format!("\n{{\"name\": {}, \"arguments\": ", json!(tool.name))),
        Grammar::Json(tool.parameters.clone()),
        Grammar::text("}\n"),
        Grammar::token(CLOSE),
    ])
}

pub(super) fn xml_grammar(tool: &ToolDefinition) -> Grammar {
    let parameter = |key: &str, schema: &Value| {
        let value = match texts(schema) {
            _ if !property(schema).is_text() => Grammar::Json(schema.clone()),
            Some(texts) => Grammar::Choice(texts.into_iter().map(Grammar::text).collect()),
            // Text without the beginning of a closing marker.
            None => Grammar::Pattern(r"[^<]*(<[^/<][^<]*)*".to_string()),
        };
        let end = Grammar::text(format!("\n{PARAMETER_END}\n"));
        Grammar::Sequence(vec![Grammar::text(format!("{PARAMETER}{key}>\n")), value, end])
    };
    let mut parts = vec![Grammar::token(OPEN), Grammar::text(format!("\n{FUNCTION}{}>\n", tool.name))];
    parts.extend(super::schema::properties(&tool.parameters).into_iter().map(|(key, schema, required)| {
        let parameter = parameter(key, schema);
        if required { parameter } else { parameter.optional() }
    }));
    parts.push(Grammar::text(format!("{FUNCTION_END}\n")));
    parts.push(Grammar::token(CLOSE));
    Grammar::Sequence(parts)
}
