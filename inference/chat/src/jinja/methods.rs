//! The methods of Python's values that change nothing. Those of text are in [`super::strings`].

use std::cell::RefCell;
use std::rc::Rc;

use super::arguments::{Argument, Arguments};
use super::attributes::dict_of;
use super::operators::{contains, equal};
use super::sequences::iterate;
use super::value::{Loop, Value, View};
use super::{Error, Result, strings};

const DICT: [&str; 6] = ["get", "items", "keys", "values", "copy", "fromkeys"];
const DICT_CHANGES: [&str; 5] = ["clear", "pop", "popitem", "setdefault", "update"];
const LIST: [&str; 3] = ["count", "index", "copy"];
const LIST_CHANGES: [&str; 8] = ["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"];

/// The method of this name, if the value has one that may be called.
pub(super) fn find(value: &Value, name: &str) -> Option<&'static str> {
    let names: &[&'static str] = match value {
        Value::Text(_) | Value::Markup(_) => &strings::METHODS,
        Value::Dict(_) => &DICT,
        Value::List(_) => &LIST,
        Value::Tuple(_) | Value::Range(_) => &["count", "index"],
        Value::Loop(_) => &["cycle", "changed"],
        Value::Cycler(_) => &["next", "reset"],
        Value::Float(_) => &["is_integer"],
        Value::Int(_) | Value::Bool(_) => &["bit_length", "is_integer"],
        Value::View(View::Keys | View::Items, _) => &["isdisjoint"],
        _ => &[],
    };
    names.iter().find(|known| **known == name).copied()
}

/// Whether it is a method that changes the value, which the sandbox refuses.
pub(super) fn changes(value: &Value, name: &str) -> bool {
    match value {
        Value::Dict(_) => DICT_CHANGES.contains(&name),
        Value::List(_) => LIST_CHANGES.contains(&name),
        _ => false,
    }
}

pub(super) fn call(receiver: &Value, name: &'static str, arguments: Arguments) -> Result<Value> {
    match (receiver, name) {
        (Value::Text(text), _) => strings::call(text, name, arguments),
        (Value::Markup(text), _) => Ok(match strings::call(text, name, arguments)? {
            Value::Text(text) => Value::Markup(text),
            other => other,
        }),
        (Value::Dict(_), "copy") | (Value::List(_), "copy") => arguments.none(name).map(|()| receiver.clone()),
        (Value::Dict(dict), "get") => {
            let [key, default] = arguments.bind(name, ["key", "default"])?;
            let key = key.required(name, "key")?;
            let found = dict.get(&key).cloned();
            Ok(found.or(default).unwrap_or(Value::None))
        }
        (Value::Dict(_), "fromkeys") => from_keys(arguments),
        (Value::Dict(dict), _) => {
            arguments.none(name)?;
            let view = match name {
                "keys" => View::Keys,
                "values" => View::Values,
                _ => View::Items,
            };
            Ok(Value::View(view, Rc::clone(dict)))
        }
        (Value::View(..), _) => {
            let [other] = arguments.bind(name, ["other"])?;
            let other = other.required(name, "other")?;
            let own = iterate(receiver)?;
            Ok(Value::Bool(!own.iter().any(|item| contains(&other, item).unwrap_or(false))))
        }
        (_, "count") => {
            let [wanted] = arguments.bind(name, ["value"])?;
            let wanted = wanted.required(name, "value")?;
            let count = iterate(receiver)?.iter().filter(|item| equal(item, &wanted)).count();
            Ok(Value::Int(count as i128))
        }
        (_, "index") => index(receiver, arguments),
        (Value::Loop(state), _) => of_loop(state, name, arguments),
        (Value::Cycler(cycler), _) => {
            arguments.none(name)?;
            let (items, position) = &**cycler;
            if name == "reset" {
                position.set(0);
                return Ok(Value::None);
            }
            let current = items.get(position.get()).cloned().unwrap_or(Value::None);
            position.set((position.get() + 1) % items.len().max(1));
            Ok(current)
        }
        (Value::Float(number), _) => arguments.none(name).map(|()| Value::Bool(number.fract() == 0.0)),
        (_, "is_integer") => arguments.none(name).map(|()| Value::Bool(true)),
        (number, _) => {
            arguments.none(name)?;
            let magnitude = number.as_int().unwrap_or(0).unsigned_abs();
            Ok(Value::Int(i128::from(u128::BITS - magnitude.leading_zeros())))
        }
    }
}

/// `dict.fromkeys`
pub(super) fn from_keys(arguments: Arguments) -> Result<Value> {
    let [keys, value] = arguments.bind("fromkeys", ["iterable", "value"])?;
    let keys = iterate(&keys.required("fromkeys", "iterable")?)?;
    let value = value.unwrap_or(Value::None);
    Ok(dict_of(keys.into_iter().map(|key| (key, value.clone()))))
}

fn index(receiver: &Value, arguments: Arguments) -> Result<Value> {
    let [wanted, start, stop] = arguments.bind("index", ["value", "start", "stop"])?;
    let wanted = wanted.required("index", "value")?;
    let items = iterate(receiver)?;
    let place = |bound: i128| (if bound < 0 { bound + items.len() as i128 } else { bound }).max(0) as usize;
    let (start, stop) = (place(start.int_or(0)?), place(stop.int_or(items.len() as i128)?));
    let found = items.iter().enumerate().take(stop).skip(start).find(|(_, item)| equal(item, &wanted));
    let found = found.map(|(position, _)| Value::Int(position as i128));
    found.ok_or_else(|| Error::new("the value is not in the list"))
}

fn of_loop(state: &Loop, name: &str, arguments: Arguments) -> Result<Value> {
    let values = arguments.positional;
    if name == "cycle" {
        let position = state.index.checked_rem(values.len());
        let value = position.and_then(|position| values.get(position)).cloned();
        return value.ok_or_else(|| Error::new("no items for cycling given"));
    }
    let values = Value::tuple(values);
    let seen: &RefCell<Option<Value>> = &state.last_seen;
    let changed = !seen.borrow().as_ref().is_some_and(|last| equal(last, &values));
    seen.replace(Some(values));
    Ok(Value::Bool(changed))
}
