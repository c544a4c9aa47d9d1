//! jinja2's filters. Those over sequences are in [`super::selection`], `tojson` is that of `transformers`.

use std::rc::Rc;

use super::arguments::{Argument, Arguments};
use super::attributes::attribute_only;
use super::json::{JsonStyle, write_json};
use super::operators::{check_length, escape, undefined_error};
use super::printing::{is_space, print, represent};
use super::sequences::{iterate, length};
use super::statements::Interpreter;
use super::value::Value;
use super::{Error, Result, formatting, numbers, selection, strings};

const NAMES: [&str; 34] = [
    "abs",
    "attr",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "e",
    "escape",
    "filesizeformat",
    "float",
    "forceescape",
    "format",
    "indent",
    "int",
    "items",
    "length",
    "list",
    "lower",
    "pprint",
    "replace",
    "reverse",
    "round",
    "safe",
    "string",
    "striptags",
    "title",
    "tojson",
    "trim",
    "truncate",
    "upper",
    "urlencode",
    "wordcount",
    "xmlattr",
];

pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name) || selection::NAMES.contains(&name)
}

/// `value|name(arguments)`
pub(super) fn apply(value: Value, name: &str, arguments: Arguments, interpreter: &mut Interpreter) -> Result<Value> {
    interpreter.charge(1)?;
    if let Some(text) = value.as_text() {
        interpreter.charge(text.len() / 16)?;
    }
    if selection::NAMES.contains(&name) {
        return selection::apply(value, name, arguments, interpreter);
    }
    match name {
        "default" | "d" => {
            let [default, boolean] = arguments.bind(name, ["default_value", "boolean"])?;
            let absent = value.is_undefined() || boolean.is_true() && !value.is_true();
            Ok(if absent { default.unwrap_or_else(|| Value::text("")) } else { value })
        }
        "tojson" => tojson(&value, arguments),
        "length" | "count" => {
            arguments.none(name)?;
            length(&value).map(|length| Value::Int(length as i128))
        }
        "list" => arguments.none(name).and_then(|()| iterate(&value)).map(Value::list),
        "items" => {
            arguments.none(name)?;
            match &value {
                Value::Undefined(_) => Ok(Value::stream(Vec::new())),
                Value::Dict(dict) => Ok(Value::stream(dict.view(super::value::View::Items))),
                _ => Err(Error::new("Can only get item pairs from a mapping.")),
            }
        }
        "reverse" => {
            arguments.none(name)?;
            match value.as_text() {
                Some(text) => Ok(Value::text(text.chars().rev().collect::<String>())),
                None => {
                    let mut items = iterate(&value)?;
                    items.reverse();
                    Ok(if matches!(value, Value::Stream(_)) { Value::list(items) } else { Value::stream(items) })
                }
            }
        }
        "attr" => {
            let [attribute] = arguments.bind(name, ["name"])?;
            let attribute = Some(attribute.required(name, "name")?).text_or("")?;
            if let Value::Undefined(message) = &value {
                return Err(undefined_error(message));
            }
            Ok(attribute_only(&value, &attribute))
        }
        "string" => arguments.none(name).map(|()| match value {
            Value::Markup(_) => value,
            other => Value::text(print(&other)),
        }),
        "safe" => arguments.none(name).map(|()| Value::Markup(Rc::from(print(&value)))),
        "escape" | "e" => arguments.none(name).map(|()| match value {
            Value::Markup(_) => value,
            other => Value::Markup(Rc::from(escape(&print(&other)))),
        }),
        "forceescape" => arguments.none(name).map(|()| Value::Markup(Rc::from(escape(&print(&value))))),
        "pprint" => arguments.none(name).map(|()| Value::text(represent(&value))),
        "int" | "float" | "abs" | "round" => numbers::apply(&value, name, arguments),
        "truncate" => truncate(value, arguments),
        "xmlattr" => xmlattr(&value, arguments),
        "filesizeformat" => file_size(&value, arguments),
        "urlencode" => arguments.none(name).and_then(|()| urlencode(&value)).map(Value::text),
        _ => text(&value, name, arguments),
    }
}

