//! Conditions on documents' metadata, and what they let through.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use codriver_vectors::{Admit, EXACT_BELOW};
use serde_json::Value;

use crate::collections::Metadata;
use crate::collections::database::Database;
use crate::collections::windows::{self, DocumentVectors};
use crate::error::MemoryError;

/// What a value of the metadata is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The value's name; `a.b` is `b` within `a`.
    pub key: String,
    pub comparison: Comparison,
    pub value: String,
}

/// Numbers are compared as numbers, all else as text: so are dates, as ISO 8601 writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
    /// The text contains the value, whatever the case.
    Contains,
}

/// As they are written; what begins another comes after it.
const SIGNS: [(&str, Comparison); 7] = [
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("=", Comparison::Equal),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
    ("~", Comparison::Contains),
];

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let first = text.find(|character| "!<>=~".contains(character));
        let parts = first.filter(|first| *first > 0).and_then(|first| {
            let (key, rest) = text.split_at(first);
            SIGNS.iter().find_map(|(sign, comparison)| Some((key, *comparison, rest.strip_prefix(sign)?)))
        });
        let (key, comparison, value) =
            parts.ok_or("write it as KEY=VALUE; != < <= > >= and ~ (contains) compare, too")?;
        Ok(Self { key: key.trim().to_owned(), comparison, value: value.trim().to_owned() })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = SIGNS.iter().find(|(_, comparison)| *comparison == self.comparison).map_or("=", |(sign, _)| sign);
        write!(formatter, "{}{sign}{}", self.key, self.value)
    }
}

impl Condition {
    /// Of a list, one value is enough; what is not there meets nothing but `!=`.
    pub fn admits(&self, metadata: &Metadata) -> bool {
        let mut value = metadata.get(&self.key);
        if value.is_none() {
            let mut parts = self.key.split('.');
            value = parts.next().and_then(|first| metadata.get(first));
            value = parts.fold(value, |value, part| value?.get(part));
        }
        match (value, self.comparison) {
            (None | Some(Value::Null), comparison) => comparison == Comparison::NotEqual,
            (Some(Value::Array(values)), Comparison::NotEqual) => values.iter().all(|value| self.fits(value)),
            (Some(Value::Array(values)), _) => values.iter().any(|value| self.fits(value)),
            (Some(value), _) => self.fits(value),
        }
    }

    fn fits(&self, value: &Value) -> bool {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let order = || match (text.parse::<f64>(), self.value.parse::<f64>()) {
            (Ok(one), Ok(other)) => one.partial_cmp(&other),
            _ => Some(text.as_str().cmp(&self.value)),
        };
        match self.comparison {
            Comparison::Equal => text == self.value,
            Comparison::NotEqual => text != self.value,
            Comparison::Less => order() == Some(Ordering::Less),
            Comparison::AtMost => order().is_some_and(Ordering::is_le),
            Comparison::Greater => order() == Some(Ordering::Greater),
            Comparison::AtLeast => order().is_some_and(Ordering::is_ge),
            Comparison::Contains => text.to_lowercase().contains(&self.value.to_lowercase()),
        }
    }
}

/// The slots that a filter lets through.
pub(super) struct Allowed {
    bits: Vec<u64>,
    slots: Vec<u64>,
    /// The keys of their vectors, where there are few.
    keys: Vec<u64>,
}

impl Allowed {
    pub fn read(database: &Database, filter: &[Condition]) -> Result<Self, MemoryError> {
        let mut slots = Vec::new();
        database.each_metadata(&mut |slot, metadata| {
            let metadata: Metadata = serde_json::from_str(metadata).unwrap_or_default();
            if filter.iter().all(|condition| condition.admits(&metadata)) {
                slots.push(slot);
            }
        })?;
        let mut bits = vec![0; slots.iter().max().map_or(0, |last| *last as usize / 64 + 1)];
        for slot in &slots {
            bits[*slot as usize / 64] |= 1 << (slot % 64);
        }
        Ok(Self { bits, slots, keys: Vec::new() })
    }

    pub fn contains(&self, slot: u64) -> bool {
        self.bits.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// For searches of these vectors.
    pub fn among(mut self, vectors: &DocumentVectors) -> Self {
        if self.is_few(vectors) {
            self.keys = self.slots.iter().flat_map(|slot| windows::keys(vectors.all(), *slot)).collect();
        }
        self
    }

    /// Few are compared one by one: a walk would pass by too many others.
    pub fn admit<'a>(&'a self, vectors: &DocumentVectors, admit: &'a dyn Fn(u64) -> bool) -> Admit<'a> {
        match self.is_few(vectors) {
            true => Admit::Keys(&self.keys),
            false => Admit::Share(admit, self.share(vectors)),
        }
    }

    fn is_few(&self, vectors: &DocumentVectors) -> bool {
        self.share(vectors) < 0.1 || self.slots.len() < EXACT_BELOW
    }

    fn share(&self, vectors: &DocumentVectors) -> f32 {
        self.slots.len() as f32 / vectors.documents().max(1) as f32
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_are_read_and_met() {
        let Value::Object(metadata) = json!({
            "year": 1999, "kind": "Paper", "tags": ["a", "b"], "date": "2024-03-01", "a": {"b": true}, "none": null, "a.c": "dotted",
        }) else {
            unreachable!()
        };
        for met in [
            "year=1999",
            "year>=1999",
            "year<=1999.5",
            "year>200",
            "year<2e3",
            "year!=2000",
            "kind=Paper",
            "kind~pap",
            "tags=a",
            "tags!=c",
            "date>=2024-02",
            "date<2024-03-02",
            "a.b=true",
            "a.c=dotted",
            "missing!=x",
            "none!=x",
            "kind = Paper",
        ] {
            let condition: Condition = met.parse().unwrap();
            assert!(condition.admits(&metadata), "{met}");
            assert_eq!(condition.to_string().parse::<Condition>().unwrap(), condition);
        }
        for unmet in [
            "year=1998",
            "year>1999",
            "year<200",
            "kind=paper",
            "tags=c",
            "tags!=a",
            "date<2024",
            "missing=x",
            "missing<1",
            "a.b=x",
            "a.x=1",
        ] {
            assert!(!unmet.parse::<Condition>().unwrap().admits(&metadata), "{unmet}");
        }
        for wrong in ["year", "=1999", "", "!"] {
            assert!(wrong.parse::<Condition>().unwrap_err().contains("KEY=VALUE"), "{wrong}");
        }
    }
}
