//! What a request's own words say about its call, before the model is asked.
//!
//! Names that were said are likelier meant than names that were not; a value or number that was
//! said is likelier used than not, and not twice. The weights are in logits, chosen on the
//! development set. Leaving something unsaid is priced as a coverage penalty (Wu et al. 2016,
//! "Google's neural machine translation system", section 7).

use std::collections::{BTreeMap, BTreeSet};

use super::linking::{Linked, Referent};
use super::notation::{Keyword, Kind, Token, kind_of};
use super::words::{self, Word, name_words};

/// For a name that was said in full; half of it for one of its words.
const SAID: f32 = 2.0;
/// Against ending while a value, a number or a listed column is left unsaid.
const UNSAID_VALUE: f32 = 2.5;
const UNSAID_NUMBER: f32 = 1.5;
const UNSAID_COLUMN: f32 = 1.5;
/// For a condition while there is something to condition on, and against one while there is not.
const CONDITION: f32 = 1.5;
const NO_CONDITION: f32 = 1.0;
/// Against limiting rows by a number that the request compares with.
const COMPARED_LIMIT: f32 = 3.0;
/// For the comparison that the words before a number name.
const DIRECTION: f32 = 2.5;
/// Against computing with, or sorting by, a key that was not said.
const KEY: f32 = 3.0;
/// For counting where the request says so.
const COUNTING: f32 = 2.0;
/// Against groups where neither a word nor a column asks for them.
const UNASKED_GROUPS: f32 = 4.0;
/// For words that look like what people search for, and against common ones.
const NEEDLE: f32 = 2.0;

/// Words around a number that compare with it; such a number is no limit.
const COMPARING: &[&str] = &["above", "over", "under", "below", "than", ">", "<", ">=", "<=", "=", "exceeding", "exceeds", "exceed", "least", "most", "past", "beyond", "exactly", "before", "after", "between", "equal", "equals", "is", "of"];

/// Words that are seldom what a search is for.
const COMMON: &[&str] = &["a", "an", "the", "in", "is", "are", "of", "for", "to", "with", "any", "all", "every", "where", "which", "what", "who", "does", "do", "find", "search", "show", "list", "use", "used", "uses", "using", "contain", "contains", "mention", "mentions", "file", "files", "place", "code", "we", "i", "me", "my", "it", "word", "text", "and", "on", "call", "calls", "called", "need", "across", "project", "repo"];

/// Words that ask for groups, or for the first of them.
const GROUPING: &[&str] = &["by", "per", "each", "every", "which", "what", "who", "where", "most", "least", "top", "across", "breakdown", "distribution", "split", "compare", "rank", "between", "among", "best", "worst", "group", "grouped", "vary", "wise"];

/// The prior of one request.
pub struct Prior {
    /// The tokens that stand for each word with a mention.
    spoken: BTreeMap<usize, BTreeSet<Token>>,
    /// Columns named in full, and tables.
    names: BTreeMap<Token, f32>,
    columns: BTreeSet<Token>,
    /// Number columns that count nothing: keys.
    keys: BTreeSet<Token>,
    compared: BTreeSet<Token>,
    /// Whether anything asks for groups.
    groups: bool,
    /// Whether the request says "how many", "count" or "number of".
    counts: bool,
    /// The comparison that the request's words name.
    direction: Option<Keyword>,
    /// Words of the request that look like what people search for, and those that do not.
    needles: BTreeMap<Token, f32>,
}

impl Prior {
    pub fn of(linked: &Linked) -> Self {
        let words = words::split(&linked.request);
        let pair = |first: &str, second: &str| words.windows(2).any(|pair| pair[0].lower == first && pair[1].lower == second);
        let counts = pair("how", "many") || pair("number", "of") || words.iter().any(|word| word.stem == "count");
        let mut prior = Self { counts, spoken: BTreeMap::new(), names: BTreeMap::new(), columns: BTreeSet::new(), keys: BTreeSet::new(), compared: BTreeSet::new(), groups: words.iter().any(|word| GROUPING.contains(&word.lower.as_str())), direction: None, needles: BTreeMap::new() };
        for mention in &linked.mentions {
            let share = if mention.strength > 1 { 1.0 } else { 0.5 };
            prior.spoken.entry(mention.word).or_default().insert(mention.token);
            let known = prior.names.entry(mention.token).or_default();
            *known = known.max(share * SAID);
            if mention.strength > 1 && matches!(linked.references.get(&mention.token), Some(Referent::Column { .. })) {
                prior.columns.insert(mention.token);
            }
            prior.groups |= mention.strength > 1 && matches!(kind_of(mention.token), Some(Kind::Text | Kind::Date));
            let before = mention.word.checked_sub(1).and_then(|index| words.get(index)).map_or("", |word| word.lower.as_str());
            let after = words.get(mention.word + 1).map_or("", |word| word.lower.as_str());
            if kind_of(mention.token) == Some(Kind::Constant) && (COMPARING.contains(&before) || matches!(after, "or" | "onwards" | "onward" | "upwards")) {
                prior.compared.insert(mention.token);
            }
            if kind_of(mention.token) == Some(Kind::Constant) {
                prior.direction = prior.direction.or_else(|| direction(&words[mention.word.saturating_sub(3)..mention.word], after));
            }
        }
        for (token, referent) in &linked.references {
            match referent {
                Referent::Column { name, .. } if is_key(name) => drop(prior.keys.insert(*token)),
                Referent::Constant(text) if text.parse::<f64>().is_ok_and(|value| value > 100.0 || value.fract() != 0.0) => drop(prior.compared.insert(*token)),
                Referent::Word { start, end } => {
                    let text = linked.request.get(*start..*end).unwrap_or_default();
                    let odd = text.contains(['_', '(', ':', '!', '.']) || text.chars().skip(1).any(char::is_uppercase);
                    let worth = if odd { 1.0 } else if COMMON.contains(&text.to_lowercase().as_str()) { -1.0 } else { 0.0 };
                    prior.needles.insert(*token, worth * NEEDLE);
                }
                _ => {}
            }
        }
        prior
    }

