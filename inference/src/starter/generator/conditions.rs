//! Conditions of queries: what rows must be like, in words and in the notation.

use std::collections::HashSet;

use rand::Rng;
use rand::seq::IndexedRandom;

use super::Want;
use super::queries::{Query, weighted};
use crate::starter::linking::Period;
use crate::starter::notation::Keyword;
use crate::starter::words::name_words;
use crate::starter::worlds::{ColumnKind, WorldColumn};

impl Query<'_> {
    /// A condition in front of the table (`pending orders`) or behind it.
    pub(super) fn condition(&mut self) -> Option<(String, String)> {
        let valued: Vec<&WorldColumn> = self
            .table
            .columns
            .iter()
            .filter(|column| !column.values.is_empty() && !self.used.contains(&column.name))
            .collect();
        let flags: Vec<&WorldColumn> = self
            .table
            .columns
            .iter()
            .filter(|column| column.kind == ColumnKind::Flag && !self.used.contains(&column.name))
            .collect();
        if self.random.random_bool(0.3)
            && let Some(flag) = flags.choose(self.random).map(|flag| (*flag).clone())
            && let (Some(adjective), _) = flag_words(&flag.name)
        {
            self.used.push(flag.name.clone());
            let wanted = self.random.random_bool(0.65);
            self.want_flag(&flag, wanted);
            let words = if wanted { adjective } else { opposite(&adjective, self.random) };
            return Some((words, String::new()));
        }
        if self.random.random_bool(0.35)
            && let Some(column) = valued.choose(self.random).copied()
        {
            let value = column.values.choose(self.random)?.clone();
            self.used.push(column.name.clone());
            self.conditions.extend([Want::Keyword(Keyword::Where), Want::Value(value.clone())]);
            return Some((self.value_words(&value), String::new()));
        }
        self.condition_after()
    }

    /// A condition behind the table. Of another kind where the table has no column for the first.
    pub(super) fn condition_after(&mut self) -> Option<(String, String)> {
        const DRAWS: usize = 6;
        let before = (self.used.len(), self.conditions.len(), self.constants.len());
        (0..DRAWS).find_map(|_| {
            let condition = self.drawn_condition();
            if condition.is_none() {
                self.used.truncate(before.0);
                self.conditions.truncate(before.1);
                self.constants.truncate(before.2);
            }
            condition
        })
    }

    fn drawn_condition(&mut self) -> Option<(String, String)> {
        let sections: &[(&'static str, u32)] = &[
            ("c.value", 16),
            ("c.notvalue", 3),
            ("c.above", 9),
            ("c.below", 7),
            ("c.atleast", 4),
            ("c.atmost", 3),
            ("c.between", 3),
            ("c.equal", 3),
            ("c.literal", 4),
            ("c.contains", 3),
            ("c.missing", 3),
            ("c.present", 1),
            ("c.during", 7),
            ("c.after", 4),
            ("c.since", 3),
            ("c.before", 4),
            ("c.betweendates", 3),
            ("c.flag", 8),
            ("c.notflag", 7),
            ("c.either", 5),
            ("c.aboveaverage", 2),
            ("c.belowaverage", 2),
            ("c.containsword", 4),
            ("c.starts", 3),
            ("c.ends", 2),
            ("c.isword", 3),
            ("c.undone", 2),
            ("c.done", 1),
        ];
        let section = weighted(sections, self.random);
        let kinds: &[ColumnKind] = match section {
            "c.value" | "c.notvalue" | "c.literal" | "c.contains" | "c.either" | "c.containsword" | "c.starts"
            | "c.ends" | "c.isword" => &[ColumnKind::Text],
            "c.flag" | "c.notflag" => &[ColumnKind::Flag],
            "c.missing" | "c.present" => &[ColumnKind::Text, ColumnKind::Date, ColumnKind::Number],
            "c.during" | "c.after" | "c.since" | "c.before" | "c.betweendates" | "c.undone" | "c.done" => {
                &[ColumnKind::Date]
            }
            _ => &[ColumnKind::Number],
        };
        let column = self.column(kinds)?;
        let column_want = Want::Column { table: self.table.name.clone(), name: column.name.clone() };
        let column_words = match section {
            "c.undone" | "c.done" => participle(&column.name)?,
            _ => self.column_words(&column),
        };
        let (mut value_words, mut constant_words, mut second_words) = (String::new(), String::new(), String::new());
        if let "c.flag" | "c.notflag" = section {
            self.want_flag(&column, section == "c.flag");
            let (adjective, noun) = flag_words(&column.name);
            let section = match (section, &noun) {
                ("c.flag", Some(_)) => "c.flagnoun",
                (_, Some(_)) => "c.notflagnoun",
                _ => section,
            };
            let said = noun.or(adjective)?;
            let opposite = opposite(&said, self.random);
            return Some((
                String::new(),
                self.phrases.expand(section, self.random, &mut |slot| match slot {
                    "U" => opposite.clone(),
                    "C" => column_words.clone(),
                    _ => said.clone(),
                }),
            ));
        }
        self.conditions.push(Want::Keyword(Keyword::Where));
        match section {
            "c.either" => {
                let count = if self.random.random_bool(0.8) { 2 } else { 3 };
                let values: Vec<String> = column.values.choose_multiple(self.random, count).cloned().collect();
                // Nobody asks for a value and the same in capitals.
                let distinct: HashSet<String> = values.iter().map(|value| value.to_lowercase()).collect();
                if distinct.len() < count {
                    return None;
                }
                let words: Vec<String> = values.iter().map(|value| self.value_words(value)).collect();
                value_words = match words.as_slice() {
                    [first, second] => format!("{first} or {second}"),
                    other => format!("{} or {}", other[..other.len() - 1].join(", "), other[other.len() - 1]),
                };
                if self.random.random_bool(0.15) {
                    value_words = value_words.replace(" or ", " and ");
                }
                for (index, value) in values.into_iter().enumerate() {
                    if index > 0 {
                        self.conditions.push(Want::Keyword(Keyword::Or));
                    }
                    self.conditions.push(Want::Value(value));
                }
            }
            "c.aboveaverage" | "c.belowaverage" => {
                let keyword = if section == "c.aboveaverage" { Keyword::Above } else { Keyword::Below };
                self.conditions.extend([column_want, Want::Keyword(keyword), Want::Keyword(Keyword::Average)]);
            }
            "c.containsword" | "c.starts" | "c.ends" | "c.isword" => {
                let pool = match section {
                    "c.isword" => *["people", "things", "codes"].choose(self.random)?,
                    "c.ends" => "endings",
                    "c.starts" if self.random.random_bool(0.5) => "beginnings",
                    _ => "fragments",
                };
                let literal = self.phrases.pick(pool, self.random);
                if column.values.iter().any(|value| value.to_lowercase().contains(&literal.to_lowercase())) {
                    return None;
                }
                value_words = self.value_words(&literal);
                let keyword = match section {
                    "c.isword" => Keyword::Is,
                    "c.ends" => Keyword::EndsWith,
                    "c.starts" => Keyword::StartsWith,
                    _ => Keyword::Contains,
                };
                self.conditions.extend([
                    column_want,
                    Want::Keyword(keyword),
                    Want::SaidStart(value_words.clone()),
                    Want::SaidEnd(value_words.clone()),
                ]);
            }
            "c.undone" => self.conditions.extend([column_want, Want::Keyword(Keyword::Missing)]),
            "c.done" => self.conditions.extend([column_want, Want::Keyword(Keyword::Present)]),
            "c.value" | "c.notvalue" => {
                let value = column.values.choose(self.random)?.clone();
                value_words = self.value_words(&value);
                if section == "c.notvalue" {
                    self.conditions.push(Want::Keyword(Keyword::IsNot));
                }
                self.conditions.push(Want::Value(value));
            }
            "c.literal" | "c.contains" => {
                let literal = self.phrases.pick(["people", "things", "codes"].choose(self.random)?, self.random);
                if column.values.iter().any(|value| value.eq_ignore_ascii_case(&literal)) {
                    return None;
                }
                let mark = ["'", "\"", "\""].choose(self.random)?;
                value_words = format!("{mark}{literal}{mark}");
                let keyword = if section == "c.literal" { Keyword::Is } else { Keyword::Contains };
                self.conditions.extend([column_want, Want::Keyword(keyword), Want::Literal(literal)]);
            }
            "c.missing" => self.conditions.extend([column_want, Want::Keyword(Keyword::Missing)]),
            "c.present" => self.conditions.extend([column_want, Want::Keyword(Keyword::Present)]),
            "c.during" | "c.after" | "c.since" | "c.before" | "c.betweendates" => {
                let (period, words) = self.period();
                value_words = words;
                let keyword = match section {
                    "c.during" => Keyword::During,
                    "c.after" => Keyword::After,
                    "c.since" => Keyword::Since,
                    "c.before" => Keyword::Before,
                    _ => Keyword::Between,
                };
                self.conditions.extend([column_want, Want::Keyword(keyword), Want::Period(period.clone())]);
                if keyword == Keyword::Between {
                    let (second, words) = self.period();
                    if second == period {
                        return None;
                    }
                    second_words = words;
                    self.conditions.push(Want::Period(second));
                }
            }
            _ => {
                let keyword = match section {
                    "c.above" => Keyword::Above,
                    "c.below" => Keyword::Below,
                    "c.atleast" => Keyword::AtLeast,
                    "c.atmost" => Keyword::AtMost,
                    "c.between" => Keyword::Between,
                    _ => Keyword::Is,
                };
                let (constant, words) = self.constant();
                constant_words = words;
                self.conditions.extend([column_want, Want::Keyword(keyword), Want::Constant(constant)]);
                if keyword == Keyword::Between {
                    let (constant, words) = self.constant();
                    second_words = words;
                    self.conditions.push(Want::Constant(constant));
                }
            }
        }
        let text = self.phrases.expand(section, self.random, &mut |slot| match slot {
            "C" => column_words.clone(),
            "K" => constant_words.clone(),
            "K2" | "P2" => second_words.clone(),
            _ => value_words.clone(),
        });
        Some((String::new(), text))
    }

    pub(super) fn constant(&mut self) -> (String, String) {
        let constant = match self.random.random_range(0..5) {
            0 => self.random.random_range(2..20).to_string(),
            1 => (self.random.random_range(1..100) * 5).to_string(),
            2 => (self.random.random_range(1..100) * 100).to_string(),
            3 => format!("{}.{}", self.random.random_range(0..100), self.random.random_range(1..10)),
            _ => self.random.random_range(1..1000).to_string(),
        };
        if self.constants.contains(&constant) {
            return self.constant();
        }
        self.constants.push(constant.clone());
        let words = if constant.len() == 4 && !constant.contains('.') && self.random.random_bool(0.3) {
            format!("{},{}", &constant[..1], &constant[1..])
        } else {
            constant.clone()
        };
        (constant, words)
    }

    fn period(&mut self) -> (Period, String) {
        const MONTHS: &[&str] = &[
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        let year = self.random.random_range(2015..2027);
        let month: u32 = self.random.random_range(1..=12);
        let name = MONTHS[month as usize - 1];
        match self.random.random_range(0..12) {
            10 => {
                let day = self.random.random_range(1..29);
                let words = match self.random.random_range(0..3) {
                    0 => format!("{name} {day}, {year}"),
                    1 => format!("{day} {name} {year}"),
                    _ => format!("{} {day} {year}", &name[..3]),
                };
                (Period::Day(format!("{year}-{month:02}-{day:02}")), words)
            }
            11 => {
                let quarter = (month - 1) / 3 + 1;
                let ordinal = ["first", "second", "third", "fourth"][quarter as usize - 1];
                (
                    Period::Quarter { year: Some(year), quarter },
                    if self.random.random_bool(0.5) {
                        format!("the {ordinal} quarter of {year}")
                    } else {
                        format!("q{quarter} of {year}")
                    },
                )
            }
            0..3 => (Period::Year(year), year.to_string()),
            3..5 => (Period::Month { year: Some(year), month }, format!("{name} {year}")),
            5 => (Period::Month { year: None, month }, name.to_owned()),
            6 => {
                let quarter = (month - 1) / 3 + 1;
                (Period::Quarter { year: Some(year), quarter }, format!("Q{quarter} {year}"))
            }
            7 => {
                let unit = *["week", "month", "quarter", "year"].choose(self.random).unwrap_or(&"month");
                let back = self.random.random_range(0..2);
                (Period::Relative { unit, back }, format!("{} {unit}", if back == 0 { "this" } else { "last" }))
            }
            8 if self.random.random_bool(0.4) => (Period::Today, "today".to_owned()),
            8 if self.random.random_bool(0.4) => (Period::Yesterday, "yesterday".to_owned()),
            _ => {
                let day = format!("{year}-{month:02}-{:02}", self.random.random_range(1..29));
                (Period::Day(day.clone()), day)
            }
        }
    }

    fn want_flag(&mut self, flag: &WorldColumn, wanted: bool) {
        let column = Want::Column { table: self.table.name.clone(), name: flag.name.clone() };
        self.conditions.extend([
            Want::Keyword(Keyword::Where),
            column,
            Want::Keyword(if wanted { Keyword::True } else { Keyword::False }),
        ]);
    }

    fn value_words(&mut self, value: &str) -> String {
        if self.random.random_bool(0.4) { value.to_lowercase() } else { value.to_owned() }
    }
}

/// A flag as an adjective (`is_active`: "active") or, for what things have or take, a noun (`has_garden`: "garden").
fn flag_words(name: &str) -> (Option<String>, Option<String>) {
    let words = name_words(name);
    let kept = words
        .iter()
        .filter(|word| {
            !matches!(
                word.as_str(),
                "is" | "has"
                    | "was"
                    | "flag"
                    | "yn"
                    | "accepts"
                    | "takes"
                    | "needs"
                    | "runs"
                    | "works"
                    | "in"
                    | "under"
                    | "on"
            )
        })
        .cloned()
        .collect::<Vec<_>>()
        .join(" ");
    let noun = words
        .first()
        .is_some_and(|word| matches!(word.as_str(), "has" | "accepts" | "takes" | "needs" | "under" | "in" | "on"))
        || words.iter().any(|word| {
            matches!(word.as_str(), "seating" | "service" | "newsletter" | "warranty" | "renew" | "scholarship")
        });
    if kept.is_empty() {
        (None, None)
    } else if noun {
        (None, Some(kept))
    } else {
        (Some(kept), None)
    }
}

/// How people deny an adjective.
fn opposite(adjective: &str, random: &mut impl Rng) -> String {
    let prefix = match adjective {
        "paid" | "verified" | "insured" | "furnished" | "sold" | "available" | "resolved" | "signed" | "published"
        | "vaccinated" | "irrigated" | "blinded" | "recorded" | "rented" | "refrigerated" | "subscribed" => "un",
        "active" => "in",
        _ => return format!("{}{adjective}", ["not ", "not ", "non-"].choose(random).unwrap_or(&"not ")),
    };
    if random.random_bool(0.7) { format!("{prefix}{adjective}") } else { format!("not {adjective}") }
}

/// What was done on a date: `returned_on` says "returned".
fn participle(name: &str) -> Option<String> {
    name_words(name).into_iter().find(|word| word.ends_with("ed") && word.len() > 4)
}
