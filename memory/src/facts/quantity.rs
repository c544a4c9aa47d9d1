//! What kind of value a fact gives, and when two of them are the same: `30 s` is `0.5 min`.

use std::sync::LazyLock;

use regex::Regex;

/// A value, as far as it can be compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// In the base unit of its dimension.
    Quantity(&'static str, f64),
    Weekday(usize),
    Month(usize),
    /// Digits of a date or time, as they are written.
    Date(String),
    /// On or off, yes or no.
    Switch(bool),
    Currency(&'static str),
    /// Something with a name: a person, a place, a program, a path, an address.
    Name(String),
    /// Words.
    Other(String),
}

const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const MONTHS: [&str; 12] = [
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
const ON: [&str; 8] = ["on", "yes", "true", "enabled", "active", "allowed", "mandatory", "required"];
const OFF: [&str; 9] =
    ["off", "no", "false", "disabled", "inactive", "forbidden", "optional", "deprecated", "not allowed"];
const CURRENCIES: [(&str, &[&str]); 8] = [
    ("EUR", &["euro", "euros", "eur", "€"]),
    ("USD", &["dollar", "dollars", "us dollars", "usd", "$"]),
    ("GBP", &["pound", "pounds", "pound sterling", "gbp", "£"]),
    ("CHF", &["franc", "francs", "swiss francs", "chf"]),
    ("JPY", &["yen", "jpy", "¥"]),
    ("CNY", &["yuan", "renminbi", "cny", "rmb"]),
    ("INR", &["rupee", "rupees", "inr", "₹"]),
    ("SEK", &["krona", "kronor", "sek"]),
];
/// Dimension, how much of its base unit, and what the unit is called.
const UNITS: [(&str, f64, &[&str]); 30] = [
    ("time", 1e-9, &["ns", "nanosecond", "nanoseconds"]),
    ("time", 1e-6, &["us", "µs", "microsecond", "microseconds"]),
    ("time", 1e-3, &["ms", "millisecond", "milliseconds"]),
    ("time", 1.0, &["s", "sec", "secs", "second", "seconds"]),
    ("time", 60.0, &["min", "mins", "minute", "minutes"]),
    ("time", 3600.0, &["h", "hr", "hrs", "hour", "hours"]),
    ("time", 86_400.0, &["d", "day", "days"]),
    ("time", 604_800.0, &["week", "weeks"]),
    ("time of the calendar", 1.0, &["month", "months"]),
    ("time of the calendar", 12.0, &["year", "years"]),
    ("bytes", 1.0, &["b", "byte", "bytes"]),
    ("bytes", 1e3, &["kb", "kilobyte", "kilobytes"]),
    ("bytes", 1e6, &["mb", "megabyte", "megabytes"]),
    ("bytes", 1e9, &["gb", "gigabyte", "gigabytes"]),
    ("bytes", 1e12, &["tb", "terabyte", "terabytes"]),
    ("bytes", 1024.0, &["kib"]),
    ("bytes", 1_048_576.0, &["mib"]),
    ("bytes", 1_073_741_824.0, &["gib"]),
    ("bytes", 1_099_511_627_776.0, &["tib"]),
    ("length", 1e-3, &["mm", "millimetre", "millimetres", "millimeters"]),
    ("length", 1e-2, &["cm", "centimetre", "centimetres", "centimeters"]),
    ("length", 1.0, &["m", "metre", "metres", "meter", "meters"]),
    ("length", 1e3, &["km", "kilometre", "kilometres", "kilometers"]),
    ("mass", 1.0, &["g", "gram", "grams"]),
    ("mass", 1e3, &["kg", "kilogram", "kilograms"]),
    ("mass", 1e6, &["t", "ton", "tons", "tonne", "tonnes"]),
    ("share", 0.01, &["%", "percent", "per cent"]),
    ("temperature", 1.0, &["°c", "degrees", "degrees celsius"]),
    ("number", 1.0, &[""]),
    ("tokens", 1.0, &["token", "tokens"]),
];

/// Say what kind of thing a name or a number is.
const LABELS: [&str; 18] = [
    "host",
    "server",
    "machine",
    "node",
    "port",
    "database",
    "cluster",
    "schema",
    "branch",
    "version",
    "region",
    "zone",
    "room",
    "building",
    "folder",
    "directory",
    "bucket",
    "channel",
];

static QUANTITY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^(?P<before>[€$£¥₹]?)\s?(?P<number>[+-]?\d[\d,_]*(?:\.\d+)?)\s?(?P<factor>k|thousand|million|billion)?\s?(?P<unit>[\p{L}%°µ€$£¥₹][\p{L} ]*)?$").ok()
});
static DATE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^(?:\d{4}-\d{2}(?:-\d{2})?(?:[t ]\d{2}:\d{2}.*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d{1,2}(?::\d{2})+(?: ?[ap]m)?|\d{1,2}(?:st|nd|rd|th)?(?: of)? [a-z]+(?: \d{4})?|[a-z]+ \d{1,2}(?:st|nd|rd|th)?(?:,? \d{4})?)$").ok()
});

impl Value {
    /// `text` as it was written, without quotes and final punctuation.
    pub fn read(text: &str) -> Self {
        let whole = Self::read_bare(text);
        // `host db9` is db9, and `port 8080` is 8080.
        let labelled = text.trim().split_once(' ').filter(|(label, _)| LABELS.contains(&label.to_lowercase().as_str()));
        match labelled.map(|(_, rest)| Self::read_bare(rest)) {
            Some(value) if whole.is_words() && !value.is_words() => value,
            _ => whole,
        }
    }

