//! What the words of a request say by themselves: which comparison, aggregate, order or operator.

mod order;
mod tool;

use std::collections::{BTreeMap, BTreeSet};

use order::order;
use tool::{period, tool};

use crate::starter::linking::Linked;
use crate::starter::notation::{Keyword, Kind, Token, kind_of};
use crate::starter::words::Word;

/// Cues of one request.
#[derive(Debug, Default)]
pub(super) struct Cues {
    pub aggregates: BTreeSet<Keyword>,
    pub operators: BTreeSet<Keyword>,
    /// Largest first or smallest first, where only one of them is said.
    pub order: Option<Keyword>,
    /// Columns that stand behind "per", "each" or "by".
    pub keys: BTreeSet<Token>,
    /// How a date is compared.
    pub period: Option<Keyword>,
    /// Columns that are true or false, and which of it is said.
    pub flags: BTreeMap<Token, Keyword>,
    /// Whether something is said to be missing, or to be there.
    pub missing: bool,
    pub present: bool,
    /// Whether the request asks for what is staged, or for the first lines.
    pub staged: bool,
    pub first: bool,
    /// The tool that the request's own words call for.
    pub tool: Option<Keyword>,
    /// How a text is compared: by how it starts, ends or what it contains.
    pub text: Option<Keyword>,
    /// The stretches of time that are said as such.
    pub units: BTreeSet<Keyword>,
    /// Values that are said not to be wanted.
    pub denied: BTreeSet<Token>,
    /// Whether "or" stands between values.
    pub either: bool,
    /// Whether a table is named, and whether a file is; no table that only a column implies.
    pub table: bool,
    pub file: bool,
    /// Whether the request says "file", "lines" or an extension.
    pub file_said: bool,
    /// Whether words of the request may be compared with: "named", "contains".
    pub verbatim: bool,
}

/// How containing is said.
const CONTAINS: &[&str] =
    &["contains", "contain", "containing", "includes", "include", "including", "mentions", "mention", "mentioning"];

impl Cues {
    pub fn of(linked: &Linked, words: &[Word]) -> Self {
        let said = |names: &[&str]| words.iter().any(|word| names.contains(&word.lower.as_str()));
        let mut cues =
            Self { aggregates: aggregates(words), operators: operators(words), order: order(words), ..Self::default() };
        cues.verbatim = said(CONTAINS)
            || said(&[
                "starts",
                "starting",
                "begins",
                "begin",
                "beginning",
                "ends",
                "ending",
                "named",
                "called",
                "titled",
                "equals",
                "=",
                "word",
                "letter",
                "prefix",
                "suffix",
                "matches",
                "matching",
            ]);
        let denies = |word: &str| {
            matches!(word, "not" | "no" | "non" | "without" | "never" | "except" | "lacking" | "false")
                || word.ends_with("n't")
                || word.ends_with("n’t")
        };
        cues.missing = words.iter().any(|word| {
            denies(&word.lower)
                || matches!(
                    word.lower.as_str(),
                    "null"
                        | "missing"
                        | "empty"
                        | "unknown"
                        | "blank"
                        | "yet"
                        | "still"
                        | "lack"
                        | "absent"
                        | "unset"
                        | "none"
                        | "open"
                )
        });
        cues.present = said(&[
            "known",
            "set",
            "filled",
            "given",
            "present",
            "recorded",
            "already",
            "has",
            "have",
            "not",
            "available",
            "with",
            "been",
            "existing",
        ]);
        cues.staged = said(&["staged", "cached", "index", "--staged", "--cached", "stage", "staging"]);
        cues.first = said(&["first", "top", "head", "beginning", "start", "opening"]);
        cues.tool = tool(words, linked);
        cues.text = if said(&["starts", "starting", "begins", "beginning", "prefix", "start", "begin"]) {
            Some(Keyword::StartsWith)
        } else if said(&["ends", "ending", "suffix", "end"]) {
            Some(Keyword::EndsWith)
        } else {
            (said(CONTAINS) || said(&["word"])).then_some(Keyword::Contains)
        };
        for (unit, names) in [
            (Keyword::Day, ["day", "daily", "days"]),
            (Keyword::Week, ["week", "weekly", "weeks"]),
            (Keyword::Month, ["month", "monthly", "months"]),
            (Keyword::Quarter, ["quarter", "quarterly", "quarters"]),
            (Keyword::Year, ["year", "yearly", "years"]),
            (Keyword::Year, ["annual", "annually", "annum"]),
        ] {
            if said(&names) {
                cues.units.insert(unit);
            }
        }
        let strong = |kind: Kind| {
            linked.mentions.iter().any(|mention| mention.strength > 1 && kind_of(mention.token) == Some(kind))
        };
        cues.table = strong(Kind::Table);
        cues.file = strong(Kind::File);
        cues.file_said =
            said(&["file", "files", "folder", "directory", "line", "lines", "script", "csv", "read", "open", "ls"])
                || words.iter().any(|word| word.text.contains(['/', '.']) && word.text.len() > 3);
        cues.either = said(&["or", "either"]);
        for mention in &linked.mentions {
            let before = |back: usize| {
                mention.word.checked_sub(back).and_then(|index| words.get(index)).map_or("", |word| word.lower.as_str())
            };
            let behind = words.get(mention.word + mention.length..).unwrap_or_default();
            if kind_of(mention.token) == Some(Kind::Flag) {
                let own = words.get(mention.word).map_or("", |word| word.lower.as_str());
                let opposite = ["un", "in", "non", "dis", "im", "ir"].iter().any(|prefix| own.starts_with(prefix))
                    && !super::is_named(linked, mention.token, own);
                let denied = opposite
                    || (1..=3).any(|back| denies(before(back)))
                    || behind.iter().take(2).any(|word| matches!(word.lower.as_str(), "false" | "no"));
                cues.flags.insert(mention.token, if denied { Keyword::False } else { Keyword::True });
            }
            if kind_of(mention.token) == Some(Kind::Value) {
                let outside = |word: &str| {
                    denies(word)
                        || matches!(word, "excluding" | "neither" | "ignoring" | "besides" | "but")
                            && before(1) != "all"
                };
                let other = matches!(before(1), "than" | "from" | "of")
                    && matches!(before(2), "other" | "apart" | "different" | "outside");
                if other || (1..=3).any(|back| outside(before(back))) {
                    cues.denied.insert(mention.token);
                }
            }
            match kind_of(mention.token) {
                Some(Kind::Text | Kind::Flag | Kind::Date) if mention.strength > 1 => {
                    let sorted = ["sort", "sorted", "order", "ordered", "rank", "ranked", "arrange", "arranged"];
                    let by = |word: &str| matches!(word, "per" | "by" | "each" | "every");
                    if by(before(1)) && !sorted.contains(&before(2))
                        || matches!(before(1), "the" | "different") && by(before(2)) && !sorted.contains(&before(3))
                    {
                        cues.keys.insert(mention.token);
                    }
                }
                Some(Kind::Period) => {
                    cues.period = cues.period.or_else(|| period([before(1), before(2), before(3)], behind))
                }
                _ => {}
            }
        }
        cues
    }
}

