//! How far a fact holds, by the words it is told in: in its project, unless a person says that it holds everywhere, or
//! speaks of nothing but themselves.

use std::sync::LazyLock;

use regex::Regex;

use crate::records::Scope;

const EVERYWHERE: [&str; 4] = ["everywhere", "in general", "globally", "wherever i work"];
const HERE: [&str; 6] = [
    "in this project",
    "in this repository",
    "in this repo",
    "in this notebook",
    "for this project",
    "for this notebook",
];

struct Shapes {
    everywhere: Regex,
    name: Regex,
    wish: Regex,
    style: Regex,
    work: Regex,
}

static SHAPES: LazyLock<Option<Shapes>> = LazyLock::new(|| {
    let shape = |pattern: &str| Regex::new(&format!("(?i){pattern}")).ok();
    Some(Shapes {
        everywhere: shape(
            r"\b(?:in|for|across) (?:all|every|each|any)(?: of)?(?: my| our| the)? (?:projects?|notebooks?)\b|\bacross projects\b",
        )?,
        name: shape(r"^(?:my name is|call me|i(?: am|'m|’m) called) (?P<name>\S+(?: \S+){0,3})$")?,
        wish: shape(
            r"^i (?:(?:always|usually|generally|really|strongly|much|would|'d) )*(?:prefer|like|love|want|dislike|hate) (?P<wish>.+)$",
        )?,
        // What answers, code and pictures look like.
        style: shape(
            r"\b(?:answers?|replies|reply|responses?|explanations?|explained|summar(?:y|ies)|comments?|docstrings?|type hints|bullet points?|prose|emojis?|tone|wording|formal|informal|concise|brief|short|terse|verbose|detailed|step by step|examples first|tabs|spaces|indentation|snake_case|camelcase|code style|dark|light|themes?|colou?rs?|fonts?|plots?|charts?|tables|metric|imperial|si units|units|decimals?|decimal (?:point|comma)s?|24-hour|language|english|german|french|spanish|italian|portuguese|dutch|chinese|japanese)\b",
        )?,
        work: shape(
            r"\b(?:we|us|our|ours|this|these|those|here|project|clients?|customers?|team|company|department|colleagues?|boss|manager|data|database|datasets?|warehouse|repo|repository|server|fiscal|quarter|reports?|invoices?|orders|sales|revenue|budget|contract)\b",
        )?,
    })
});

/// Where something that a person said holds.
pub fn reach(told: &str) -> Scope {
    let lower = told.to_lowercase();
    let Some(shapes) = SHAPES.as_ref() else { return Scope::Project };
    if HERE.iter().any(|phrase| lower.contains(phrase)) {
        return Scope::Project;
    }
    if says_everywhere(told) || says_a_name(told) || says_a_taste(told, shapes) {
        Scope::Global
    } else {
        Scope::Project
    }
}

/// `in all projects`, `everywhere`.
pub(super) fn says_everywhere(told: &str) -> bool {
    let lower = told.to_lowercase();
    EVERYWHERE.iter().any(|phrase| lower.contains(phrase))
        || SHAPES.as_ref().is_some_and(|shapes| shapes.everywhere.is_match(told))
}

/// `My name is Ada Lovelace`, `call me ada`; not `call me when it is done`.
pub(super) fn says_a_name(told: &str) -> bool {
    let Some(found) = SHAPES.as_ref().and_then(|shapes| shapes.name.captures(told)?.name("name")) else { return false };
    const NO_NAMES: [&str; 10] =
        ["when", "if", "back", "later", "once", "after", "before", "tomorrow", "anything", "whatever"];
    let words: Vec<&str> = found.as_str().split_whitespace().collect();
    let is_word = |word: &&str| word.chars().all(|character| character.is_alphabetic() || "-'’.".contains(character));
    let capital = |word: &&str| word.chars().next().is_some_and(char::is_uppercase);
    match words.as_slice() {
        [one] => is_word(one) && !NO_NAMES.contains(&one.to_lowercase().as_str()),
        words => words.iter().all(|word| is_word(word) && (capital(word) || ["de", "von", "van", "la"].contains(word))),
    }
}

/// How a person wants to be answered, and nothing of what they work on.
fn says_a_taste(told: &str, shapes: &Shapes) -> bool {
    let Some(wish) = shapes.wish.captures(told).and_then(|found| found.name("wish")) else { return false };
    let wish = wish.as_str();
    // A name may be a client's.
    let named = |word: &str| word.chars().next().is_some_and(char::is_uppercase) && !shapes.style.is_match(word);
    shapes.style.is_match(wish) && !shapes.work.is_match(wish) && !wish.split_whitespace().any(named)
}

#[cfg(test)]
mod tests {
    use super::reach;
    use crate::records::Scope;

    #[test]
    fn only_what_is_a_persons_own_or_said_to_be_so_holds_everywhere() {
        for told in [
            "My name is Ada",
            "My name is Ada Lovelace",
            "Call me ada",
            "I am called Vincent van Gogh",
            "I prefer short answers",
            "I really like dark themes",
            "I prefer tabs over spaces",
            "I prefer answers in German",
            "I hate emojis",
            "In all projects, amounts are in euro",
            "Dates are ISO 8601 in every notebook",
            "Use metric units across all my projects",
            "The team is called Nord everywhere",
        ] {
            assert_eq!(reach(told), Scope::Global, "{told}");
        }
        for told in [
            "The client is ACME secret corp",
            "My name is Ada and our fiscal year starts in October",
            "My name is Ada, I lead the Initech migration",
            "Call me when the job is done",
            "I prefer ACME's reports in short tables",
            "I prefer our charts in blue",
            "I like the Initech theme",
            "I want plots of revenue by region",
            "I prefer tabs in this project",
            "My manager is Grace",
            "My database is called warehouse",
            "I live in Berlin",
            "I work at Initech",
            "Please use metric units",
            "Always answer in English",
        ] {
            assert_eq!(reach(told), Scope::Project, "{told}");
        }
    }
}