fn text(value: &Value, name: &str, arguments: Arguments) -> Result<Value> {
    let printed = print(value);
    let result = match name {
        "upper" => arguments.none(name).map(|()| printed.to_uppercase()),
        "lower" => arguments.none(name).map(|()| printed.to_lowercase()),
        "capitalize" => arguments.none(name).map(|()| strings::capitalize(&printed)),
        "title" => arguments.none(name).map(|()| title(&printed)),
        "wordcount" => {
            arguments.none(name)?;
            let words = printed.split(|character: char| character != '_' && !character.is_alphanumeric());
            return Ok(Value::Int(words.filter(|word| !word.is_empty()).count() as i128));
        }
        "trim" => return strings::call(&printed, "strip", arguments),
        "center" => {
            let [width] = arguments.bind(name, ["width"])?;
            strings::pad(&printed, "center", width.int_or(80)?, ' ')
        }
        "replace" => {
            let [old, new, count] = arguments.bind(name, ["old", "new", "count"])?;
            let (old, new) = (print(&old.required(name, "old")?), print(&new.required(name, "new")?));
            let count = count.filter(|count| !matches!(count, Value::None));
            let positional = [Value::text(old), Value::text(new)].into_iter().chain(count).collect();
            return strings::call(&printed, "replace", Arguments { positional, named: Vec::new() });
        }
        "format" => {
            let values = if arguments.named.is_empty() {
                Value::tuple(arguments.positional)
            } else if arguments.positional.is_empty() {
                let named = arguments.named.into_iter().map(|(name, value)| (Value::text(name), value));
                super::attributes::dict_of(named)
            } else {
                return Err(Error::new("can't handle positional and keyword arguments at the same time"));
            };
            formatting::percent(&printed, &values)
        }
        "indent" => {
            let [width, first, blank] = arguments.bind(name, ["width", "first", "blank"])?;
            let Some(text) = value.as_text() else {
                return Err(match value {
                    Value::Undefined(message) => undefined_error(message),
                    other => Error::new(format!("indent needs text, not {}", other.type_name())),
                });
            };
            indent(text, width, first.is_true(), blank.is_true())
        }
        "striptags" => arguments.none(name).map(|()| strip_tags(&printed)),
        _ => Err(Error::new(format!("No filter named '{name}'."))),
    };
    result.map(Value::text)
}

fn tojson(value: &Value, arguments: Arguments) -> Result<Value> {
    let [ascii, indent, separators, sorted] =
        arguments.bind("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"])?;
    let mut style = JsonStyle { ascii: ascii.is_true(), sorted: sorted.is_true(), ..JsonStyle::default() };
    style.indent = match indent {
        None | Some(Value::None) => None,
        Some(Value::Text(text) | Value::Markup(text)) => Some(text.to_string()),
        some => {
            let width = usize::try_from(some.int_or(0)?).unwrap_or(0);
            check_length(width.saturating_mul(1024))?;
            Some(" ".repeat(width))
        }
    };
    if style.indent.is_some() {
        style.item_separator = ",".to_string();
    }
    if let Some(separators) = separators.filter(|separators| !matches!(separators, Value::None)) {
        match iterate(&separators)?.as_slice() {
            [item, key] => (style.item_separator, style.key_separator) = (print(item), print(key)),
            other => return Err(Error::new(format!("separators are two texts, not {}", other.len()))),
        }
    }
    write_json(value, &style).map(Value::text)
}

/// The filter's own idea of a title, unlike `str.title`.
fn title(text: &str) -> String {
    let mut begins = true;
    let mut out = String::new();
    for character in text.chars() {
        let separator = is_space(character) || "-({[<".contains(character);
        if begins && !separator {
            out.extend(character.to_uppercase());
        } else {
            out.extend(character.to_lowercase());
        }
        begins = separator;
    }
    out
}

fn indent(text: &str, width: Option<Value>, first: bool, blank: bool) -> Result<String> {
    let indention = match width {
        Some(Value::Text(text) | Value::Markup(text)) => text.to_string(),
        width => " ".repeat(usize::try_from(width.int_or(4)?).unwrap_or(0).min(1 << 16)),
    };
    let with_end = format!("{text}\n");
    let lines = strings::lines(&with_end, false);
    check_length(lines.len().saturating_mul(indention.len()).saturating_add(text.len()))?;
    let mut out = String::new();
    for (index, line) in lines.into_iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        if if index == 0 { first } else { blank || !line.is_empty() } {
            out.push_str(&indention);
        }
        out.push_str(line);
    }
    Ok(out)
}

