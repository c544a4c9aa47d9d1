//! A calculator for what people write, exact where numbers allow it.
//!
//! Numbers are fractions of whole numbers while they fit into 128 bits, so `0.1 + 0.2` is
//! `0.3` and `2^100` has all its digits; roots, logarithms and the like are floating point,
//! shown with 15 significant digits.
//!
//! The language: `+ - * / %` (remainder) `^` (power, also `**`), parentheses, postfix `!`
//! (factorial) and `%` (percent), `of`, the constants `pi`, `e`, `tau`, numbers as
//! `1,234.5`, `1_000` or `2.5e-3`, and the functions of [`FUNCTIONS`]. `200 + 10%` is 220,
//! as on a pocket calculator; `15% of 240` is 36. The remainder has the divisor's sign.

mod functions;
mod number;
mod parser;

pub use functions::FUNCTIONS;

/// Why something could not be calculated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalculateError {
    #[error("there is nothing to calculate")]
    Empty,
    #[error("the expression is too long ({0} characters; at most {MOST_CHARACTERS})")]
    TooLong(usize),
    #[error("the expression is nested too deeply")]
    TooDeep,
    #[error("expected {expected} at position {position}, found {found}")]
    Unexpected { expected: &'static str, position: usize, found: String },
    #[error("{name:?} is not known{}", suggestion.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_else(|| "; names are pi, e, tau and functions such as sqrt, round, min".to_owned()))]
    UnknownName { name: String, suggestion: Option<String> },
    #[error("{name} takes {expected}, not {given}")]
    Arguments { name: String, expected: String, given: usize },
    #[error("{text:?} is not a number; thousands are grouped by three (1,234,567)")]
    Number { text: String },
    #[error("division by zero")]
    DivisionByZero,
    #[error("{0}")]
    Undefined(String),
    #[error("the result is too large")]
    TooLarge,
}

const MOST_CHARACTERS: usize = 4096;

/// Calculates an expression; the result is written in plain decimals.
pub fn evaluate(expression: &str) -> Result<String, CalculateError> {
    let characters = expression.chars().count();
    if characters > MOST_CHARACTERS {
        return Err(CalculateError::TooLong(characters));
    }
    Ok(parser::evaluate(expression)?.to_string())
}
