//! What a request's own words say about its call, before the model is asked.
//!
//! Names that were said are likelier meant than names that were not; a value or number that was
//! said is likelier used than not, and not twice. The weights are in logits, chosen on the
//! development set. Leaving something unsaid is priced as a coverage penalty (Wu et al. 2016,
//! "Google's neural machine translation system", section 7).

mod cues;
mod lists;
mod scores;

use std::collections::{BTreeMap, BTreeSet};

use cues::{Cues, direction};
use lists::{CHOOSING, COMMON, COMPARING, CONDITIONING, GROUPING};

use super::linking::{Linked, Referent};
use super::notation::{Keyword, Kind, Token, kind_of};
use super::words::{self, name_words};

/// For a name that was said in full; half of it for one of its words.
const SAID: f32 = 2.0;
/// Against ending while a value, a number or a listed column is left unsaid.
const UNSAID_VALUE: f32 = 3.5;
const UNSAID_NUMBER: f32 = 1.5;
const UNSAID_COLUMN: f32 = 2.5;
/// For a condition while there is something to condition on, and against one while there is not.
const CONDITION: f32 = 1.5;
const NO_CONDITION: f32 = 1.0;
/// Against limiting rows by a number that the request compares with.
const COMPARED_LIMIT: f32 = 5.0;
/// Against leaving out a flag that is said.
const UNSAID_FLAG: f32 = 1.5;
/// For numbers in the order of the request.
const NEXT_NUMBER: f32 = 1.0;
/// Against computing with a number more often than it is said.
const REPEATED_NUMBER: f32 = 6.0;
/// Against going on when every number was used.
const ENOUGH: f32 = 4.0;
/// For the tool that the request's words call for.
const CALLED: f32 = 2.0;
/// Against leaving a file, a folder, a branch or a number of a request for files or commits unsaid.
const UNSAID_NAME: f32 = 1.5;
/// For naming branches in the order of the request.
const FIRST_BRANCH: f32 = 1.5;
/// Against groups by a column that was not said.
const UNSAID_KEY: f32 = 2.0;
/// For the comparison that the words before a number name.
const DIRECTION: f32 = 2.5;
/// Against computing with, or sorting by, a key that was not said.
const KEY: f32 = 3.0;
/// For an aggregate or operator that the request's words name, and against an average or distinct values that none names.
const CUED: f32 = 2.0;
const UNCUED: f32 = 2.0;
/// Against the order opposite to the one that is said.
const OPPOSITE: f32 = 3.0;
/// For groups by what stands behind "per".
const KEYED: f32 = 2.0;
/// Against words of the request as an operand where nothing says that they are one.
const UNASKED_WORDS: f32 = 4.0;
/// For counting where the request says so.
const COUNTING: f32 = 2.0;
/// Against groups where neither a word nor a column asks for them.
const UNASKED_GROUPS: f32 = 4.0;
/// For words that look like what people search for, and against common ones.
const NEEDLE: f32 = 2.0;

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
    /// Branches, in the order of the request.
    branches: Vec<Token>,
    /// Whether the request says "how many", "count" or "number of".
    counts: bool,
    /// Whether the request says "how much" or the like.
    much: bool,
    /// Whether anything but a value or a number asks for a condition.
    conditioned: bool,
    /// Numbers in the order of the request, and whether words turn it around: "subtract 3 from 8".
    order: Vec<Token>,
    reversed: bool,
    /// Words of the request that can hardly be what a text is compared with.
    idle: BTreeSet<Token>,
    /// Whether something is quoted.
    quoted: bool,
    /// How often each number is said.
    numbers: BTreeMap<Token, usize>,
    /// The comparison that the request's words name.
    direction: Option<Keyword>,
    cues: Cues,
    /// Words of the request that look like what people search for, and those that do not.
    needles: BTreeMap<Token, f32>,
}

