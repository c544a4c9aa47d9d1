//! Format specifications: how a field is padded and a number is written.

use super::printing::float;
use super::strings::pad;
use super::value::Value;
use super::{Error, Result};

/// How wide a field or how precise a number may be asked to be.
const WIDEST: usize = 100_000;

/// Python's format specification: `[[fill]align][sign][#][0][width][grouping][.precision][type]`.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) fill: char,
    pub(super) align: Option<char>,
    pub(super) sign: char,
    pub(super) alternate: bool,
    pub(super) width: usize,
    pub(super) grouping: Option<char>,
    pub(super) precision: Option<usize>,
    pub(super) kind: Option<char>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            fill: ' ',
            align: None,
            sign: '-',
            alternate: false,
            width: 0,
            grouping: None,
            precision: None,
            kind: None,
        }
    }
}

impl Spec {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut spec = Self::default();
        let characters: Vec<char> = text.chars().take(2).collect();
        let is_align = |character: Option<&char>| character.is_some_and(|align| "<>=^".contains(*align));
        let mut rest = text;
        if is_align(characters.get(1)) {
            spec.fill = characters.first().copied().unwrap_or(' ');
            spec.align = characters.get(1).copied();
            rest = &rest[spec.fill.len_utf8() + 1..];
        } else if is_align(characters.first()) {
            spec.align = characters.first().copied();
            rest = &rest[1..];
        }
        if let Some(sign) = rest.chars().next().filter(|sign| "+- ".contains(*sign)) {
            spec.sign = sign;
            rest = &rest[1..];
        }
        if let Some(after) = rest.strip_prefix('#') {
            spec.alternate = true;
            rest = after;
        }
        if let Some(after) = rest.strip_prefix('0') {
            if spec.align.is_none() {
                (spec.fill, spec.align) = ('0', Some('='));
            }
            rest = after;
        }
        spec.width = take_number(&mut rest)?.unwrap_or(0);
        if let Some(grouping) = rest.chars().next().filter(|grouping| ",_".contains(*grouping)) {
            spec.grouping = Some(grouping);
            rest = &rest[1..];
        }
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            spec.precision =
                Some(take_number(&mut rest)?.ok_or_else(|| Error::new("Format specifier missing precision"))?);
        }
        let mut kinds = rest.chars();
        spec.kind = kinds.next();
        if kinds.next().is_some() {
            return Err(Error::new(format!("Invalid format specifier '{text}'")));
        }
        Ok(spec)
    }

    pub(super) fn text(&self, text: &str, right: bool) -> Result<String> {
        let how = match self.align {
            Some('>') | Some('=') => "rjust",
            Some('^') => "center",
            None if right => "rjust",
            _ => "ljust",
        };
        let fill = if right { ' ' } else { self.fill };
        if how == "center" {
            // Unlike str.center, a field has the odd one on the right.
            let missing = self.width.saturating_sub(text.chars().count());
            let left = pad(text, "rjust", (text.chars().count() + missing / 2) as i128, fill)?;
            return pad(&left, "ljust", self.width as i128, fill);
        }
        pad(text, how, self.width as i128, fill)
    }

    pub(super) fn number(&self, value: &Value) -> Result<String> {
        let (negative, digits, prefix) = self.digits(value)?;
        let sign = match (negative, self.sign) {
            (true, _) => "-",
            (false, '+') => "+",
            (false, ' ') => " ",
            _ => "",
        };
        let digits = self.grouping.map_or(digits.clone(), |separator| grouped(&digits, separator));
        let number = format!("{sign}{prefix}{digits}");
        if self.align == Some('=') {
            let before = format!("{sign}{prefix}");
            return Ok(before.clone() + &pad(&digits, "rjust", self.width as i128 - before.len() as i128, self.fill)?);
        }
        let aligned = Self { align: self.align.or(Some('>')), ..self.clone() };
        aligned.text(&number, false)
    }

    /// Whether the number is negative, its digits, and a prefix as `#` asks for.
    fn digits(&self, value: &Value) -> Result<(bool, String, &'static str)> {
        let whole = value.as_int();
        if let (Some(number), None | Some('d' | 'n' | 'x' | 'X' | 'o' | 'b' | 'c')) = (whole, self.kind) {
            let magnitude = number.unsigned_abs();
            let (digits, prefix) = match self.kind {
                Some('x') => (format!("{magnitude:x}"), "0x"),
                Some('X') => (format!("{magnitude:X}"), "0X"),
                Some('o') => (format!("{magnitude:o}"), "0o"),
                Some('b') => (format!("{magnitude:b}"), "0b"),
                Some('c') => {
                    let character = u32::try_from(magnitude).ok().and_then(char::from_u32);
                    let character = character.ok_or_else(|| Error::new("%c arg not in range(0x110000)"))?;
                    return Ok((false, character.to_string(), ""));
                }
                _ => (magnitude.to_string(), ""),
            };
            return Ok((number < 0, digits, if self.alternate { prefix } else { "" }));
        }
        let Some(number) = value.as_float() else {
            return Err(Error::new(format!("unknown format code for an object of type '{}'", value.type_name())));
        };
        let magnitude = number.abs();
        let precision = self.precision.unwrap_or(6);
        let digits = match self.kind {
            _ if !number.is_finite() => float(magnitude),
            Some('f' | 'F') => format!("{magnitude:.precision$}"),
            Some('e' | 'E') => exponent(&format!("{magnitude:.precision$e}")),
            Some('%') => format!("{:.precision$}%", magnitude * 100.0),
            Some('g' | 'G') => general(magnitude, precision.max(1)),
            None if self.precision.is_some() => {
                let text = general(magnitude, precision.max(1));
                if text.contains(['.', 'e']) { text } else { text + ".0" }
            }
            None => float(magnitude),
            Some(other) => return Err(Error::new(format!("Unknown format code '{other}' for object of type 'float'"))),
        };
        let digits = if matches!(self.kind, Some('E' | 'G')) { digits.to_uppercase() } else { digits };
        Ok((number.is_sign_negative() && !number.is_nan(), digits, ""))
    }
}

/// Rust's exponent as C writes it: a sign and two digits.
fn exponent(scientific: &str) -> String {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// `%g`: as many digits as asked for, without the zeros at the end.
fn general(number: f64, precision: usize) -> String {
    let scientific = format!("{number:.*e}", precision - 1);
    let power: i32 = scientific.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0);
    let trim = |text: &str| {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text.to_string() }
    };
    if power < -4 || power >= precision as i32 {
        let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        return exponent(&format!("{}e{power}", trim(mantissa)));
    }
    let decimals = usize::try_from(precision as i32 - 1 - power).unwrap_or(0);
    trim(&format!("{number:.decimals$}"))
}

fn grouped(digits: &str, separator: char) -> String {
    let whole_end = digits.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(digits.len());
    let (whole, rest) = digits.split_at(whole_end);
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            out.push(separator);
        }
        out.push(digit);
    }
    out + rest
}

/// Takes the digits that a text begins with.
pub(super) fn take_number(rest: &mut &str) -> Result<Option<usize>> {
    let end = rest.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    if digits.is_empty() {
        return Ok(None);
    }
    let number = digits.parse().ok().filter(|number| *number <= WIDEST);
    number.map(Some).ok_or_else(|| Error::new("a width or precision in a format is too large"))
}
