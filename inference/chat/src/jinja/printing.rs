//! `str` and `repr`.

use std::fmt::Write;

use super::value::{Dict, Function, Value, View};

/// `str(value)`.
pub(super) fn print(value: &Value) -> String {
    match value {
        Value::Undefined(_) => String::new(),
        Value::Text(text) | Value::Markup(text) => text.to_string(),
        other => represent(other),
    }
}

/// `repr(value)`.
pub(super) fn represent(value: &Value) -> String {
    let mut text = String::new();
    write_representation(&mut text, value);
    text
}

fn write_representation(out: &mut String, value: &Value) {
    match value {
        Value::Undefined(_) => out.push_str("Undefined"),
        Value::None => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Float(number) => out.push_str(&float(*number)),
        Value::Text(text) => quote(out, text),
        Value::Markup(text) => {
            out.push_str("Markup(");
            quote(out, text);
            out.push(')');
        }
        Value::List(items) => write_items(out, items, ["[", "]"]),
        Value::Tuple(items) => write_items(out, items, ["(", if items.len() == 1 { ",)" } else { ")" }]),
        Value::Dict(dict) => write_dict(out, dict),
        Value::View(view, dict) => {
            let name = match view {
                View::Keys => "dict_keys",
                View::Values => "dict_values",
                View::Items => "dict_items",
            };
            out.push_str(name);
            write_items(out, &dict.view(*view), ["([", "])"]);
        }
        Value::Range(range) => {
            out.push_str(&format!("range({}, {}", range.start, range.stop));
            if range.step != 1 {
                out.push_str(&format!(", {}", range.step));
            }
            out.push(')');
        }
        Value::Namespace(names) => {
            out.push_str("<Namespace ");
            write_dict(out, &names.borrow());
            out.push('>');
        }
        Value::Loop(state) => out.push_str(&format!("<LoopContext {}/{}>", state.index + 1, state.items.len())),
        Value::Macro(closure) => {
            out.push_str("<Macro ");
            quote(out, &closure.definition.name);
            out.push('>');
        }
        // In Python these end in the object's address.
        Value::Stream(_) => out.push_str("<generator object>"),
        Value::Function(Function::Range) => out.push_str("<function safe_range>"),
        Value::Function(_) => out.push_str("<function>"),
        Value::Method(receiver, name) => {
            out.push_str(&format!("<built-in method {name} of {} object>", receiver.type_name()));
        }
        Value::Cycler(_) | Value::Joiner(_) => out.push_str(&format!("<jinja2.utils.{} object>", value.type_name())),
    }
}

fn write_items(out: &mut String, items: &[Value], brackets: [&str; 2]) {
    out.push_str(brackets[0]);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_representation(out, item);
    }
    out.push_str(brackets[1]);
}

fn write_dict(out: &mut String, dict: &Dict) {
    out.push('{');
    for (index, (key, value)) in dict.0.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_representation(out, key);
        out.push_str(": ");
        write_representation(out, value);
    }
    out.push('}');
}

fn quote(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            same if same == quote => out.extend(['\\', same]),
            plain if is_printable(plain) => out.push(plain),
            other => {
                let code = u32::from(other);
                let written = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
                // Writing to a String cannot fail.
                written.unwrap_or_default();
            }
        }
    }
    out.push(quote);
}

/// `str.isprintable` for one character: not a control, format, surrogate, private or separator character but the space.
pub(super) fn is_printable(character: char) -> bool {
    if character == ' ' {
        return true;
    }
    let hidden = matches!(character,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}'
        | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..='\u{10ffff}');
    !character.is_control() && !character.is_whitespace() && !hidden
}

/// `str.isspace` for one character.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{1c}'..='\u{1f}')
}

/// A float as `repr` has it: the shortest digits that read back the same, with their point.
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_string();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_string();
    }
    let shortest = format!("{number:e}");
    let digits = shortest.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    // Of two shortest forms that are equally near, Python takes the even one.
    let even = format!("{number:.*e}", digits.saturating_sub(1));
    let scientific = if even.parse() == Ok(number) { even } else { shortest };
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number == 0.0 || (-4..16).contains(&exponent) {
        let decimals = usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0).max(1);
        return format!("{number:.decimals$}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}