impl Prior {
    pub fn of(linked: &Linked) -> Self {
        let words = words::split(&linked.request);
        let pair =
            |first: &str, second: &str| words.windows(2).any(|pair| pair[0].lower == first && pair[1].lower == second);
        let counts = pair("how", "many") || pair("number", "of") || words.iter().any(|word| word.stem == "count");
        let mut prior = Self {
            counts,
            spoken: BTreeMap::new(),
            names: BTreeMap::new(),
            columns: BTreeSet::new(),
            keys: BTreeSet::new(),
            compared: BTreeSet::new(),
            branches: Vec::new(),
            groups: words.iter().any(|word| GROUPING.contains(&word.lower.as_str())),
            much: words.iter().any(|word| {
                matches!(word.lower.as_str(), "much" | "what" | "many" | "spend" | "spent" | "earn" | "earned" | "cost")
            }),
            conditioned: words.iter().any(|word| CONDITIONING.contains(&word.lower.as_str())),
            order: Vec::new(),
            reversed: words.iter().any(|word| {
                matches!(word.lower.as_str(), "from" | "percent" | "into" | "than" | "off" | "add" | "on")
                    || word.lower.ends_with('%')
            }),
            idle: BTreeSet::new(),
            quoted: false,
            numbers: BTreeMap::new(),
            direction: None,
            cues: Cues::of(linked, &words),
            needles: BTreeMap::new(),
        };
        let chosen = words.iter().any(|word| CHOOSING.contains(&word.lower.as_str()));
        prior.groups |= !prior.cues.units.is_empty() || !prior.cues.keys.is_empty();
        for mention in &linked.mentions {
            let share = if mention.strength > 1 { 1.0 } else { 0.5 };
            prior.spoken.entry(mention.word).or_default().insert(mention.token);
            let known = prior.names.entry(mention.token).or_default();
            *known = known.max(share * SAID);
            if mention.strength > 1 && matches!(linked.references.get(&mention.token), Some(Referent::Column { .. })) {
                prior.columns.insert(mention.token);
            }
            prior.quoted |= kind_of(mention.token) == Some(Kind::Literal);
            if kind_of(mention.token) == Some(Kind::Branch) && !prior.branches.contains(&mention.token) {
                prior.branches.push(mention.token);
            }
            prior.groups |= chosen && matches!(kind_of(mention.token), Some(Kind::Text));
            prior.groups |= mention.strength > 1 && kind_of(mention.token) == Some(Kind::Text);
            let before =
                mention.word.checked_sub(1).and_then(|index| words.get(index)).map_or("", |word| word.lower.as_str());
            let after = words.get(mention.word + 1).map_or("", |word| word.lower.as_str());
            if kind_of(mention.token) == Some(Kind::Constant)
                && (COMPARING.contains(&before) || matches!(after, "or" | "onwards" | "onward" | "upwards"))
            {
                prior.compared.insert(mention.token);
            }
            if kind_of(mention.token) == Some(Kind::Constant) {
                *prior.numbers.entry(mention.token).or_default() += 1;
                prior.order.push(mention.token);
                let behind = words.get(mention.word + mention.length..).unwrap_or_default();
                prior.direction = prior.direction.or_else(|| {
                    direction(&words[mention.word.saturating_sub(3)..mention.word], &behind[..behind.len().min(3)])
                });
            }
        }
        for (token, referent) in &linked.references {
            match referent {
                Referent::Column { name, .. } if is_key(name) => drop(prior.keys.insert(*token)),
                Referent::Constant(text)
                    if text.parse::<f64>().is_ok_and(|value| value > 100.0 || value.fract() != 0.0) =>
                {
                    prior.compared.insert(*token);
                }
                Referent::Word { start, end } => {
                    let text = linked.request.get(*start..*end).unwrap_or_default();
                    let odd = text.contains(['_', '(', ':', '!', '.']) || text.chars().skip(1).any(char::is_uppercase);
                    let worth = if odd {
                        1.0
                    } else if COMMON.contains(&text.to_lowercase().as_str()) {
                        -1.0
                    } else {
                        0.0
                    };
                    prior.needles.insert(*token, worth * NEEDLE);
                    let spoken = words
                        .iter()
                        .position(|word| word.start == *start)
                        .is_some_and(|index| prior.spoken.contains_key(&index));
                    if spoken || worth < 0.0 || CONDITIONING.contains(&text.to_lowercase().as_str()) {
                        prior.idle.insert(*token);
                    }
                }
                _ => {}
            }
        }
        prior
    }

    /// Logits to add to a token's score after `said`.
    pub fn score(&self, token: Token, said: &[Token]) -> f32 {
        if (is_literal(token) || kind_of(token) == Some(Kind::Branch)) && said.contains(&token) {
            return f32::NEG_INFINITY;
        }
        match said.first() {
            Some(first) if *first == Keyword::Sql.token() => self.query_score(token, said),
            Some(first) if *first == Keyword::Calculate.token() => self.arithmetic_score(token, said),
            Some(_) => self.name_score(token, said),
            None => self.tool_score(token),
        }
    }

    /// For the tool that the words call for, and for tables where one is named.
    fn tool_score(&self, token: Token) -> f32 {
        let called = if self.cues.tool.map(Keyword::token) == Some(token) { CALLED } else { 0.0 };
        let tables = match Keyword::ALL.get(token as usize) {
            Some(Keyword::Calculate) if self.cues.table => -CALLED,
            Some(Keyword::ReadFile | Keyword::ListFiles) if self.cues.table && !self.cues.file_said => -CALLED,
            Some(Keyword::Sql) if self.cues.file && !self.cues.table => -CALLED,
            _ => 0.0,
        };
        called + tables
    }

