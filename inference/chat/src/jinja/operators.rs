//! Python's operators on its values.

use std::cmp::Ordering;
use std::rc::Rc;

use super::printing::print;
use super::sequences::iterate;
use super::syntax::{Comparison, Operator};
use super::value::{Value, View};
use super::{Error, Result, formatting};

/// Bytes of one string, items of one list.
const LONGEST_TEXT: usize = 16 << 20;
const LONGEST_LIST: usize = 1 << 20;

pub(super) fn undefined_error(message: &str) -> Error {
    Error::new(message)
}

/// `==`
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    if let (Some(left), Some(right)) = (left.as_text(), right.as_text()) {
        return left == right;
    }
    if let (Some(left), Some(right)) = (left.as_int(), right.as_int()) {
        return left == right;
    }
    if let (Some(left), Some(right)) = (left.as_float(), right.as_float()) {
        return left == right;
    }
    match (left, right) {
        (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
        (Value::List(left), Value::List(right)) | (Value::Tuple(left), Value::Tuple(right)) => {
            left.len() == right.len() && left.iter().zip(right.iter()).all(|(left, right)| equal(left, right))
        }
        (Value::Dict(left), Value::Dict(right)) => {
            left.0.len() == right.0.len()
                && left.0.iter().all(|(key, value)| right.get(key).is_some_and(|other| equal(value, other)))
        }
        (Value::View(view, left), Value::View(other, right)) if *view != View::Values && view == other => {
            let right = right.view(*view);
            left.0.len() == right.len()
                && left.view(*view).iter().all(|item| right.iter().any(|other| equal(item, other)))
        }
        (Value::Range(left), Value::Range(right)) => {
            left.len() == right.len()
                && (left.len() == 0 || left.start == right.start && (left.len() == 1 || left.step == right.step))
        }
        _ => same(left, right),
    }
}

/// `is`
pub(super) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::None, Value::None) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(left), Value::Int(right)) => left == right,
        (Value::Text(left), Value::Text(right)) => left == right,
        (Value::List(left), Value::List(right)) | (Value::Tuple(left), Value::Tuple(right)) => Rc::ptr_eq(left, right),
        (Value::Dict(left), Value::Dict(right)) => Rc::ptr_eq(left, right),
        (Value::Namespace(left), Value::Namespace(right)) => Rc::ptr_eq(left, right),
        (Value::Macro(left), Value::Macro(right)) => Rc::ptr_eq(left, right),
        (Value::Stream(left), Value::Stream(right)) => Rc::ptr_eq(left, right),
        (Value::Function(left), Value::Function(right)) => left == right,
        (Value::Method(left, name), Value::Method(right, other)) => name == other && same(left, right),
        _ => false,
    }
}

/// The order that `<` and `sorted` see; an error where Python has none.
pub(super) fn order(left: &Value, right: &Value, symbol: &str) -> Result<Ordering> {
    for side in [left, right] {
        if let Value::Undefined(message) = side {
            return Err(undefined_error(message));
        }
    }
    if let (Some(left), Some(right)) = (left.as_text(), right.as_text()) {
        return Ok(left.cmp(right));
    }
    if let (Some(left), Some(right)) = (left.as_int(), right.as_int()) {
        return Ok(left.cmp(&right));
    }
    if let (Some(left), Some(right)) = (left.as_float(), right.as_float()) {
        // NaN is neither less nor greater.
        return Ok(left.partial_cmp(&right).unwrap_or(Ordering::Equal));
    }
    match (left, right) {
        (Value::List(left), Value::List(right)) | (Value::Tuple(left), Value::Tuple(right)) => {
            for (left, right) in left.iter().zip(right.iter()) {
                if !equal(left, right) {
                    return order(left, right, symbol);
                }
            }
            Ok(left.len().cmp(&right.len()))
        }
        _ => Err(Error::new(format!(
            "'{symbol}' not supported between instances of '{}' and '{}'",
            left.type_name(),
            right.type_name()
        ))),
    }
}

