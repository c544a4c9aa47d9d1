//! Iteration and length.

use super::operators::{check_count, undefined_error};
use super::value::Value;
use super::{Error, Result};

/// What a `for` loop sees. A generator is empty afterwards.
pub(super) fn iterate(value: &Value) -> Result<Vec<Value>> {
    Ok(match value {
        Value::Undefined(_) => Vec::new(),
        Value::Text(text) | Value::Markup(text) => {
            check_count(text.len())?;
            let mut buffer = [0; 4];
            text.chars().map(|character| Value::text(&*character.encode_utf8(&mut buffer))).collect()
        }
        Value::List(items) | Value::Tuple(items) => items.to_vec(),
        Value::Dict(dict) => dict.view(super::value::View::Keys),
        Value::View(view, dict) => dict.view(*view),
        Value::Range(range) => {
            check_count(range.len())?;
            range.values()
        }
        Value::Stream(items) => items.borrow_mut().drain(..).collect(),
        other => return Err(Error::new(format!("'{}' object is not iterable", other.type_name()))),
    })
}

/// `len(value)`
pub(super) fn length(value: &Value) -> Result<usize> {
    Ok(match value {
        Value::Undefined(_) => 0,
        Value::Text(text) | Value::Markup(text) => text.chars().count(),
        Value::List(items) | Value::Tuple(items) => items.len(),
        Value::Dict(dict) | Value::View(_, dict) => dict.0.len(),
        Value::Range(range) => range.len(),
        Value::Loop(state) => state.items.len(),
        other => return Err(Error::new(format!("object of type '{}' has no len()", other.type_name()))),
    })
}

/// The values that a mapping-like argument gives, for `dict(..)` and `**kwargs`.
pub(super) fn entries(value: &Value) -> Result<Vec<(Value, Value)>> {
    match value {
        Value::Dict(dict) => Ok(dict.0.clone()),
        Value::Namespace(names) => Ok(names.borrow().0.clone()),
        Value::Undefined(message) => Err(undefined_error(message)),
        other => iterate(other)?
            .iter()
            .map(|pair| match iterate(pair)?.as_slice() {
                [key, value] => Ok((key.clone(), value.clone())),
                other => Err(Error::new(format!(
                    "dictionary update sequence element has length {}; 2 is required",
                    other.len()
                ))),
            })
            .collect(),
    }
}