fn aggregates(words: &[Word]) -> BTreeSet<Keyword> {
    let mut found = BTreeSet::new();
    for (index, word) in words.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| words.get(before)).map_or("", |word| word.lower.as_str());
        let compared = matches!(before, "above" | "below" | "than" | "over" | "under")
            || index > 1
                && before == "the"
                && matches!(
                    words[index - 2].lower.as_str(),
                    "above" | "below" | "than" | "over" | "under" | "exceed" | "beat"
                );
        match word.lower.as_str() {
            "average" | "avg" | "mean" | "typical" | "typically" | "averages" | "averaged" | "averaging"
                if !compared =>
            {
                found.insert(Keyword::Average)
            }
            "total" | "sum" | "totals" | "altogether" | "combined" | "overall" | "summed" | "cumulative"
            | "totalled" | "totaled" => found.insert(Keyword::Sum),
            "add" | "added" if words.get(index + 1).is_some_and(|next| next.lower == "up") => {
                found.insert(Keyword::Sum)
            }
            "distinct" | "different" | "unique" | "various" => found.insert(Keyword::Distinct),
            "minimum" | "min" => found.insert(Keyword::Minimum),
            "maximum" | "max" => found.insert(Keyword::Maximum),
            _ => false,
        };
    }
    let said = |names: &[&str]| words.iter().any(|word| names.contains(&word.lower.as_str()));
    if said(&["lowest", "smallest", "least", "minimum", "min", "cheapest"])
        && said(&["highest", "largest", "biggest", "most", "maximum", "max"])
    {
        found.extend([Keyword::Minimum, Keyword::Maximum]);
    }
    found
}

