//! `"%s" % value` and `"{}".format(value)`.

use super::attributes::{attribute, item};
use super::fields::{Spec, take_number};
use super::operators::undefined_error;
use super::printing::{print, represent};
use super::value::Value;
use super::{Error, Result};

/// `template % values`
pub(super) fn percent(template: &str, values: &Value) -> Result<String> {
    let (positional, named) = match values {
        Value::Tuple(items) => (items.to_vec(), None),
        Value::Dict(dict) => (vec![values.clone()], Some(dict)),
        one => (vec![one.clone()], None),
    };
    let mut positional = positional.into_iter();
    let mut out = String::new();
    let mut rest = template;
    while let Some(position) = rest.find('%') {
        out.push_str(&rest[..position]);
        rest = &rest[position + 1..];
        let mut by_name = None;
        if let Some(named_rest) = rest.strip_prefix('(') {
            let (name, after) = named_rest.split_once(')').ok_or_else(|| Error::new("incomplete format key"))?;
            let dict = named.ok_or_else(|| Error::new("format requires a mapping"))?;
            let found = dict.get_text(name).ok_or_else(|| Error::new(format!("no key {name:?} for the format")))?;
            by_name = Some(found.clone());
            rest = after;
        }
        let flags_end = rest.find(|flag| !"#0- +".contains(flag)).unwrap_or(rest.len());
        let (flags, after) = rest.split_at(flags_end);
        rest = after;
        let mut next = || positional.next().ok_or_else(|| Error::new("not enough arguments for format string"));
        let mut number = |rest: &mut &str| -> Result<Option<usize>> {
            if let Some(after) = rest.strip_prefix('*') {
                *rest = after;
                let width = next()?.as_int().and_then(|width| usize::try_from(width).ok());
                return width.map(Some).ok_or_else(|| Error::new("* wants int"));
            }
            take_number(rest)
        };
        let width = number(&mut rest)?;
        let precision = match rest.strip_prefix('.') {
            Some(after) => {
                rest = after;
                Some(number(&mut rest)?.unwrap_or(0))
            }
            None => None,
        };
        rest = rest.strip_prefix(['l', 'h', 'L']).unwrap_or(rest);
        let conversion = rest.chars().next().ok_or_else(|| Error::new("incomplete format"))?;
        rest = &rest[conversion.len_utf8()..];
        if conversion == '%' {
            out.push('%');
            continue;
        }
        let value = match by_name {
            Some(value) => value,
            None => next()?,
        };
        let mut spec = Spec {
            fill: if flags.contains('0') { '0' } else { ' ' },
            align: Some(if flags.contains('-') {
                '<'
            } else if flags.contains('0') {
                '='
            } else {
                '>'
            }),
            sign: if flags.contains('+') {
                '+'
            } else if flags.contains(' ') {
                ' '
            } else {
                '-'
            },
            alternate: flags.contains('#'),
            width: width.unwrap_or(0),
            precision,
            ..Spec::default()
        };
        if flags.contains('-') {
            spec.fill = ' ';
        }
        out.push_str(&match conversion {
            's' | 'r' | 'a' => {
                let text = if conversion == 's' { print(&value) } else { represent(&value) };
                spec.text(&text.chars().take(precision.unwrap_or(usize::MAX)).collect::<String>(), true)?
            }
            'c' if value.as_text().is_some() => spec.text(&print(&value), true)?,
            'd' | 'i' | 'u' | 'x' | 'X' | 'o' | 'c' => {
                let number = match &value {
                    Value::Undefined(message) => return Err(undefined_error(message)),
                    Value::Float(number) if matches!(conversion, 'd' | 'i' | 'u') => number.trunc() as i128,
                    other => other.as_int().ok_or_else(|| {
                        Error::new(format!(
                            "%{conversion} format: a real number is required, not {}",
                            other.type_name()
                        ))
                    })?,
                };
                spec.kind = Some(if matches!(conversion, 'i' | 'u') { 'd' } else { conversion });
                spec.precision = None;
                spec.number(&Value::Int(number))?
            }
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
                let number = value
                    .as_float()
                    .ok_or_else(|| Error::new(format!("must be real number, not {}", value.type_name())))?;
                spec.kind = Some(conversion);
                spec.precision = Some(precision.unwrap_or(6));
                spec.number(&Value::Float(number))?
            }
            other => return Err(Error::new(format!("unsupported format character '{other}'"))),
        });
    }
    out.push_str(rest);
    // What can be subscripted may stay unused, as a mapping may; jinja2's undefined values can be.
    let subscriptable = matches!(values, Value::Dict(_) | Value::List(_) | Value::Range(_) | Value::Undefined(_));
    if positional.next().is_some() && !subscriptable {
        return Err(Error::new("not all arguments converted during string formatting"));
    }
    Ok(out)
}