fn truncate(value: Value, arguments: Arguments) -> Result<Value> {
    let [wanted, kill, end, leeway] = arguments.bind("truncate", ["length", "killwords", "end", "leeway"])?;
    let (wanted, end) = (wanted.int_or(255)?, end.text_or("...")?);
    let leeway = leeway.filter(|leeway| !matches!(leeway, Value::None)).int_or(5)?;
    let rest = wanted - end.chars().count() as i128;
    if rest < 0 || leeway < 0 {
        return Err(Error::new(format!("expected length >= {}, got {wanted}", end.chars().count())));
    }
    if length(&value)? as i128 <= wanted + leeway {
        return Ok(value);
    }
    let text = value.as_text().ok_or_else(|| Error::new(format!("truncate needs text, not {}", value.type_name())))?;
    let kept: String = text.chars().take(usize::try_from(rest).unwrap_or(0)).collect();
    if kill.is_true() {
        return Ok(Value::text(kept + &end));
    }
    let words = kept.rsplit_once(' ').map_or(kept.as_str(), |(before, _)| before);
    Ok(Value::text(words.to_string() + &end))
}

fn strip_tags(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        let Some((_, after)) = after.split_once('>') else { break };
        plain.push_str(before);
        rest = after;
    }
    plain.push_str(rest);
    let words: Vec<&str> = plain.split(is_space).filter(|word| !word.is_empty()).collect();
    let words = words.join(" ").replace("&lt;", "<").replace("&gt;", ">").replace("&#39;", "'").replace("&#34;", "\"");
    words.replace("&quot;", "\"").replace("&amp;", "&")
}

fn xmlattr(value: &Value, arguments: Arguments) -> Result<Value> {
    let [space] = arguments.bind("xmlattr", ["autospace"])?;
    let Value::Dict(dict) = value else {
        return Err(Error::new("xmlattr needs a mapping"));
    };
    let mut parts = Vec::new();
    for (key, value) in &dict.0 {
        if matches!(value, Value::None | Value::Undefined(_)) {
            continue;
        }
        let key = print(key);
        if key.contains(|character: char| character.is_ascii_whitespace() || "/>=".contains(character)) {
            return Err(Error::new(format!("Invalid character in attribute name: '{key}'")));
        }
        parts.push(format!("{}=\"{}\"", escape(&key), escape(&print(value))));
    }
    let text = parts.join(" ");
    let leads = space.is_none_or(|space| space.is_true()) && !text.is_empty();
    Ok(Value::text(if leads { format!(" {text}") } else { text }))
}

fn file_size(value: &Value, arguments: Arguments) -> Result<Value> {
    let [binary] = arguments.bind("filesizeformat", ["binary"])?;
    let binary = binary.is_true();
    let bytes = value.as_float().or_else(|| numbers::parse_float(value.as_text()?));
    let bytes = bytes.ok_or_else(|| Error::new("filesizeformat needs a number"))?;
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    if bytes == 1.0 {
        return Ok(Value::text("1 Byte"));
    }
    if bytes < base {
        return Ok(Value::text(format!("{} Bytes", bytes.trunc() as i128)));
    }
    let mut unit = base;
    let mut prefix = 'k';
    for candidate in ['k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y'] {
        unit *= base;
        prefix = candidate;
        if bytes < unit {
            break;
        }
    }
    let prefix = if binary { format!("{}i", prefix.to_ascii_uppercase()) } else { prefix.to_string() };
    Ok(Value::text(format!("{:.1} {prefix}B", base * bytes / unit)))
}

fn urlencode(value: &Value) -> Result<String> {
    if let Value::Dict(dict) = value {
        let pairs =
            dict.0.iter().map(|(key, value)| format!("{}={}", quoted(&print(key), true), quoted(&print(value), true)));
        return Ok(pairs.collect::<Vec<_>>().join("&"));
    }
    if value.as_text().is_some() || iterate(value).is_err() {
        return Ok(quoted(&print(value), false));
    }
    let mut pairs = Vec::new();
    for pair in iterate(value)? {
        match iterate(&pair)?.as_slice() {
            [key, value] => pairs.push(format!("{}={}", quoted(&print(key), true), quoted(&print(value), true))),
            _ => return Err(Error::new("urlencode needs pairs")),
        }
    }
    Ok(pairs.join("&"))
}

fn quoted(text: &str, query: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'/' if !query => out.push('/'),
            b' ' if query => out.push('+'),
            plain if plain.is_ascii_alphanumeric() || b"_.-~".contains(&plain) => out.push(char::from(plain)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
