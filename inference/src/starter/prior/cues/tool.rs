//! The tool that a request calls for, and its period.

use super::operators;
use crate::starter::linking::Linked;
use crate::starter::notation::{Keyword, Kind, kind_of};
use crate::starter::words::Word;

/// The tool that words ask for, whatever they are about.
pub(super) fn tool(words: &[Word], linked: &Linked) -> Option<Keyword> {
    let text = words.iter().map(|word| word.lower.as_str()).collect::<Vec<_>>().join(" ");
    let text = format!(" {text} ");
    let said = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(&format!(" {phrase} ")));
    let starts = |phrases: &[&str]| {
        phrases.iter().any(|phrase| text.trim_start().trim_start_matches("please ").starts_with(phrase))
    };
    if said(&[
        "remind me",
        "do you remember",
        "do you recall",
        "did i tell",
        "did i say",
        "did we say",
        "did i mention",
        "did we decide",
        "did we agree",
        "i told you",
        "you remember about",
        "have i told",
        "have i mentioned",
        "in your memory",
        "recall",
    ]) {
        return Some(Keyword::Recall);
    }
    if starts(&[
        "remember ",
        "note that",
        "note to",
        "keep in mind",
        "memorize",
        "don't forget",
        "make a note",
        "note ",
        "take note",
        "save for",
        "store ",
        "fyi",
        "for the record",
        "for next time",
        "for future",
    ]) || said(&[
        "remember that",
        "keep in mind",
        "note that",
        "remember this",
        "save for later",
        "note to self",
        "for later",
        "don't forget",
    ]) {
        return Some(Keyword::Remember);
    }
    if said(&[
        "documentation",
        "docs say",
        "the manual",
        "the docs",
        "codriver",
        "magic",
        "magics",
        "help on",
        "help page",
    ]) || words.iter().any(|word| word.lower.starts_with("%%"))
    {
        return Some(Keyword::SearchDocs);
    }
    let named = |kinds: &[Kind]| {
        linked
            .mentions
            .iter()
            .any(|mention| mention.strength > 1 && kind_of(mention.token).is_some_and(|kind| kinds.contains(&kind)))
    };
    let numbers = linked.mentions.iter().filter(|mention| kind_of(mention.token) == Some(Kind::Constant)).count();
    let reckons = numbers > 1 && !operators(words).is_empty()
        || named(&[Kind::Expression])
        || numbers > 0 && said(&["square root", "sqrt", "squared", "cubed", "half of"]);
    (reckons && !named(&[Kind::Table, Kind::Number, Kind::Text, Kind::Value, Kind::Flag, Kind::Date, Kind::File]))
        .then_some(Keyword::Calculate)
}

/// How the words around a stretch of time compare with it.
pub(super) fn period(before: [&str; 3], behind: &[Word]) -> Option<Keyword> {
    let said = |names: &[&str]| before.iter().any(|word| names.contains(word));
    let next = behind.first().map_or("", |word| word.lower.as_str());
    let second = behind.get(1).map_or("", |word| word.lower.as_str());
    if matches!(next, "onwards" | "onward" | "on") || next == "or" && matches!(second, "later" | "after" | "newer") {
        return Some(Keyword::Since);
    }
    if said(&["between"]) || said(&["from"]) && matches!(next, "to" | "until" | "till" | "through" | "and") {
        return Some(Keyword::Between);
    }
    if said(&["since"]) {
        return Some(Keyword::Since);
    }
    if said(&["after", "later", "following", "past"]) {
        return Some(Keyword::After);
    }
    if said(&["before", "prior", "earlier", "until", "preceding"]) {
        return Some(Keyword::Before);
    }
    matches!(before[0], "in" | "during" | "on" | "of" | "throughout" | "within" | "for").then_some(Keyword::During)
}
