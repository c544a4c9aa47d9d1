//! JSON in the letters of Python's `json.dumps`: models are trained on exactly those.

use std::fmt::Write;

use super::printing::float;
use super::value::Value;
use super::{Error, Result};

/// The options of `json.dumps`.
pub(crate) struct JsonStyle {
    /// What a level is indented by; `None` writes all on one line.
    pub(crate) indent: Option<String>,
    pub(crate) ascii: bool,
    pub(crate) sorted: bool,
    pub(crate) item_separator: String,
    pub(crate) key_separator: String,
}

impl Default for JsonStyle {
    fn default() -> Self {
        Self {
            indent: None,
            ascii: false,
            sorted: false,
            item_separator: ", ".to_string(),
            key_separator: ": ".to_string(),
        }
    }
}

pub(crate) fn write_json(value: &Value, style: &JsonStyle) -> Result<String> {
    let mut text = String::new();
    write_value(&mut text, value, style, 1)?;
    Ok(text)
}

fn write_value(text: &mut String, value: &Value, style: &JsonStyle, depth: usize) -> Result<()> {
    match value {
        Value::None => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Int(number) => text.push_str(&number.to_string()),
        Value::Float(number) => text.push_str(&json_float(*number)),
        Value::Text(string) | Value::Markup(string) => write_string(text, string, style.ascii),
        Value::List(items) | Value::Tuple(items) => {
            let write = |text: &mut String, item: &Value| write_value(text, item, style, depth + 1);
            write_items(text, ['[', ']'], items, style, depth, write)?;
        }
        Value::Dict(dict) => {
            let mut entries = Vec::with_capacity(dict.0.len());
            for (key, value) in &dict.0 {
                entries.push((key_text(key)?, value));
            }
            if style.sorted {
                entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            }
            write_items(text, ['{', '}'], &entries, style, depth, |text, (key, value)| {
                write_string(text, key, style.ascii);
                text.push_str(&style.key_separator);
                write_value(text, value, style, depth + 1)
            })?;
        }
        other => return Err(Error::new(format!("Object of type {} is not JSON serializable", other.type_name()))),
    }
    Ok(())
}

fn key_text(key: &Value) -> Result<String> {
    match key {
        Value::Text(text) | Value::Markup(text) => Ok(text.to_string()),
        Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => write_json(key, &JsonStyle::default()),
        other => Err(Error::new(format!("keys must be str, int, float, bool or None, not {}", other.type_name()))),
    }
}

fn json_float(number: f64) -> String {
    match number {
        _ if number.is_nan() => "NaN".to_string(),
        f64::INFINITY => "Infinity".to_string(),
        f64::NEG_INFINITY => "-Infinity".to_string(),
        _ => float(number),
    }
}

fn write_items<T>(
    text: &mut String,
    brackets: [char; 2],
    items: &[T],
    style: &JsonStyle,
    depth: usize,
    mut write_item: impl FnMut(&mut String, &T) -> Result<()>,
) -> Result<()> {
    let new_line = |text: &mut String, depth: usize| {
        if let Some(indent) = style.indent.as_ref().filter(|_| !items.is_empty()) {
            text.push('\n');
            text.push_str(&indent.repeat(depth));
        }
    };
    text.push(brackets[0]);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push_str(&style.item_separator);
        }
        new_line(text, depth);
        write_item(text, item)?;
    }
    new_line(text, depth - 1);
    text.push(brackets[1]);
    Ok(())
}

fn write_string(text: &mut String, string: &str, ascii: bool) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            control if control < ' ' => escape(text, control),
            other if ascii && !other.is_ascii() => escape(text, other),
            plain => text.push(plain),
        }
    }
    text.push('"');
}

fn escape(text: &mut String, character: char) {
    let mut units = [0; 2];
    for unit in character.encode_utf16(&mut units) {
        // Writing to a String cannot fail.
        write!(text, "\\u{unit:04x}").unwrap_or_default();
    }
}
