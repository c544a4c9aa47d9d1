//! The order that a request asks for.

use crate::starter::notation::Keyword;
use crate::starter::words::Word;

pub(super) fn order(words: &[Word]) -> Option<Keyword> {
    let superlative = |names: &[&str]| {
        words.iter().enumerate().any(|(index, word)| {
            // "At least" and "at most" order nothing; "least expensive" orders the other way.
            let at = index > 0 && words[index - 1].lower == "at";
            let reversed = index > 0 && words[index - 1].lower == "least";
            names.contains(&word.lower.as_str()) && !at && !reversed
        })
    };
    let largest = superlative(&[
        "highest",
        "largest",
        "biggest",
        "most",
        "top",
        "greatest",
        "maximum",
        "max",
        "latest",
        "newest",
        "longest",
        "priciest",
        "heaviest",
        "tallest",
        "busiest",
        "descending",
        "desc",
        "costliest",
        "strongest",
        "hottest",
        "warmest",
        "dearest",
        "recent",
    ]);
    let smallest = superlative(&[
        "lowest",
        "smallest",
        "fewest",
        "least",
        "bottom",
        "minimum",
        "min",
        "cheapest",
        "shortest",
        "lightest",
        "earliest",
        "weakest",
        "ascending",
        "asc",
        "coldest",
        "coolest",
        "nearest",
        "poorest",
    ]);
    match (largest, smallest) {
        (true, false) => Some(Keyword::Descending),
        (false, true) => Some(Keyword::Ascending),
        _ => None,
    }
}