fn operators(words: &[Word]) -> BTreeSet<Keyword> {
    use Keyword::{
        Average, Change, Decrease, Increase, Minus, Over, PercentOf, Plus, Power, Remainder, Share, SquareRoot, Times,
    };
    let mut found = BTreeSet::new();
    let percent = words
        .iter()
        .any(|word| matches!(word.lower.as_str(), "percent" | "percentage" | "pct") || word.lower.ends_with('%'));
    let rate = words.iter().any(|word| word.lower.ends_with('%'))
        || words.windows(2).any(|pair| {
            pair[0].lower.starts_with(|c: char| c.is_ascii_digit())
                && matches!(pair[1].lower.as_str(), "percent" | "pct")
        });
    for (index, word) in words.iter().enumerate() {
        let next = words.get(index + 1).map_or("", |word| word.lower.as_str());
        let found_here = match word.lower.as_str() {
            "plus" | "add" | "added" | "sum" | "total" | "together" | "more" if !rate => Some(Plus),
            "minus" | "subtract" | "less" | "difference" | "left" | "deduct" | "remaining" | "fewer" if !rate => {
                Some(Minus)
            }
            "times" | "multiply" | "multiplied" | "product" | "each" | "apiece" | "double" | "twice" | "triple"
            | "x" => Some(Times),
            "divided" | "divide" | "split" | "share" | "per" | "over" | "ratio" | "half" | "evenly" | "equally"
            | "among" => Some(Over),
            "power" | "squared" | "cubed" => Some(Power),
            "root" | "sqrt" => Some(SquareRoot),
            "average" | "mean" | "avg" => Some(Average),
            "remainder" | "mod" | "modulo" => Some(Remainder),
            "off" | "discount" | "reduced" | "discounted" | "cheaper" | "decreased" | "cut" | "rebate" if rate => {
                Some(Decrease)
            }
            "increased" | "raise" | "plus" | "including" | "markup" | "increase" | "with" | "add" if rate => {
                Some(Increase)
            }
            "tip" | "of" | "commission" | "on" if rate => Some(PercentOf),
            "percentage" => Some(Share),
            "percent" if index > 0 && !words[index - 1].lower.starts_with(|c: char| c.is_ascii_digit()) => Some(Share),
            "growth" | "grow" | "grew" | "change" | "changed" if percent => Some(Change),
            "from" if percent && words[index..].iter().any(|word| word.lower == "to") => Some(Change),
            _ => None,
        };
        found.extend(found_here);
        if word.lower == "what" && matches!(next, "percent" | "percentage") {
            found.insert(Share);
        }
    }
    found
}

/// The comparison that the words before a number name, or the words behind it.
pub(super) fn direction(before: &[Word], behind: &[Word]) -> Option<Keyword> {
    let said = |names: &[&str]| before.iter().any(|word| names.contains(&word.lower.as_str()));
    let more = &[
        "over",
        "above",
        "more",
        "greater",
        "higher",
        "larger",
        "bigger",
        "exceeding",
        "exceeds",
        "exceed",
        "exceeded",
        "past",
        "beyond",
        ">",
        "after",
    ];
    let less = &["under", "below", "less", "fewer", "lower", "smaller", "cheaper", "shorter", "<", "before"];
    let denied = said(&["no", "not", "don't", "doesn't", "didn't", "isn't"]);
    // "2 stars or less".
    let noun = behind.first().is_some_and(|word| !matches!(word.lower.as_str(), "or" | "and"));
    let behind = if noun && behind.get(1).is_some_and(|word| matches!(word.lower.as_str(), "or" | "and")) {
        &behind[1..]
    } else {
        behind
    };
    match behind {
        [or, word, ..]
            if matches!(or.lower.as_str(), "or" | "and")
                && matches!(
                    word.lower.as_str(),
                    "more"
                        | "higher"
                        | "above"
                        | "greater"
                        | "up"
                        | "over"
                        | "better"
                        | "upwards"
                        | "later"
                        | "bigger"
                        | "longer"
                ) =>
        {
            return Some(Keyword::AtLeast);
        }
        [or, word, ..]
            if matches!(or.lower.as_str(), "or" | "and")
                && matches!(
                    word.lower.as_str(),
                    "less" | "fewer" | "below" | "lower" | "under" | "smaller" | "worse" | "earlier" | "shorter"
                ) =>
        {
            return Some(Keyword::AtMost);
        }
        [word, ..] if matches!(word.lower.as_str(), "onwards" | "onward" | "upwards" | "plus") => {
            return Some(Keyword::AtLeast);
        }
        _ => {}
    }
    if said(&["least", ">=", "minimum"]) || denied && said(less) {
        return Some(Keyword::AtLeast);
    }
    if said(&["most", "<=", "maximum", "up"]) || denied && said(more) {
        return Some(Keyword::AtMost);
    }
    if said(&["exactly", "equal", "equals", "=", "=="]) {
        return Some(Keyword::Is);
    }
    if said(less) {
        return Some(Keyword::Below);
    }
    said(more).then_some(Keyword::Above)
}
