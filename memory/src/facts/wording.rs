//! The words around what a fact says: how people begin, end and correct themselves.

use std::sync::LazyLock;

use regex::Regex;

/// Asks for something to be kept, and is no part of it.
const OPENINGS: [&str; 9] = [
    "remember that ",
    "remember: ",
    "remember, ",
    "note that ",
    "note: ",
    "please ",
    "from now on, ",
    "from now on ",
    "always ",
];

/// Ends a sentence, and adds nothing to what it says.
const ENDINGS: [&str; 8] =
    [" from now on", " these days", " as of today", " as of now", " by now", " going forward", " at last", " instead"];

/// Turns to a person before anything is said.
static BEFORE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)^(?:(?:no|nope|nah|yes|yeah|yep|right|wrong|ok|okay|well|hm+|so|now|wait|sorry|oops|look|listen|correction|update|fyi|thanks|thank you|great|hello|hi|hey)(?: again| sorry| wait)?\s*[,:;!.…–—-]+\s*|(?:actually|also|btw|by the way|in fact|as a matter of fact|for the record|just so you know|for your information|to be clear|to correct (?:myself|that)|i (?:meant|mean)(?: to say)?|as of (?:now|today)|it turns out|turns out|that's wrong|that’s wrong|not true)\b[,:;–—-]*\s+(?:that\s+)?|(?:and|but)\s+)+",
    )
    .ok()
});

/// A sentence without `no,`, `actually` and the like before it.
pub(super) fn without_opening(text: &str) -> &str {
    let begin = BEFORE.as_ref().and_then(|before| before.find(text)).map_or(0, |found| found.end());
    let rest = text.get(begin..).unwrap_or(text).trim_start();
    // `no the port is 8080` says so without a comma; `no data is lost` does not.
    let denied = rest.get(..3).filter(|no| no.eq_ignore_ascii_case("no ")).and_then(|_| rest.get(3..));
    let speaks = |rest: &&str| {
        ["the ", "our ", "my ", "i ", "we "]
            .iter()
            .any(|word| rest.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word)))
    };
    denied.filter(speaks).unwrap_or(rest)
}

/// Without openings, contractions and a final full stop.
pub(super) fn plain(text: &str) -> String {
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text = without_opening(&text).to_owned();
    for (short, long) in [
        ("n't", " not"),
        ("n’t", " not"),
        ("I'm", "I am"),
        ("we're", "we are"),
        ("it's", "it is"),
        ("ca not", "can not"),
        ("wo not", "will not"),
    ] {
        text = text.replace(short, long);
    }
    // When it was said does not matter.
    let timeless = text.split(' ').filter(|word| {
        let word = word.trim_end_matches([',', '.', '!']).to_lowercase();
        !["now", "currently", "nowadays", "actually"].contains(&word.as_str())
    });
    let text = timeless.collect::<Vec<_>>().join(" ");
    let mut rest = text.trim_end_matches(['.', '!', ';', ',', ' ']);
    while let Some(shorter) = ENDINGS.iter().find_map(|ending| {
        let at = rest.len().checked_sub(ending.len())?;
        rest.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(ending)).then(|| rest.get(..at)).flatten()
    }) {
        rest = shorter.trim_end_matches([',', ' ']);
    }
    while let Some(opening) = OPENINGS
        .iter()
        .find(|opening| rest.get(..opening.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(opening)))
    {
        rest = rest.get(opening.len()..).unwrap_or_default();
    }
    rest.to_owned()
}

/// The value that is said to hold where another one is denied beside it: `db9, not db7`; `not db7 but db9`.
pub(super) fn set_right<'a>(value: &'a str, how: Option<&str>, negated: bool) -> (&'a str, bool) {
    if negated {
        let Some((_, value)) = value.split_once(" but ") else { return (value, true) };
        let again = how.and_then(|how| value.strip_prefix(how)).and_then(|value| value.strip_prefix(' '));
        return (again.unwrap_or(value), false);
    }
    let denied = [", not ", " and not ", " instead of ", " rather than ", " (not "];
    let end = denied.iter().filter_map(|denial| value.find(denial)).min();
    (end.and_then(|end| value.get(..end)).unwrap_or(value), false)
}

/// A name for what is spoken of: without articles, in small letters.
pub(super) fn subject(text: &str) -> String {
    let lower = text.trim().trim_matches(['`', '"', '\'']).to_lowercase();
    let mut rest = lower.as_str();
    while let Some(shorter) =
        ["the ", "a ", "an ", "our ", "this ", "that ", "its "].iter().find_map(|article| rest.strip_prefix(article))
    {
        rest = shorter;
    }
    rest.to_owned()
}