    /// Logits to add to a token's score after `said`.
    pub fn score(&self, token: Token, said: &[Token]) -> f32 {
        if is_literal(token) && said.contains(&token) {
            return f32::NEG_INFINITY;
        }
        match said.first() {
            Some(first) if *first == Keyword::Sql.token() => self.query_score(token, said),
            Some(first) if *first == Keyword::SearchFiles.token() => self.names.get(&token).or_else(|| self.needles.get(&token)).copied().unwrap_or_default(),
            _ => self.names.get(&token).copied().unwrap_or_default(),
        }
    }

    fn query_score(&self, token: Token, said: &[Token]) -> f32 {
        let unsaid = |wanted: &dyn Fn(&Token) -> bool| self.spoken.values().filter(|tokens| tokens.iter().any(wanted) && !tokens.iter().any(|token| said.contains(token))).count() as f32;
        let values = unsaid(&|token| is_literal(*token));
        let compared = unsaid(&|token| self.compared.contains(token));
        let numbers = unsaid(&|token| kind_of(*token) == Some(Kind::Constant));
        let listing = said.contains(&Keyword::Columns.token()) && !said.contains(&Keyword::Where.token());
        let columns = if listing { unsaid(&|token| self.columns.contains(token)) } else { 0.0 };
        if token == Keyword::End.token() {
            return -UNSAID_VALUE * values - UNSAID_NUMBER * numbers - UNSAID_COLUMN * columns;
        }
        if token == Keyword::Where.token() {
            return if values + compared > 0.0 { CONDITION } else { -NO_CONDITION } - UNSAID_COLUMN * columns;
        }
        if token == Keyword::Limit.token() && numbers > 0.0 && numbers <= compared {
            return -COMPARED_LIMIT;
        }
        if said.last() == Some(&Keyword::Limit.token()) && self.compared.contains(&token) {
            return -COMPARED_LIMIT;
        }
        if token == Keyword::Count.token() && self.counts {
            return COUNTING;
        }
        if token == Keyword::By.token() && !self.groups {
            return -UNASKED_GROUPS;
        }
        if self.direction.map(Keyword::token) == Some(token) {
            return DIRECTION;
        }
        let key = self.keys.contains(&token) && !self.names.contains_key(&token);
        self.names.get(&token).copied().unwrap_or_default() - if key { KEY } else { 0.0 }
    }
}

/// The comparison that the words before a number name, or the word behind it.
fn direction(before: &[Word], after: &str) -> Option<Keyword> {
    let said = |names: &[&str]| before.iter().any(|word| names.contains(&word.lower.as_str()));
    if said(&["least", ">=", "minimum"]) || matches!(after, "onwards" | "onward" | "upwards") {
        return Some(Keyword::AtLeast);
    }
    if said(&["most", "<=", "maximum"]) {
        return Some(Keyword::AtMost);
    }
    if said(&["under", "below", "less", "fewer", "lower", "smaller", "cheaper", "<", "before"]) {
        return Some(Keyword::Below);
    }
    said(&["over", "above", "more", "greater", "higher", "larger", "bigger", "exceeding", "exceeds", "exceed", "exceeded", "past", "beyond", ">", "after"]).then_some(Keyword::Above)
}

fn is_literal(token: Token) -> bool {
    matches!(kind_of(token), Some(Kind::Value | Kind::Literal | Kind::Period))
}

/// Numbers that name rather than count: `id`, `order_id`, `EmpNo`.
pub fn is_key(name: &str) -> bool {
    name_words(name).last().is_some_and(|word| matches!(word.as_str(), "id" | "no" | "key" | "sku" | "isbn" | "nr"))
}