    /// For files, folders, branches and what is searched.
    fn name_score(&self, token: Token, said: &[Token]) -> f32 {
        let searching = said.first() == Some(&Keyword::SearchFiles.token());
        if token == Keyword::End.token() {
            let named = |token: &Token| {
                matches!(kind_of(*token), Some(Kind::File | Kind::Folder | Kind::Branch | Kind::Glob | Kind::Constant))
                    && !searching
            };
            let unsaid = self
                .spoken
                .values()
                .filter(|tokens| tokens.iter().any(named) && !tokens.iter().any(|token| said.contains(token)))
                .count();
            return -UNSAID_NAME * unsaid as f32;
        }
        match Keyword::ALL.get(token as usize) {
            Some(Keyword::Staged) if self.cues.staged => return CUED,
            Some(Keyword::First) if self.cues.first => return CUED,
            Some(_) => return 0.0,
            None => {}
        }
        let in_order =
            self.branches.len() > 1 && self.branches.iter().find(|branch| !said.contains(branch)) == Some(&token);
        let needle = if searching { self.needles.get(&token).copied() } else { None };
        self.names.get(&token).copied().or(needle).unwrap_or_default() + if in_order { FIRST_BRANCH } else { 0.0 }
    }

    /// What the request's words say of the next keyword of a query.
    fn keyword_score(&self, keyword: Keyword, said: &[Token]) -> f32 {
        use Keyword::{
            Ascending, Average, By, Contains, Count, CountDistinct, Descending, Distinct, EndsWith, Maximum, Minimum,
            StartsWith, Sum,
        };
        let cued = |keyword: Keyword| self.cues.aggregates.contains(&keyword);
        // An average that is compared with is no aggregate.
        let first = said.len() == 2;
        let repeated = said.last().is_some_and(|last| *last == Keyword::And.token()) && said.contains(&keyword.token());
        let compared =
            said.last().is_some_and(|last| [Keyword::Above, Keyword::Below].map(Keyword::token).contains(last));
        match keyword {
            _ if repeated => -UNASKED_WORDS,
            Keyword::And => {
                let open = [Average, Sum, Minimum, Maximum]
                    .iter()
                    .filter(|aggregate| cued(**aggregate) && !said.contains(&aggregate.token()))
                    .count();
                if open > 0 && said.len() < 12 { CUED } else { -UNCUED }
            }
            Keyword::Day | Keyword::Week | Keyword::Month | Keyword::Quarter | Keyword::Year => {
                if self.cues.units.contains(&keyword) { 0.0 } else { -UNASKED_GROUPS }
            }
            Count if self.counts => COUNTING,
            By if !self.groups => -UNASKED_GROUPS,
            By if !self.cues.keys.is_empty() => KEYED,
            Average if compared => 0.0,
            Average => {
                if cued(Average) {
                    CUED
                } else {
                    -2.0 * UNCUED
                }
            }
            Sum if cued(Sum) => CUED,
            Sum if first && !self.much => -UNCUED,
            Distinct | CountDistinct if cued(Distinct) => CUED,
            Distinct | CountDistinct => 0.0,
            Keyword::True | Keyword::False => {
                let meant = said.last().and_then(|flag| self.cues.flags.get(flag));
                if meant == Some(&keyword) { DIRECTION } else { 0.0 }
            }
            Keyword::Missing if !self.cues.missing => -UNASKED_WORDS,
            Keyword::Present if !self.cues.present => -UNASKED_WORDS,
            Contains | StartsWith | EndsWith if self.cues.text == Some(keyword) => DIRECTION,
            Contains | StartsWith | EndsWith if !self.cues.verbatim => -UNASKED_WORDS,
            Descending | Maximum if self.cues.order == Some(Ascending) => -OPPOSITE,
            Ascending | Minimum if self.cues.order == Some(Descending) => -OPPOSITE,
            Keyword::During | Keyword::After | Keyword::Since | Keyword::Before | Keyword::Between
                if self.cues.period == Some(keyword) =>
            {
                DIRECTION
            }
            _ if self.direction == Some(keyword) => DIRECTION,
            _ => 0.0,
        }
    }
}

/// A column listed before, or one that is true or false, or has a text, and was already conditioned on.
fn is_repeated(token: Token, said: &[Token]) -> bool {
    let listed = said.contains(&Keyword::Columns.token())
        && !said
            .iter()
            .any(|token| [Keyword::Where, Keyword::Ascending, Keyword::Descending].map(Keyword::token).contains(token));
    let conditioned =
        said.last() == Some(&Keyword::Where.token()) && matches!(kind_of(token), Some(Kind::Flag | Kind::Text));
    listed && said.contains(&token)
        || conditioned && said.windows(2).any(|pair| pair == [Keyword::Where.token(), token])
}

/// Whether a word is the name of what a token stands for, or part of it.
fn is_named(linked: &Linked, token: Token, word: &str) -> bool {
    matches!(linked.references.get(&token), Some(Referent::Column { name, .. }) if name_words(name).iter().any(|part| part == word))
}

fn is_literal(token: Token) -> bool {
    matches!(kind_of(token), Some(Kind::Value | Kind::Literal | Kind::Period))
}

/// Numbers that name rather than count: `id`, `order_id`, `EmpNo`.
pub fn is_key(name: &str) -> bool {
    name_words(name).last().is_some_and(|word| matches!(word.as_str(), "id" | "no" | "key" | "sku" | "isbn" | "nr"))
}