    fn read_bare(text: &str) -> Self {
        let text = text.trim();
        let lower = text.to_lowercase();
        let bare = lower.trim_start_matches("the ").trim();
        let position = |words: &[&str]| words.iter().position(|word| *word == bare);
        if let Some(day) = position(&WEEKDAYS).or_else(|| WEEKDAYS.iter().position(|day| format!("{day}s") == bare)) {
            return Self::Weekday(day);
        }
        if let Some(month) = position(&MONTHS) {
            return Self::Month(month);
        }
        if let Some((name, _)) = CURRENCIES.iter().find(|(_, words)| words.contains(&bare)) {
            return Self::Currency(name);
        }
        if ON.contains(&bare) || OFF.contains(&bare) {
            return Self::Switch(ON.contains(&bare));
        }
        if let Some(quantity) = quantity(bare) {
            return quantity;
        }
        if DATE.as_ref().is_some_and(|date| date.is_match(bare)) && only_months(bare) {
            return Self::Date(bare.replace(" of ", " "));
        }
        if is_name(text) {
            Self::Name(bare.trim_matches(['`', '"', '\'']).to_owned())
        } else {
            Self::Other(bare.to_owned())
        }
    }

    /// Whether two values of the same thing cannot both be right. Of words nobody can say that.
    pub fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Quantity(one, _), Self::Quantity(two, _)) => one == two && self != other,
            (Self::Weekday(_), Self::Weekday(_))
            | (Self::Month(_), Self::Month(_))
            | (Self::Date(_), Self::Date(_))
            | (Self::Switch(_), Self::Switch(_))
            | (Self::Currency(_), Self::Currency(_))
            | (Self::Name(_), Self::Name(_)) => self != other,
            _ => false,
        }
    }

    pub fn is_name(&self) -> bool {
        matches!(self, Self::Name(_))
    }

    pub fn is_words(&self) -> bool {
        matches!(self, Self::Other(_))
    }
}

fn quantity(text: &str) -> Option<Value> {
    let captures = QUANTITY.as_ref()?.captures(text)?;
    let number: f64 = captures.name("number")?.as_str().replace([',', '_'], "").parse().ok()?;
    let factor = match captures.name("factor").map(|factor| factor.as_str()) {
        Some("k" | "thousand") => 1e3,
        Some("million") => 1e6,
        Some("billion") => 1e9,
        _ => 1.0,
    };
    let before = captures.name("before").map_or("", |before| before.as_str());
    let unit = captures.name("unit").map_or(before, |unit| unit.as_str().trim());
    if let Some((currency, _)) = CURRENCIES.iter().find(|(_, words)| words.contains(&unit)) {
        return Some(Value::Quantity(currency, number * factor));
    }
    let (dimension, scale, _) = UNITS.iter().find(|(_, _, words)| words.contains(&unit))?;
    // Rounded, so that 0.5 min and 30 s are equal whatever the last bit says.
    let value = number * factor * scale;
    Some(Value::Quantity(dimension, format!("{value:.9e}").parse().unwrap_or(value)))
}

/// Whether the words in it are names of months, and what belongs to a day's number or an hour.
fn only_months(text: &str) -> bool {
    let mut words = text.split(|character: char| !character.is_alphabetic()).filter(|word| !word.is_empty());
    let belongs = |word: &str| ["st", "nd", "rd", "th", "of", "am", "pm", "t", "z"].contains(&word);
    words.all(|word| belongs(word) || (word.len() > 2 && MONTHS.iter().any(|month| month.starts_with(word))))
}

/// Every word has a capital, or is written like something of a program: `a_b`, `a/b`, `a.b`, `v2`.
fn is_name(text: &str) -> bool {
    let quoted = text.len() > 2
        && [('`', '`'), ('"', '"'), ('\'', '\'')]
            .iter()
            .any(|(begin, end)| text.starts_with(*begin) && text.ends_with(*end));
    let technical = |word: &str| {
        word.contains(['_', '/', '.', '@', ':', '\\']) || word.chars().any(|character| character.is_ascii_digit())
    };
    let capital = |word: &str| word.chars().next().is_some_and(char::is_uppercase);
    let linking = ["of", "and", "the", "de", "von", "van", "la"];
    let mut words = text.split_whitespace().filter(|word| !linking.contains(word)).peekable();
    quoted
        || (words.peek().is_some() && words.clone().count() <= 4 && words.all(|word| capital(word) || technical(word)))
}

#[cfg(test)]
mod tests {
    use super::Value;

    #[test]
    fn the_same_quantity_in_other_units_is_the_same() {
        for (one, other) in [
            ("30 s", "0.5 minutes"),
            ("30 seconds", "30s"),
            ("1,000 EUR", "€1000"),
            ("2 GB", "2000 MB"),
            ("1 GiB", "1024 MiB"),
            ("50%", "50 percent"),
            ("2k", "2000"),
            ("Mondays", "monday"),
            ("dollars", "USD"),
            ("the 3rd of May", "3rd May"),
        ] {
            assert_eq!(Value::read(one), Value::read(other), "{one}, {other}");
            assert!(!Value::read(one).excludes(&Value::read(other)));
        }
    }

    #[test]
    fn only_values_of_one_kind_exclude_each_other() {
        for (one, other) in [
            ("30 s", "60 s"),
            ("May", "June"),
            ("enabled", "disabled"),
            ("PostgreSQL", "MySQL"),
            ("src/main.rs", "src/lib.rs"),
            ("3.2", "3.3"),
            ("2026-01-01", "2026-02-01"),
            ("euro", "dollars"),
        ] {
            assert!(Value::read(one).excludes(&Value::read(other)), "{one}, {other}");
        }
        for (one, other) in
            [("30 s", "30 GB"), ("fast", "old"), ("large", "12 GB"), ("May", "fast"), ("very slow", "blue")]
        {
            assert!(!Value::read(one).excludes(&Value::read(other)), "{one}, {other}");
        }
    }
}
