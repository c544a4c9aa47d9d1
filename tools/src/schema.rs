//! Checks arguments against the part of JSON Schema that tools use: `type`, `properties`,
//! `required`, `enum`, `items`, `minItems`, `maxItems`, `minimum`, `maximum`, `minLength`
//! and `maxLength`.
//!
//! Stricter than JSON Schema in one way: an argument the schema does not name is an error,
//! because models invent them. Looser in another: `null` for an optional argument counts as
//! leaving it out, because many models write it so.

use serde_json::{Map, Value};

use crate::nearest;

/// Everything that is wrong with `arguments`, in one line.
pub(crate) fn check(schema: &Value, arguments: &Value) -> Result<(), String> {
    let Some(arguments) = arguments.as_object() else {
        return Err(match arguments {
            Value::String(_) => "the arguments are not a JSON object but text that does not parse as one".to_owned(),
            other => format!("the arguments must be a JSON object, not {}", kind(other)),
        });
    };
    let mut problems = Vec::new();
    check_object(schema, arguments, "", &mut problems);
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

fn check_object(schema: &Value, object: &Map<String, Value>, path: &str, problems: &mut Vec<String>) {
    let nothing = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&nothing);
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    for name in &required {
        if !object.contains_key(*name) {
            problems.push(format!("{} is missing", quoted(path, name)));
        }
    }
    for (name, value) in object {
        match properties.get(name) {
            None => problems.push(unknown(path, name, properties)),
            Some(_) if value.is_null() && !required.contains(&name.as_str()) => {}
            Some(schema) => check_value(schema, value, &joined(path, name), problems),
        }
    }
}

fn unknown(path: &str, name: &str, properties: &Map<String, Value>) -> String {
    let known: Vec<&str> = properties.keys().map(String::as_str).collect();
    let hint = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None if known.is_empty() => "it takes none".to_owned(),
        None => format!("known are {}", known.join(", ")),
    };
    format!("unknown argument {} ({hint})", quoted(path, name))
}

fn check_value(schema: &Value, value: &Value, path: &str, problems: &mut Vec<String>) {
    if let Some(wanted) = schema.get("type").and_then(Value::as_str)
        && !has_type(value, wanted)
    {
        problems.push(format!("{path:?} must be {}, not {}", with_article(wanted), kind(value)));
        return;
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let choices: Vec<String> = allowed.iter().map(Value::to_string).collect();
        problems.push(format!("{path:?} must be one of {}, not {value}", choices.join(", ")));
    }
    match value {
        Value::Number(number) => check_number(schema, number.as_f64().unwrap_or(f64::NAN), path, problems),
        Value::String(text) => {
            check_size(schema, ["minLength", "maxLength"], "character", text.chars().count(), path, problems);
        }
        Value::Array(items) => {
            check_size(schema, ["minItems", "maxItems"], "item", items.len(), path, problems);
            if let Some(item_schema) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    check_value(item_schema, item, &format!("{path}[{index}]"), problems);
                }
            }
        }
        Value::Object(object) if schema.get("properties").is_some() => check_object(schema, object, path, problems),
        Value::Object(_) | Value::Bool(_) | Value::Null => {}
    }
}

fn check_number(schema: &Value, number: f64, path: &str, problems: &mut Vec<String>) {
    if let Some(least) = schema.get("minimum").and_then(Value::as_f64)
        && number < least
    {
        problems.push(format!("{path:?} must be at least {least}, not {number}"));
    }
    if let Some(most) = schema.get("maximum").and_then(Value::as_f64)
        && number > most
    {
        problems.push(format!("{path:?} must be at most {most}, not {number}"));
    }
}

fn check_size(
    schema: &Value,
    [least, most]: [&str; 2],
    unit: &str,
    size: usize,
    path: &str,
    problems: &mut Vec<String>,
) {
    let limit = |name| schema.get(name).and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok());
    if let Some(least) = limit(least)
        && size < least
    {
        problems.push(if size == 0 {
            format!("{path:?} must not be empty")
        } else {
            format!("{path:?} needs at least {}", crate::text::count(least, unit))
        });
    }
    if let Some(most) = limit(most)
        && size > most
    {
        problems.push(format!("{path:?} may have at most {}", crate::text::count(most, unit)));
    }
}

fn has_type(value: &Value, wanted: &str) -> bool {
    match wanted {
        "string" => value.is_string(),
        // 3.0 is an integer in JSON Schema, and what some models write.
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => true,
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => format!("the boolean {truth}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {:?}", crate::text::prefix(text, 60)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn with_article(kind: &str) -> &str {
    match kind {
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "an object",
        other => other,
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn quoted(path: &str, name: &str) -> String {
    format!("{:?}", joined(path, name))
}
