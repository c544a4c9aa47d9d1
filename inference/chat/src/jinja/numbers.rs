//! Filters that make numbers: `int`, `float`, `abs` and `round`.

use super::arguments::{Argument, Arguments};
use super::operators::{arithmetic, undefined_error};
use super::printing::is_space;
use super::syntax::Operator;
use super::value::Value;
use super::{Error, Result};

/// `value|int`, `value|float`, `value|abs`, `value|round`
pub(super) fn apply(value: &Value, name: &str, arguments: Arguments) -> Result<Value> {
    match name {
        "int" => {
            let [default, base] = arguments.bind(name, ["default", "base"])?;
            let base = base.int_or(10)?;
            let parsed = match value {
                Value::Undefined(message) => return Err(undefined_error(message)),
                Value::Text(text) | Value::Markup(text) => parse_int(text, base).or_else(|| {
                    parse_float(text).filter(|number| number.is_finite()).map(|number| number.trunc() as i128)
                }),
                Value::Float(number) => number.is_finite().then_some(number.trunc() as i128),
                other => other.as_int(),
            };
            Ok(parsed.map(Value::Int).or(default).unwrap_or(Value::Int(0)))
        }
        "float" => {
            let [default] = arguments.bind(name, ["default"])?;
            let parsed = match value {
                Value::Undefined(message) => return Err(undefined_error(message)),
                Value::Text(text) | Value::Markup(text) => parse_float(text),
                other => other.as_float(),
            };
            Ok(parsed.map(Value::Float).or(default).unwrap_or(Value::Float(0.0)))
        }
        "abs" => {
            arguments.none(name)?;
            match value {
                Value::Undefined(message) => Err(undefined_error(message)),
                Value::Float(number) => Ok(Value::Float(number.abs())),
                other => {
                    let number = other.as_int().and_then(i128::checked_abs);
                    number
                        .map(Value::Int)
                        .ok_or_else(|| Error::new(format!("bad operand type for abs(): '{}'", other.type_name())))
                }
            }
        }
        _ => {
            let [precision, method] = arguments.bind(name, ["precision", "method"])?;
            round(value, precision.int_or(0)?, &method.text_or("common")?)
        }
    }
}

fn round(value: &Value, precision: i128, method: &str) -> Result<Value> {
    let precision = i32::try_from(precision).map_err(|_| Error::new("a precision is too large"))?;
    match method {
        "common" => match value {
            Value::Int(_) | Value::Bool(_) if precision >= 0 => Ok(Value::Int(value.as_int().unwrap_or(0))),
            Value::Int(_) | Value::Bool(_) => {
                let unit = 10_i128.checked_pow(precision.unsigned_abs()).unwrap_or(i128::MAX);
                let number = value.as_int().unwrap_or(0);
                let (below, rest) = (number.div_euclid(unit), number.rem_euclid(unit));
                // Half to even.
                let up = rest * 2 > unit || rest * 2 == unit && below % 2 != 0;
                Ok(Value::Int((below + i128::from(up)) * unit))
            }
            Value::Float(number) if number.is_finite() => {
                if precision > 300 {
                    return Ok(Value::Float(*number));
                }
                if let Ok(digits) = usize::try_from(precision) {
                    // Decimal digits are rounded exactly, ties to even as they are in binary.
                    let rounded = format!("{number:.digits$}").parse();
                    return Ok(Value::Float(rounded.unwrap_or(*number)));
                }
                let unit = 10_f64.powi(-precision);
                Ok(Value::Float((number / unit).round_ties_even() * unit))
            }
            Value::Float(number) => Ok(Value::Float(*number)),
            Value::Undefined(message) => Err(undefined_error(message)),
            other => Err(Error::new(format!("type {} doesn't define __round__ method", other.type_name()))),
        },
        "ceil" | "floor" => {
            let scale = if precision >= 0 {
                Value::Int(
                    10_i128
                        .checked_pow(precision.unsigned_abs())
                        .ok_or_else(|| Error::new("a precision is too large"))?,
                )
            } else {
                Value::Float(10_f64.powi(precision))
            };
            let scaled = arithmetic(Operator::Multiply, value, &scale)?;
            let whole = match scaled {
                Value::Float(number) if method == "ceil" => Value::Int(number.ceil() as i128),
                Value::Float(number) => Value::Int(number.floor() as i128),
                other => other,
            };
            arithmetic(Operator::Divide, &whole, &scale)
        }
        _ => Err(Error::new("method must be common, ceil or floor")),
    }
}

fn parse_int(text: &str, base: i128) -> Option<i128> {
    let text = text.trim_matches(is_space).replace('_', "");
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(&text)),
    };
    let lower = digits.to_ascii_lowercase();
    let prefixed =
        |prefix: &str, radix: i128| (base == radix || base == 0).then(|| lower.strip_prefix(prefix)).flatten();
    let (digits, radix) = prefixed("0x", 16)
        .map(|digits| (digits, 16))
        .or_else(|| prefixed("0o", 8).map(|digits| (digits, 8)))
        .or_else(|| prefixed("0b", 2).map(|digits| (digits, 2)))
        .unwrap_or((&lower, if base == 0 { 10 } else { base }));
    let radix = u32::try_from(radix).ok().filter(|radix| (2..=36).contains(radix))?;
    if digits.starts_with(['-', '+']) {
        return None;
    }
    Some(sign * i128::from_str_radix(digits, radix).ok()?)
}

pub(super) fn parse_float(text: &str) -> Option<f64> {
    text.trim_matches(is_space).replace('_', "").parse().ok()
}