/// `template.format(*positional, **named)`
pub(super) fn brace_format(template: &str, positional: &[Value], named: &[(String, Value)]) -> Result<String> {
    let mut automatic = 0;
    format_fields(template, positional, named, &mut automatic, 2)
}

fn format_fields(
    template: &str,
    positional: &[Value],
    named: &[(String, Value)],
    automatic: &mut usize,
    depth: usize,
) -> Result<String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some(position) = rest.find(['{', '}']) {
        out.push_str(&rest[..position]);
        let brace = &rest[position..=position];
        rest = &rest[position + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            out.push_str(brace);
            rest = after;
            continue;
        }
        if brace == "}" {
            return Err(Error::new("Single '}' encountered in format string"));
        }
        let end = field_end(rest).ok_or_else(|| Error::new("expected '}' before end of string"))?;
        let (field, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        let name_end = field.find(['!', ':']).unwrap_or(field.len());
        let (name, tail) = field.split_at(name_end);
        let (conversion, spec) = match tail.strip_prefix('!') {
            Some(tail) => {
                let conversion = tail.chars().next().unwrap_or(' ');
                let tail = tail.get(conversion.len_utf8()..).unwrap_or_default();
                (Some(conversion), tail.strip_prefix(':').unwrap_or(tail))
            }
            None => (None, tail.strip_prefix(':').unwrap_or(tail)),
        };
        let value = field_value(name, positional, named, automatic)?;
        if depth == 0 {
            return Err(Error::new("Max string recursion exceeded"));
        }
        let spec = format_fields(spec, positional, named, automatic, depth - 1)?;
        let value = match conversion {
            None => value,
            Some('s') => Value::text(print(&value)),
            Some('r' | 'a') => Value::text(represent(&value)),
            Some(other) => return Err(Error::new(format!("Unknown conversion specifier {other}"))),
        };
        out.push_str(&format(&value, &spec)?);
    }
    out.push_str(rest);
    Ok(out)
}

fn field_end(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    text.char_indices().find_map(|(position, character)| {
        match character {
            '{' => open += 1,
            '}' if open == 0 => return Some(position),
            '}' => open -= 1,
            _ => {}
        }
        None
    })
}

fn field_value(name: &str, positional: &[Value], named: &[(String, Value)], automatic: &mut usize) -> Result<Value> {
    let first_end = name.find(['.', '[']).unwrap_or(name.len());
    let (first, mut path) = name.split_at(first_end);
    let index = if first.is_empty() {
        *automatic += 1;
        Some(*automatic - 1)
    } else {
        first.parse().ok()
    };
    let found = match index {
        Some(index) => positional.get(index),
        None => named.iter().find(|(known, _)| known == first).map(|(_, value)| value),
    };
    let mut value = found.cloned().ok_or_else(|| Error::new(format!("nothing to fill {{{name}}} of a format with")))?;
    while !path.is_empty() {
        if let Some(rest) = path.strip_prefix('[') {
            let (key, after) = rest.split_once(']').ok_or_else(|| Error::new("Missing ']' in format string"))?;
            let key = key.parse().map_or_else(|_| Value::text(key), Value::Int);
            value = item(&value, &key)?;
            path = after;
        } else {
            let rest = &path[1..];
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            value = attribute(&value, &rest[..end])?;
            path = &rest[end..];
        }
    }
    Ok(value)
}

/// `format(value, spec)`
fn format(value: &Value, spec: &str) -> Result<String> {
    if spec.is_empty() {
        return Ok(print(value));
    }
    let spec = Spec::parse(spec)?;
    match value {
        Value::Int(_) | Value::Float(_) => spec.number(value),
        Value::Bool(_) if spec.kind.is_some_and(|kind| kind != 's') => spec.number(value),
        Value::Text(_) | Value::Markup(_) | Value::Bool(_) => {
            let text: String = print(value).chars().take(spec.precision.unwrap_or(usize::MAX)).collect();
            spec.text(&text, false)
        }
        other => Err(Error::new(format!("unsupported format string passed to {}.__format__", other.type_name()))),
    }
}
