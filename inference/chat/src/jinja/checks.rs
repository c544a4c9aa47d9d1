//! The tests of `is`.

use super::arguments::{Argument, Arguments};
use super::operators::{arithmetic, compare, equal, same, undefined_error};
use super::printing::print;
use super::sequences::{iterate, length};
use super::statements::Interpreter;
use super::syntax::{Comparison, Operator};
use super::value::Value;
use super::{Error, Result, filters, strings};

/// `value is name(arguments)`
pub(super) fn check(value: &Value, name: &str, arguments: Arguments, interpreter: &mut Interpreter) -> Result<bool> {
    interpreter.charge(1)?;
    if let Some(comparison) = comparison(name) {
        let [other] = arguments.bind(name, ["other"])?;
        return compare(comparison, value, &other.required(name, "other")?);
    }
    if matches!(name, "divisibleby" | "sameas" | "filter" | "test") {
        let [other] = arguments.bind(name, ["other"])?;
        let other = other.required(name, "other")?;
        return Ok(match name {
            "divisibleby" => equal(&arithmetic(Operator::Modulo, value, &other)?, &Value::Int(0)),
            "sameas" => same(value, &other),
            "filter" => value.as_text().is_some_and(filters::exists),
            _ => value.as_text().is_some_and(exists),
        });
    }
    if !NAMES.contains(&name) {
        return Err(Error::new(format!("No test named '{name}'.")));
    }
    arguments.none(name)?;
    Ok(match name {
        "defined" => !value.is_undefined(),
        "undefined" => value.is_undefined(),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => value.as_float().is_some(),
        "string" => value.as_text().is_some(),
        "mapping" => matches!(value, Value::Dict(_)),
        "sequence" => length(value).is_ok() && !matches!(value, Value::View(..) | Value::Loop(_)),
        // Asking must not use a generator up.
        "iterable" => matches!(value, Value::Stream(_) | Value::Loop(_)) || iterate(value).is_ok(),
        "callable" => matches!(
            value,
            Value::Macro(_)
                | Value::Function(_)
                | Value::Method(..)
                | Value::Joiner(_)
                | Value::Loop(_)
                | Value::Undefined(_)
        ),
        "escaped" => matches!(value, Value::Markup(_)),
        "odd" | "even" => {
            if let Value::Undefined(message) = value {
                return Err(undefined_error(message));
            }
            equal(&arithmetic(Operator::Modulo, value, &Value::Int(2))?, &Value::Int(i128::from(name == "odd")))
        }
        "lower" => strings::call(&print(value), "islower", Arguments::default())?.is_true(),
        _ => strings::call(&print(value), "isupper", Arguments::default())?.is_true(),
    })
}

const NAMES: [&str; 19] = [
    "defined",
    "undefined",
    "none",
    "boolean",
    "true",
    "false",
    "integer",
    "float",
    "number",
    "string",
    "mapping",
    "sequence",
    "iterable",
    "callable",
    "escaped",
    "odd",
    "even",
    "lower",
    "upper",
];

fn exists(name: &str) -> bool {
    NAMES.contains(&name) || comparison(name).is_some() || matches!(name, "divisibleby" | "sameas" | "filter" | "test")
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        "eq" | "equalto" | "==" => Comparison::Equal,
        "ne" | "!=" => Comparison::NotEqual,
        "lt" | "lessthan" | "<" => Comparison::Less,
        "le" | "<=" => Comparison::LessOrEqual,
        "gt" | "greaterthan" | ">" => Comparison::Greater,
        "ge" | ">=" => Comparison::GreaterOrEqual,
        "in" => Comparison::In,
        _ => return None,
    })
}
