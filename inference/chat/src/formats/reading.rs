//! What formats share: spans of JSON in a text that is still coming, and calls in JSON.

use regex::Regex;
use serde_json::{Map, Value};

/// A call as it was written: a name and arguments, which are an object, or text where they are no JSON.
pub(crate) type WrittenCall = (String, Value);

/// What a format makes of the text after an opening.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reading {
    /// It takes more text to tell.
    More,
    /// The first `length` bytes are `calls`. Then come further calls or an end; or text again where `done`.
    Calls { length: usize, calls: Vec<WrittenCall>, done: bool },
    /// The first `length` bytes are no call: they are text, as is what was read since the opening.
    Text { length: usize },
}

impl Reading {
    /// White space, separators and closing markers.
    pub(crate) fn skip(length: usize, done: bool) -> Self {
        Self::Calls { length, calls: Vec::new(), done }
    }

    pub(super) fn call(length: usize, call: WrittenCall, done: bool) -> Self {
        Self::Calls { length, calls: vec![call], done }
    }

    /// The same, when `before` bytes come first.
    pub(super) fn after(self, before: usize) -> Self {
        match self {
            Self::More => Self::More,
            Self::Calls { length, calls, done } => Self::Calls { length: before + length, calls, done },
            Self::Text { length } => Self::Text { length: before + length },
        }
    }
}

/// Where a JSON object or list that begins a text ends.
pub(super) enum Span {
    Whole(usize),
    Unfinished,
}

/// The end of the brackets that a text begins with, strings between `quotes` left aside.
pub(super) fn balanced(text: &str, quotes: &[char]) -> Span {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut escaped = false;
    for (position, character) in text.char_indices() {
        if let Some(open) = quote {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                same if same == open => quote = None,
                _ => {}
            }
            continue;
        }
        match character {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Span::Whole(position + 1);
                }
            }
            open if quotes.contains(&open) => quote = Some(open),
            _ => {}
        }
    }
    Span::Unfinished
}

pub(super) fn json_span(text: &str) -> Span {
    balanced(text, &['"'])
}

/// How much white space a text begins with.
pub(super) fn space(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

/// Whether a text may yet begin with the marker, or does.
pub(super) fn may_begin(text: &str, marker: &str) -> bool {
    text.starts_with(marker) || marker.starts_with(text)
}

/// Arguments as JSON: an object, an object within a string, or nothing; else the text as it is.
pub(super) fn arguments(text: &str) -> Value {
    let text = text.trim();
    if text.is_empty() {
        return Value::Object(Map::new());
    }
    serde_json::from_str(text).map_or_else(|_| Value::String(text.to_string()), as_arguments)
}

fn as_arguments(value: Value) -> Value {
    match value {
        Value::Null => Value::Object(Map::new()),
        // Some models write the arguments as a string of JSON.
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(Value::Object(arguments)) => Value::Object(arguments),
            _ => Value::String(text),
        },
        other => other,
    }
}

/// A call in JSON, with its name and arguments under any of the keys that models use.
/// Where only its name can be made out, the arguments are the raw text.
pub(super) fn json_call(text: &str) -> Option<WrittenCall> {
    if let Ok(call) = serde_json::from_str::<Value>(text) {
        return call.as_object().and_then(call_of);
    }
    let name = Regex::new(r#""(?:tool_)?name"\s*:\s*"([^"]+)""#).ok()?;
    let name = name.captures(text)?.get(1)?.as_str().to_string();
    let arguments = Regex::new(r#"(?s)"(?:arguments|parameters)"\s*:\s*(.*)"#).ok()?;
    let raw = arguments.captures(text).and_then(|found| found.get(1)).map_or(text, |found| found.as_str());
    Some((name, Value::String(raw.trim().to_string())))
}

fn call_of(call: &Map<String, Value>) -> Option<WrittenCall> {
    let function = call.get("function").and_then(Value::as_object).unwrap_or(call);
    let name = function.get("name").or_else(|| function.get("tool_name")).or_else(|| call.get("function"))?;
    let arguments = function.get("arguments").or_else(|| function.get("parameters")).cloned();
    Some((name.as_str()?.to_string(), as_arguments(arguments.unwrap_or_default())))
}
