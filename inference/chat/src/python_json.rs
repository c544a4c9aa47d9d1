//! JSON in the letters of Python's `json.dumps`: models are trained on exactly those.

use std::fmt::Write;

use serde_json::{Map, Number, Value};

/// The options of `json.dumps`.
pub(crate) struct Style {
    pub(crate) indent: Option<usize>,
    pub(crate) ascii: bool,
    pub(crate) sorted: bool,
    pub(crate) item_separator: String,
    pub(crate) key_separator: String,
}

impl Default for Style {
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

pub(crate) fn python_json(value: &Value, style: &Style) -> String {
    let mut text = String::new();
    write_value(&mut text, value, style, 1);
    text
}

fn write_value(text: &mut String, value: &Value, style: &Style, depth: usize) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => text.push_str(&python_number(number)),
        Value::String(string) => write_string(text, string, style.ascii),
        Value::Array(items) => {
            write_items(text, ['[', ']'], items.iter(), style, depth, |text, item| {
                write_value(text, item, style, depth + 1);
            });
        }
        Value::Object(entries) => {
            write_items(text, ['{', '}'], ordered(entries, style.sorted), style, depth, |text, (key, item)| {
                write_string(text, key, style.ascii);
                text.push_str(&style.key_separator);
                write_value(text, item, style, depth + 1);
            });
        }
    }
}

fn ordered(entries: &Map<String, Value>, sorted: bool) -> std::vec::IntoIter<(&String, &Value)> {
    let mut entries: Vec<_> = entries.iter().collect();
    if sorted {
        entries.sort_by_key(|(key, _)| *key);
    }
    entries.into_iter()
}

fn write_items<T>(
    text: &mut String,
    brackets: [char; 2],
    items: impl ExactSizeIterator<Item = T>,
    style: &Style,
    depth: usize,
    mut write_item: impl FnMut(&mut String, T),
) {
    let empty = items.len() == 0;
    let new_line = |text: &mut String, depth: usize| {
        if let Some(indent) = style.indent.filter(|_| !empty) {
            text.push('\n');
            text.push_str(&" ".repeat(indent * depth));
        }
    };
    text.push(brackets[0]);
    for (index, item) in items.enumerate() {
        if index > 0 {
            text.push_str(&style.item_separator);
        }
        new_line(text, depth);
        write_item(text, item);
    }
    new_line(text, depth - 1);
    text.push(brackets[1]);
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

/// A number as Python's `repr` has it: floats keep their point, exponents two digits and a sign.
fn python_number(number: &Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
        return number.to_string();
    };
    let scientific = format!("{float:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if float == 0.0 || (-4..16).contains(&exponent) {
        return format!("{float:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}
