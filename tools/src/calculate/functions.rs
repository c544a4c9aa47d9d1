//! The functions and constants there are.

use super::CalculateError;
use super::number::{Number, Rounding};

/// Names of the functions. Angles are in radians; `log` is to base 10, or to the base given.
pub const FUNCTIONS: [&str; 34] = [
    "sqrt",
    "cbrt",
    "abs",
    "round",
    "floor",
    "ceil",
    "trunc",
    "sign",
    "exp",
    "ln",
    "log",
    "log2",
    "log10",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "atan2",
    "sinh",
    "cosh",
    "tanh",
    "hypot",
    "pow",
    "mod",
    "degrees",
    "radians",
    "min",
    "max",
    "sum",
    "mean",
    "avg",
    "factorial",
];

pub(super) fn constant(name: &str) -> Option<Number> {
    match name {
        "pi" | "π" => Some(Number::Float(std::f64::consts::PI)),
        "e" => Some(Number::Float(std::f64::consts::E)),
        "tau" | "τ" => Some(Number::Float(std::f64::consts::TAU)),
        _ => None,
    }
}

pub(super) fn call(name: &str, arguments: &[Number]) -> Result<Number, CalculateError> {
    let wrong = |expected: &str| CalculateError::Arguments {
        name: name.to_owned(),
        expected: expected.to_owned(),
        given: arguments.len(),
    };
    match name {
        "min" | "max" | "sum" | "mean" | "avg" => {
            let (first, rest) = arguments.split_first().ok_or_else(|| wrong("one argument or more"))?;
            return over_all(name, *first, rest);
        }
        "round" | "log" if arguments.len() == 2 => {
            let (value, second) = (arguments[0], arguments[1]);
            if name == "round" {
                return value.round_to(second);
            }
            let base = positive(second, "the base of a logarithm")?;
            if base == 1.0 {
                return Err(CalculateError::Undefined("there is no logarithm to base 1".to_owned()));
            }
            return snapped(positive(value, "log")?.ln() / base.ln());
        }
        "atan2" | "hypot" | "pow" | "mod" => {
            let [first, second] = arguments else {
                return Err(wrong("two arguments"));
            };
            return match name {
                "atan2" => Number::float(first.to_f64().atan2(second.to_f64())),
                "hypot" => Number::float(first.to_f64().hypot(second.to_f64())),
                "pow" => first.power(*second),
                _ => first.remainder(*second),
            };
        }
        _ => {}
    }
    let [argument] = arguments else {
        return Err(wrong(if matches!(name, "round" | "log") { "one argument or two" } else { "one argument" }));
    };
    of_one(name, *argument)
}

fn of_one(name: &str, argument: Number) -> Result<Number, CalculateError> {
    let value = argument.to_f64();
    match name {
        "abs" => argument.abs(),
        "round" => argument.round_towards(Rounding::Nearest),
        "floor" => argument.round_towards(Rounding::Down),
        "ceil" => argument.round_towards(Rounding::Up),
        "trunc" => argument.round_towards(Rounding::ToZero),
        "sign" => Ok(Number::whole(if value > 0.0 { 1 } else { -i128::from(value < 0.0) })),
        "factorial" => argument.factorial(),
        "sqrt" if value < 0.0 => Err(CalculateError::Undefined("a negative number has no real square root".to_owned())),
        "sqrt" => square_root(argument),
        "cbrt" => Number::float(value.cbrt()),
        "exp" => Number::float(value.exp()),
        "ln" => Number::float(positive(argument, name)?.ln()),
        "log" | "log10" => Number::float(positive(argument, name)?.log10()),
        "log2" => Number::float(positive(argument, name)?.log2()),
        "sin" => snapped(value.sin()),
        "cos" => snapped(value.cos()),
        "tan" if value.cos().abs() < 1e-15 => {
            Err(CalculateError::Undefined("the tangent is not defined there".to_owned()))
        }
        "tan" => snapped(value.tan()),
        "asin" | "acos" if value.abs() > 1.0 => {
            Err(CalculateError::Undefined(format!("{name} needs a number from -1 to 1")))
        }
        "asin" => Number::float(value.asin()),
        "acos" => Number::float(value.acos()),
        "atan" => Number::float(value.atan()),
        "sinh" => Number::float(value.sinh()),
        "cosh" => Number::float(value.cosh()),
        "tanh" => Number::float(value.tanh()),
        "degrees" => snapped(value.to_degrees()),
        "radians" => Number::float(value.to_radians()),
        _ => Err(CalculateError::UnknownName {
            name: name.to_owned(),
            suggestion: crate::nearest(name, FUNCTIONS).map(str::to_owned),
        }),
    }
}

fn over_all(name: &str, first: Number, rest: &[Number]) -> Result<Number, CalculateError> {
    let mut result = first;
    for number in rest {
        result = match name {
            "min" if number.to_f64() < result.to_f64() => *number,
            "max" if number.to_f64() > result.to_f64() => *number,
            "min" | "max" => result,
            _ => result.add(*number)?,
        };
    }
    match name {
        "mean" | "avg" => result.divide(Number::whole(rest.len() as i128 + 1)),
        _ => Ok(result),
    }
}

/// Exact for squares of fractions.
fn square_root(argument: Number) -> Result<Number, CalculateError> {
    let root = |value: i128| u128::try_from(value).ok().map(u128::isqrt).filter(|root| root * root == value as u128);
    if let Number::Exact { numerator, denominator } = argument
        && let (Some(top), Some(bottom)) = (root(numerator), root(denominator))
    {
        return Number::whole(top as i128).divide(Number::whole(bottom as i128));
    }
    Number::float(argument.to_f64().sqrt())
}

fn positive(argument: Number, what: &str) -> Result<f64, CalculateError> {
    let value = argument.to_f64();
    if value > 0.0 { Ok(value) } else { Err(CalculateError::Undefined(format!("{what} needs a number above 0"))) }
}

/// Takes the last digit's noise off what is a whole number but for it: sin(pi), log(8, 2).
fn snapped(value: f64) -> Result<Number, CalculateError> {
    let nearest = value.round();
    let noise = 4.0 * f64::EPSILON * nearest.abs().max(1.0);
    Number::float(if (value - nearest).abs() <= noise { nearest } else { value })
}