pub(super) fn compare(comparison: Comparison, left: &Value, right: &Value) -> Result<bool> {
    let nan = [left, right].iter().any(|side| matches!(side, Value::Float(number) if number.is_nan()));
    Ok(match comparison {
        Comparison::Equal => equal(left, right),
        Comparison::NotEqual => !equal(left, right),
        Comparison::Less => order(left, right, "<")?.is_lt() && !nan,
        Comparison::LessOrEqual => order(left, right, "<=")?.is_le() && !nan,
        Comparison::Greater => order(left, right, ">")?.is_gt() && !nan,
        Comparison::GreaterOrEqual => order(left, right, ">=")?.is_ge() && !nan,
        Comparison::In => contains(right, left)?,
        Comparison::NotIn => !contains(right, left)?,
    })
}

/// `item in container`
pub(super) fn contains(container: &Value, item: &Value) -> Result<bool> {
    match container {
        Value::Text(text) | Value::Markup(text) => match (item.as_text(), item) {
            (Some(item), _) => Ok(text.contains(item)),
            (None, Value::Undefined(_)) => {
                Err(Error::new("'in <string>' requires string as left operand, not Undefined"))
            }
            (None, other) => {
                Err(Error::new(format!("'in <string>' requires string as left operand, not {}", other.type_name())))
            }
        },
        Value::Dict(dict) | Value::View(View::Keys, dict) => {
            if matches!(item, Value::List(_) | Value::Dict(_)) {
                return Err(Error::new(format!("unhashable type: '{}'", item.type_name())));
            }
            Ok(dict.get(item).is_some())
        }
        Value::Undefined(_) => Ok(false),
        other => {
            let not_iterable = |_| Error::new(format!("argument of type '{}' is not iterable", other.type_name()));
            Ok(iterate(other).map_err(not_iterable)?.iter().any(|candidate| equal(candidate, item)))
        }
    }
}

pub(super) fn arithmetic(operator: Operator, left: &Value, right: &Value) -> Result<Value> {
    match (operator, left, right) {
        // These take whatever there is, even what is undefined.
        (Operator::Modulo, Value::Text(_) | Value::Markup(_), _) => {
            return Ok(Value::text(formatting::percent(&print(left), right)?));
        }
        (_, Value::Undefined(message), _) | (_, _, Value::Undefined(message)) => return Err(undefined_error(message)),
        _ => {}
    }
    if let Some(joined) = sequences(operator, left, right)? {
        return Ok(joined);
    }
    if let (Some(left), Some(right)) = (left.as_int(), right.as_int())
        && let Some(number) = integers(operator, left, right)?
    {
        return Ok(Value::Int(number));
    }
    if let (Some(left), Some(right)) = (left.as_float(), right.as_float()) {
        return floats(operator, left, right).map(Value::Float);
    }
    if let (Operator::Add, Value::Text(_) | Value::Markup(_)) = (operator, left) {
        return Err(Error::new(format!("can only concatenate str (not \"{}\") to str", right.type_name())));
    }
    Err(Error::new(format!(
        "unsupported operand type(s) for {}: '{}' and '{}'",
        symbol(operator),
        left.type_name(),
        right.type_name()
    )))
}

