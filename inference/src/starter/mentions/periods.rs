//! Days, months, quarters, years and what lies before today.

use std::sync::LazyLock;

use regex::Regex;

use crate::starter::linking::Period;

use crate::starter::words::Word;

pub(super) static DAY: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\d{4}-\d{2}-\d{2}$").ok());

const MONTHS: &[&str] = &[
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// The period that starts at a word, and how many words name it.
pub(super) fn period(words: &[Word], index: usize) -> Option<(Period, usize)> {
    let word = &words[index];
    if DAY.as_ref().is_some_and(|day| day.is_match(&word.lower)) {
        return Some((Period::Day(word.lower.clone()), 1));
    }
    if let Some(year) = year(&word.lower) {
        return Some((Period::Year(year), 1));
    }
    if let Some(day) = written_day(words, index) {
        return Some(day);
    }
    let short = word.lower.trim_end_matches('.');
    if let Some(month) =
        MONTHS.iter().position(|month| *month == short || (short.len() == 3 && month.starts_with(short)))
    {
        // "may" and "march" are months only where the words around them say so.
        let ambiguous = matches!(short, "may" | "march" | "mar");
        let after_preposition = index > 0
            && matches!(
                words[index - 1].lower.as_str(),
                "in" | "of" | "since" | "during" | "for" | "until" | "before" | "after" | "from" | "to"
            );
        let month = month as u32 + 1;
        if let (Some(year), length) = year_behind(words, index + 1) {
            return Some((Period::Month { year: Some(year), month }, 1 + length));
        }
        return (!ambiguous || after_preposition).then_some((Period::Month { year: None, month }, 1));
    }
    if let Some(quarter) =
        short.strip_prefix('q').and_then(|digit| digit.parse::<u32>().ok()).filter(|quarter| (1..=4).contains(quarter))
    {
        let (year, length) = year_behind(words, index + 1);
        return Some((Period::Quarter { year, quarter }, 1 + length));
    }
    if let Some(quarter) = ["first", "second", "third", "fourth"].iter().position(|ordinal| *ordinal == word.lower)
        && words.get(index + 1).is_some_and(|next| next.lower == "quarter")
    {
        let (year, length) = year_behind(words, index + 2);
        return Some((Period::Quarter { year, quarter: quarter as u32 + 1 }, 2 + length));
    }
    match word.lower.as_str() {
        "today" => return Some((Period::Today, 1)),
        "yesterday" => return Some((Period::Yesterday, 1)),
        _ => {}
    }
    let back = match word.lower.as_str() {
        "this" | "current" => 0,
        "last" | "previous" | "past" => 1,
        _ => return None,
    };
    let unit = match words.get(index + 1)?.lower.as_str() {
        "week" => "week",
        "month" => "month",
        "quarter" => "quarter",
        "year" => "year",
        _ => return None,
    };
    Some((Period::Relative { unit, back }, 2))
}

/// A day with its month in words: `March 5, 2024`, `5 March 2024`, `5th of March 2024`.
fn written_day(words: &[Word], index: usize) -> Option<(Period, usize)> {
    let lower = |position: usize| words.get(position).map(|word| word.lower.trim_end_matches('.'));
    let month = |position: usize| {
        let name = lower(position).filter(|name| name.len() > 2)?;
        MONTHS
            .iter()
            .position(|month| *month == name || (name.len() < 5 && month.starts_with(name)))
            .map(|month| month + 1)
    };
    let day = |position: usize| {
        let digits = lower(position)?.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        digits.parse::<u32>().ok().filter(|day| (1..=31).contains(day) && digits.len() < 3)
    };
    let year = |position: usize| words.get(position).and_then(|word| year(&word.lower));
    let of = usize::from(lower(index + 1) == Some("of"));
    let (day, month, year, length) = match (month(index), day(index)) {
        (Some(month), _) => (day(index + 1)?, month, year(index + 2)?, 3),
        (_, Some(day)) => (day, month(index + 1 + of)?, year(index + 2 + of)?, 3 + of),
        _ => return None,
    };
    Some((Period::Day(format!("{year:04}-{month:02}-{day:02}")), length))
}

/// The year at a word or behind its `of`, and how many words that takes.
fn year_behind(words: &[Word], index: usize) -> (Option<i32>, usize) {
    let of = usize::from(words.get(index).is_some_and(|word| word.lower == "of"));
    let year = words.get(index + of).and_then(|word| year(&word.lower));
    (year, if year.is_some() { 1 + of } else { 0 })
}

fn year(word: &str) -> Option<i32> {
    (word.len() == 4).then(|| word.parse::<i32>().ok()).flatten().filter(|year| (1900..2100).contains(year))
}
