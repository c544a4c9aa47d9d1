//! The facts that hold here, read once until one changes, with what each is compared by.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::statement::{Relation, Statement, compare};
use crate::event::fingerprint;
use crate::index::words::words;
use crate::records::{Fact, FactId, Scope};

/// Words that say who speaks, or nothing: a model writes "the user prefers" where a person said "I prefer".
const FILLERS: [&str; 22] = [
    "the", "a", "an", "i", "we", "you", "user", "s", "our", "my", "your", "their", "his", "her", "this", "that", "is",
    "are", "be", "am", "was", "were",
];

/// Signs that make another thing of a word or a number.
const SIGNS: [char; 12] = ['+', '#', '-', '$', '€', '£', '%', '<', '>', '=', '*', '/'];

/// What a fact is compared by.
pub(super) struct Reading {
    fingerprint: String,
    pub statement: Option<Statement>,
    /// Its words without [`FILLERS`], in order, and its signs; empty where too few are left to tell facts apart.
    words: String,
}

impl Reading {
    pub fn of(text: &str) -> Self {
        let telling: Vec<String> = words(text).into_iter().filter(|word| !FILLERS.contains(&word.as_str())).collect();
        // `C#` is not `C++`, and -5 is not 5.
        let signs = text.chars().filter(|character| SIGNS.contains(character));
        let words =
            if telling.len() > 1 { telling.join(" ") + " " + &signs.collect::<String>() } else { String::new() };
        Self { fingerprint: fingerprint(text), statement: Statement::read(text), words }
    }

    fn topic(&self) -> Option<String> {
        self.statement.as_ref().map(|statement| statement.topic().join("\n"))
    }

    /// Whether both say the same, to the letter or to the word.
    pub fn repeats(&self, other: &Self) -> bool {
        let to_the_word = || {
            !self.words.is_empty()
                && self.words == other.words
                && !matches!(self.relation(other), Relation::Contradiction(_))
        };
        self.fingerprint == other.fingerprint || to_the_word()
    }

    pub fn relation(&self, old: &Self) -> Relation {
        match (&self.statement, &old.statement) {
            (Some(new), Some(old)) => compare(new, old),
            _ => Relation::Unrelated,
        }
    }
}

/// The facts that hold here.
#[derive(Default)]
pub(crate) struct Known {
    /// Those of the session last, the oldest first.
    pub facts: Vec<Fact>,
    /// One a fact, in the same order.
    readings: Vec<Arc<Reading>>,
    /// Positions of facts by what two of them have in common that may say the same, or the contrary.
    alike: HashMap<String, Vec<usize>>,
    positions: HashMap<FactId, usize>,
    hidden: HashSet<String>,
}

impl Known {
    /// `before` saves reading again what was there already.
    pub fn new(facts: Vec<Fact>, before: Option<&Self>) -> Self {
        let mut known = Self::default();
        for fact in facts {
            let position = known.facts.len();
            let read = before.and_then(|before| before.readings.get(*before.positions.get(&fact.id)?));
            let reading = read.map_or_else(|| Arc::new(Reading::of(&fact.text)), Arc::clone);
            for key in keys(&reading) {
                known.alike.entry(key).or_default().push(position);
            }
            known.positions.insert(fact.id.clone(), position);
            known.readings.push(reading);
            known.facts.push(fact);
        }
        known.hidden = known.find_hidden();
        known
    }

    /// Identifiers of the facts that others stand before here: of the project before everywhere, of the session before both.
    pub fn hidden(&self) -> &HashSet<String> {
        &self.hidden
    }

    pub fn get(&self, id: &FactId) -> Option<&Fact> {
        self.facts.get(*self.positions.get(id)?)
    }

    /// The facts that may say the same as a text, or the contrary, and those named, in order.
    pub(super) fn candidates<'a>(
        &'a self,
        text: &Reading,
        named: &HashSet<String>,
    ) -> impl Iterator<Item = (&'a Fact, &'a Reading)> + use<'a> {
        let alike = keys(text).into_iter().filter_map(|key| self.alike.get(&key)).flatten().copied();
        let named = named.iter().filter_map(|id| self.positions.get(&FactId::from(id.as_str())).copied());
        let positions: BTreeSet<usize> = alike.chain(named).collect();
        positions
            .into_iter()
            .filter_map(move |position| Some((self.facts.get(position)?, self.readings.get(position)?.as_ref())))
    }

    fn find_hidden(&self) -> HashSet<String> {
        let mut hidden = HashSet::new();
        for alike in self.alike.values().filter(|alike| alike.len() > 1) {
            let of = |position: &usize| Some((self.facts.get(*position)?, self.readings.get(*position)?));
            let facts: Vec<(&Fact, &Arc<Reading>)> = alike.iter().filter_map(of).collect();
            let first = facts.first().map(|(fact, _)| fact.scope);
            if facts.iter().all(|(fact, _)| Some(fact.scope) == first) {
                continue;
            }
            for (fact, reading) in facts.iter().filter(|(fact, _)| fact.scope != Scope::Session) {
                let stands_before = |(other, said): &(&Fact, &Arc<Reading>)| {
                    other.scope < fact.scope && matches!(said.relation(reading), Relation::Contradiction(_))
                };
                if facts.iter().any(stands_before) {
                    hidden.insert(fact.id.to_string());
                }
            }
        }
        hidden
    }
}

/// What a fact is found by among others: facts without one in common are not related.
fn keys(reading: &Reading) -> Vec<String> {
    let words = (!reading.words.is_empty()).then(|| format!("words {}", reading.words));
    let place = reading.statement.as_ref().and_then(Statement::place).map(|subject| format!("place {subject}"));
    [Some(reading.fingerprint.clone()), words, reading.topic(), place].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::Reading;

    #[test]
    fn what_a_model_says_of_a_person_is_what_the_person_said() {
        let repeats = |one: &str, other: &str| Reading::of(one).repeats(&Reading::of(other));
        assert!(repeats("I prefer short answers", "The user prefers short answers."));
        assert!(repeats("My name is Ada", "Her name is Ada"));
        assert!(!repeats("I prefer short answers", "I prefer long answers"));
        assert!(!repeats("Ada is older than Grace", "Grace is older than Ada"));
        assert!(!repeats("The server is not fast", "The server is fast"));
        assert!(!repeats("I like C# a lot", "I like C++ a lot") && !repeats("The offset is -5", "The offset is 5"));
        assert!(!repeats("I am", "We are"), "nothing is left to compare");
    }
}