/// `+` and `*` of text and lists.
fn sequences(operator: Operator, left: &Value, right: &Value) -> Result<Option<Value>> {
    Ok(match (operator, left, right) {
        (Operator::Add, Value::Text(left), Value::Text(right)) => Some(join(left, right, Value::Text)?),
        (Operator::Add, Value::Markup(left), Value::Markup(right)) => Some(join(left, right, Value::Markup)?),
        (Operator::Add, Value::Markup(left), Value::Text(right)) => Some(join(left, &escape(right), Value::Markup)?),
        (Operator::Add, Value::Text(left), Value::Markup(right)) => Some(join(&escape(left), right, Value::Markup)?),
        (Operator::Add, Value::List(left), Value::List(right)) => Some(Value::list(joined(left, right)?)),
        (Operator::Add, Value::Tuple(left), Value::Tuple(right)) => Some(Value::tuple(joined(left, right)?)),
        (Operator::Multiply, sequence, times) | (Operator::Multiply, times, sequence)
            if times.as_int().is_some() && sequence.as_float().is_none() =>
        {
            let times = usize::try_from(times.as_int().unwrap_or(0).max(0)).unwrap_or(usize::MAX);
            match sequence {
                Value::Text(text) | Value::Markup(text) => {
                    check_length(text.len().saturating_mul(times))?;
                    let repeated = Rc::from(text.repeat(times));
                    Some(if matches!(sequence, Value::Markup(_)) {
                        Value::Markup(repeated)
                    } else {
                        Value::Text(repeated)
                    })
                }
                Value::List(items) => Some(Value::list(repeated(items, times)?)),
                Value::Tuple(items) => Some(Value::tuple(repeated(items, times)?)),
                _ => None,
            }
        }
        _ => None,
    })
}

fn join(left: &str, right: &str, kind: impl Fn(Rc<str>) -> Value) -> Result<Value> {
    check_length(left.len() + right.len())?;
    Ok(kind(Rc::from([left, right].concat())))
}

pub(super) fn check_length(bytes: usize) -> Result<()> {
    if bytes > LONGEST_TEXT {
        return Err(Error::new(format!("the template makes a text of more than {LONGEST_TEXT} bytes")));
    }
    Ok(())
}

pub(super) fn check_count(items: usize) -> Result<()> {
    if items > LONGEST_LIST {
        return Err(Error::new(format!("the template makes a list of more than {LONGEST_LIST} items")));
    }
    Ok(())
}

fn joined(left: &[Value], right: &[Value]) -> Result<Vec<Value>> {
    check_count(left.len() + right.len())?;
    Ok(left.iter().chain(right).cloned().collect())
}

fn repeated(items: &[Value], times: usize) -> Result<Vec<Value>> {
    check_count(items.len().saturating_mul(times))?;
    Ok(std::iter::repeat_n(items, times).flatten().cloned().collect())
}

/// `markupsafe.escape`
pub(super) fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('\'', "&#39;").replace('"', "&#34;")
}

/// An integer where the operation yields one.
fn integers(operator: Operator, left: i128, right: i128) -> Result<Option<i128>> {
    let number = match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::FloorDivide | Operator::Modulo if right == 0 => return Err(Error::new("division by zero")),
        Operator::FloorDivide => left.checked_div_euclid(right).map(|quotient| {
            // Euclidean division rounds up for negative divisors.
            if right < 0 && left.rem_euclid(right) != 0 { quotient - 1 } else { quotient }
        }),
        Operator::Modulo => {
            left.checked_rem(right).map(|rest| if rest != 0 && (rest < 0) != (right < 0) { rest + right } else { rest })
        }
        Operator::Power if right >= 0 => u32::try_from(right).ok().and_then(|power| left.checked_pow(power)),
        Operator::Divide | Operator::Power => return Ok(None),
    };
    number.map(Some).ok_or_else(|| Error::new("an integer is too large"))
}

fn floats(operator: Operator, left: f64, right: f64) -> Result<f64> {
    let divides = matches!(operator, Operator::Divide | Operator::FloorDivide | Operator::Modulo);
    if divides && right == 0.0 {
        return Err(Error::new("division by zero"));
    }
    let modulo = || {
        let rest = left % right;
        if rest != 0.0 && (rest < 0.0) != (right < 0.0) { rest + right } else { rest }
    };
    Ok(match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
        Operator::FloorDivide => ((left - modulo()) / right).round(),
        Operator::Modulo => modulo(),
        Operator::Power => {
            if left == 0.0 && right < 0.0 {
                return Err(Error::new("zero to a negative power"));
            }
            left.powf(right)
        }
    })
}

fn symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::Add => "+",
        Operator::Subtract => "-",
        Operator::Multiply => "*",
        Operator::Divide => "/",
        Operator::FloorDivide => "//",
        Operator::Modulo => "%",
        Operator::Power => "** or pow()",
    }
}
