//! What a request's own words say about its call, before the model is asked.
//!
//! Names that were said are likelier meant than names that were not; a value or number that was
//! said is likelier used than not, and not twice. The weights are in logits, chosen on the
//! development set. Leaving something unsaid is priced as a coverage penalty (Wu et al. 2016,
//! "Google's neural machine translation system", section 7).

use std::collections::{BTreeMap, BTreeSet};

use super::linking::{Linked, Referent};
use super::notation::{Keyword, Kind, Token, kind_of};

fn weight(name: &str, default: f32) -> f32 { std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default) }

/// The prior of one request.
pub struct Prior {
    /// The tokens that stand for each word with a mention.
    spoken: BTreeMap<usize, BTreeSet<Token>>,
    names: BTreeMap<Token, f32>,
}

impl Prior {
    pub fn of(linked: &Linked) -> Self {
        let mut spoken: BTreeMap<usize, BTreeSet<Token>> = BTreeMap::new();
        let mut names: BTreeMap<Token, f32> = BTreeMap::new();
        let mut tables: BTreeMap<(usize, Token), f32> = BTreeMap::new();
        for mention in &linked.mentions {
            let share = if mention.strength > 1 { 1.0 } else { 0.4 };
            spoken.entry(mention.word).or_default().insert(mention.token);
            let known = names.entry(mention.token).or_default();
            *known = known.max(share * weight("WN", 2.0));
            // A column or value speaks for its table, too.
            let owners: Vec<Token> = match linked.references.get(&mention.token) {
                Some(Referent::Column { table, .. }) => vec![*table],
                Some(Referent::Value { columns, .. }) => columns.iter().filter_map(|column| match linked.references.get(column) {
                    Some(Referent::Column { table, .. }) => Some(*table),
                    _ => None,
                }).collect(),
                _ => Vec::new(),
            };
            for owner in owners {
                let vote = tables.entry((mention.word, owner)).or_default();
                *vote = vote.max(share * weight("WT", 1.5));
            }
        }
        for ((_, table), vote) in tables {
            *names.entry(table).or_default() += vote;
        }
        Self { spoken, names }
    }

    /// Logits to add to a token's score after `said`.
    pub fn score(&self, token: Token, said: &[Token]) -> f32 {
        let literal = |token: Token| matches!(kind_of(token), Some(Kind::Value | Kind::Literal | Kind::Period));
        if literal(token) && said.contains(&token) {
            return f32::NEG_INFINITY;
        }
        let query = said.first() == Some(&Keyword::Sql.token());
        let unsaid = self.spoken.values().filter(|tokens| tokens.iter().any(|token| literal(*token)) && !tokens.iter().any(|token| said.contains(token))).count() as f32;
        let numbers = self.spoken.values().filter(|tokens| tokens.iter().any(|token| kind_of(*token) == Some(Kind::Constant)) && !tokens.iter().any(|token| said.contains(token))).count() as f32;
        if query && token == Keyword::End.token() {
            return -weight("WE", 1.5) * unsaid - weight("WK", 1.0) * numbers;
        }
        if query && token == Keyword::Where.token() && unsaid > 0.0 {
            return weight("WW", 1.0);
        }
        self.names.get(&token).copied().unwrap_or_default()
    }
}
