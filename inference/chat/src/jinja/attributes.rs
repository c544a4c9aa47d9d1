//! `value.name` and `value[key]`, as jinja2's sandbox looks them up: attributes of the Python object first and
//! items second, or the other way round; what is not found, or not safe, is undefined.

use std::rc::Rc;

use super::operators::undefined_error;
use super::printing::represent;
use super::value::{Dict, Function, Loop, Value};
use super::{Result, methods};

/// `value.name`
pub(super) fn attribute(value: &Value, name: &str) -> Result<Value> {
    if let Value::Undefined(message) = value {
        return Err(undefined_error(message));
    }
    Ok(match own(value, name) {
        Some(found) => found,
        None => item_of(value, &Value::text(name)).unwrap_or_else(|| missing(value, &Value::text(name))),
    })
}

/// `value[key]`
pub(super) fn item(value: &Value, key: &Value) -> Result<Value> {
    if let Value::Undefined(message) = value {
        return Err(undefined_error(message));
    }
    let found = item_of(value, key).or_else(|| own(value, key.as_text()?));
    Ok(found.unwrap_or_else(|| missing(value, key)))
}

/// `value|attr(name)`: attributes alone.
pub(super) fn attribute_only(value: &Value, name: &str) -> Value {
    own(value, name).unwrap_or_else(|| missing(value, &Value::text(name)))
}

fn missing(value: &Value, key: &Value) -> Value {
    let whose = match value {
        Value::None => "None".to_string(),
        other => format!("'{} object'", other.type_name()),
    };
    Value::undefined(match key.as_text() {
        Some(name) => format!("{whose} has no attribute '{name}'"),
        None => format!("{whose} has no element {}", represent(key)),
    })
}

fn item_of(value: &Value, key: &Value) -> Option<Value> {
    match value {
        Value::Dict(dict) => match key.as_text() {
            Some(text) => dict.get_text(text).cloned(),
            None => dict.get(key).cloned(),
        },
        Value::List(items) | Value::Tuple(items) => items.get(position(key, items.len())?).cloned(),
        Value::Range(range) => {
            let index = position(key, range.len()).filter(|index| *index < range.len())?;
            Some(Value::Int(range.start + index as i128 * range.step))
        }
        Value::Text(text) | Value::Markup(text) => {
            let index = key.as_int()?;
            let character = if index >= 0 {
                text.chars().nth(usize::try_from(index).ok()?)
            } else {
                text.chars().nth_back(usize::try_from(-1 - index).ok()?)
            };
            character.map(|character| Value::text(character.to_string()))
        }
        _ => None,
    }
}

fn position(key: &Value, length: usize) -> Option<usize> {
    let index = key.as_int()?;
    usize::try_from(if index < 0 { index + length as i128 } else { index }).ok()
}

/// What `getattr` finds on the Python object.
fn own(value: &Value, name: &str) -> Option<Value> {
    if name.starts_with("__") && name.ends_with("__") {
        return Some(Value::undefined(format!(
            "access to attribute '{name}' of '{}' object is unsafe.",
            value.type_name()
        )));
    }
    if let Some(method) = methods::find(value, name) {
        return Some(Value::Method(Rc::new(value.clone()), method));
    }
    if methods::changes(value, name) {
        return Some(Value::undefined(format!(
            "access to attribute '{name}' of '{}' object is unsafe.",
            value.type_name()
        )));
    }
    match value {
        Value::Namespace(names) => names.borrow().get_text(name).cloned(),
        Value::Loop(state) => of_loop(state, name),
        Value::Macro(closure) => match name {
            "name" => Some(Value::text(&closure.definition.name)),
            "arguments" => {
                let names = closure.definition.parameters.iter().map(|(name, _)| Value::text(name));
                Some(Value::tuple(names.collect()))
            }
            "caller" => Some(Value::Bool(closure.definition.uses.caller)),
            "catch_varargs" => Some(Value::Bool(closure.definition.uses.varargs)),
            "catch_kwargs" => Some(Value::Bool(closure.definition.uses.kwargs)),
            _ => None,
        },
        Value::Function(Function::Dict) if name == "fromkeys" => Some(Value::Function(Function::FromKeys)),
        Value::Cycler(cycler) if name == "current" => cycler.0.get(cycler.1.get()).cloned(),
        Value::Int(_) | Value::Bool(_) => match name {
            "real" | "numerator" => value.as_int().map(Value::Int),
            "imag" => Some(Value::Int(0)),
            "denominator" => Some(Value::Int(1)),
            _ => None,
        },
        Value::Float(number) => match name {
            "real" => Some(Value::Float(*number)),
            "imag" => Some(Value::Float(0.0)),
            _ => None,
        },
        // `groupby` makes tuples whose two parts have names.
        Value::Tuple(items) if items.len() == 2 && matches!(items.get(1), Some(Value::List(_))) => match name {
            "grouper" => items.first().cloned(),
            "list" => items.get(1).cloned(),
            _ => None,
        },
        Value::Range(range) => match name {
            "start" => Some(Value::Int(range.start)),
            "stop" => Some(Value::Int(range.stop)),
            "step" => Some(Value::Int(range.step)),
            _ => None,
        },
        _ => None,
    }
}

fn of_loop(state: &Loop, name: &str) -> Option<Value> {
    let (index, length) = (state.index as i128, state.items.len() as i128);
    let neighbour = |index: Option<usize>, what: &str| {
        let item = index.and_then(|index| state.items.get(index)).cloned();
        item.unwrap_or_else(|| Value::undefined(format!("there is no {what} item")))
    };
    Some(match name {
        "index" => Value::Int(index + 1),
        "index0" => Value::Int(index),
        "revindex" => Value::Int(length - index),
        "revindex0" => Value::Int(length - index - 1),
        "first" => Value::Bool(index == 0),
        "last" => Value::Bool(index + 1 == length),
        "length" => Value::Int(length),
        "depth" => Value::Int(state.depth as i128 + 1),
        "depth0" => Value::Int(state.depth as i128),
        "previtem" => neighbour(state.index.checked_sub(1), "previous"),
        "nextitem" => neighbour(Some(state.index + 1), "next"),
        _ => return None,
    })
}

/// A new dict with the entries; later ones win.
pub(super) fn dict_of(entries: impl IntoIterator<Item = (Value, Value)>) -> Value {
    let mut dict = Dict::default();
    for (key, value) in entries {
        dict.insert(key, value);
    }
    Value::Dict(Rc::new(dict))
}
