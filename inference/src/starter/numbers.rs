//! The numbers that words write.

use std::sync::LazyLock;

use regex::Regex;

use super::words::Word;

static DIGITS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[$€£]?-?\d[\d,]*(?:\.\d+)?(k|m|%)?$").ok());

const SMALL: &[&str] = &[
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: &[&str] = &["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
/// How a number below twenty, or whole tens below a hundred, is written.
pub(super) fn name(number: usize) -> &'static str {
    let tens = || TENS.get((number / 10).checked_sub(2)?);
    SMALL.get(number).or_else(tens).copied().unwrap_or_default()
}

const LARGE: &[(&str, f64)] =
    &[("dozen", 12.0), ("hundred", 1e2), ("thousand", 1e3), ("million", 1e6), ("billion", 1e9)];
/// Words that multiply, divide or raise by a number.
const FACTORS: &[(&str, &str)] = &[
    ("double", "2"),
    ("twice", "2"),
    ("doubled", "2"),
    ("triple", "3"),
    ("tripled", "3"),
    ("quadruple", "4"),
    ("squared", "2"),
    ("cubed", "3"),
];
/// The same, only in front of "of".
const SHARES: &[(&str, &str)] =
    &[("half", "2"), ("third", "3"), ("quarter", "4"), ("fifth", "5"), ("eighth", "8"), ("tenth", "10")];

/// The number that starts at a word, in digits, and how many words write it: `1,200`, `5k`, `seven`,
/// `twenty five`, `3 million`, `two hundred and fifty`, `a dozen`, `half of`.
pub fn at(words: &[Word], index: usize) -> Option<(String, usize)> {
    let word = words.get(index)?;
    let next = words.get(index + 1).map_or("", |word| word.lower.as_str());
    let known = |names: &[(&str, &str)]| {
        names.iter().find(|(name, _)| *name == word.lower).map(|(_, digits)| ((*digits).to_owned(), 1))
    };
    if let Some(found) = known(FACTORS) {
        return Some(found);
    }
    if next == "of"
        && let Some(found) = known(SHARES)
    {
        return Some(found);
    }
    if let Some(digits) = digits(word) {
        return match large(next).and_then(|scale| Some(digits.parse::<f64>().ok()? * scale)) {
            Some(value) => Some((value.to_string(), 2)),
            None => Some((digits, 1)),
        };
    }
    // "Which one" and "the one with" count nothing.
    let before = index.checked_sub(1).and_then(|before| words.get(before)).map_or("", |word| word.lower.as_str());
    if word.lower == "one"
        && (matches!(
            before,
            "the" | "which" | "this" | "that" | "each" | "every" | "no" | "what" | "any" | "cheapest" | "best"
        ) || next.is_empty()
            || matches!(next, "with" | "of" | "is" | "has" | "that"))
    {
        return None;
    }
    written(words, index)
}

fn digits(word: &Word) -> Option<String> {
    let capture = DIGITS.as_ref()?.captures(&word.lower)?;
    let suffix = capture.get(1).map_or("", |group| group.as_str());
    let digits = word.lower.trim_end_matches(suffix).replace([',', '$', '€', '£'], "");
    match suffix {
        "k" => digits.parse::<f64>().ok().map(|value| (value * 1e3).to_string()),
        "m" => digits.parse::<f64>().ok().map(|value| (value * 1e6).to_string()),
        _ => Some(digits),
    }
}

fn large(word: &str) -> Option<f64> {
    LARGE.iter().find(|(name, _)| *name == word || word.strip_suffix('s') == Some(name)).map(|(_, scale)| *scale)
}

/// A number all in words.
fn written(words: &[Word], index: usize) -> Option<(String, usize)> {
    let (mut total, mut current, mut length) = (0.0, 0.0, 0);
    while let Some(word) = words.get(index + length) {
        let value = word.lower.split('-').map(below_hundred).sum::<Option<f64>>();
        if let Some(value) = value {
            // "Five six" are two numbers, "twenty five" and "hundred five" are one.
            let fits = length == 0
                || (value < 10.0 && current % 100.0 >= 20.0 && current % 10.0 == 0.0)
                || current % 100.0 == 0.0;
            if !fits {
                break;
            }
            current += value;
        } else if let Some(scale) = large(&word.lower) {
            current = if current == 0.0 { 1.0 } else { current } * scale;
            if scale >= 1e3 {
                total += current;
                current = 0.0;
            }
        } else if word.lower == "and"
            && current >= 100.0
            && words.get(index + length + 1).is_some_and(|next| below_hundred(&next.lower).is_some())
        {
            // "Two hundred and fifty".
        } else {
            break;
        }
        length += 1;
    }
    (length > 0).then(|| ((total + current).to_string(), length))
}

fn below_hundred(word: &str) -> Option<f64> {
    let small = SMALL.iter().position(|name| *name == word).map(|value| value as f64);
    small.or_else(|| TENS.iter().position(|name| *name == word).map(|tens| (tens as f64 + 2.0) * 10.0))
}
