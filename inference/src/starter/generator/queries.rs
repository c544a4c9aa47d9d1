//! Requests that a query answers.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::{Request, Want, plural, singular};
use crate::starter::linking::Period;
use crate::starter::notation::Keyword;
use crate::starter::phrases::Phrases;
use crate::starter::prior::is_key;
use crate::starter::words::name_words;
use crate::starter::worlds::{ColumnKind, World, WorldColumn, WorldTable};

/// Sections of requests.txt by how often they are drawn.
const SECTIONS: &[(&str, u32)] = &[
    ("q.rows", 12), ("q.few", 4), ("q.limit", 5), ("q.columns", 6), ("q.distinct", 6), ("q.count", 14), ("q.countdistinct", 4), ("q.sum", 9), ("q.average", 9),
    ("q.minimum", 4), ("q.maximum", 5), ("q.mindate", 2), ("q.maxdate", 2), ("q.group", 16), ("q.groupcount", 9), ("q.toprows", 6), ("q.bottomrows", 3),
    ("q.one", 7), ("q.onelow", 5), ("q.topgroup", 8), ("q.topgroupcount", 6), ("q.bottomgroup", 3), ("q.topgroups", 4), ("q.rankgroups", 3), ("q.sorted", 3), ("q.sorteddown", 4),
];

pub(super) fn request(world: &World, phrases: &Phrases, random: &mut ChaCha8Rng) -> Option<Request> {
    let table = world.tables.choose(random)?;
    let section = weighted(SECTIONS, random);
    let mut query = Query { table, phrases, random, used: Vec::new(), conditions: Vec::new(), constants: Vec::new() };
    query.write(section)
}

pub(super) fn weighted(sections: &[(&'static str, u32)], random: &mut impl Rng) -> &'static str {
    let total: u32 = sections.iter().map(|(_, weight)| weight).sum();
    let mut draw = random.random_range(0..total);
    for (section, weight) in sections {
        if draw < *weight {
            return section;
        }
        draw -= weight;
    }
    sections[0].0
}

struct Query<'a> {
    table: &'a WorldTable,
    phrases: &'a Phrases,
    random: &'a mut ChaCha8Rng,
    /// Columns spoken for, so that a condition is about another.
    used: Vec<String>,
    conditions: Vec<Want>,
    constants: Vec<String>,
}

impl Query<'_> {
    fn write(&mut self, section: &str) -> Option<Request> {
        use Keyword::{All, Ascending, Average, By, Columns, Count, CountDistinct, Descending, Distinct, Few, Limit, Maximum, Minimum, One, Sum};
        let kind = section.strip_prefix("q.").unwrap_or_default();
        let column_kinds: &[ColumnKind] = match kind {
            "sum" | "average" | "minimum" | "maximum" | "toprows" | "bottomrows" => &[ColumnKind::Number],
            "one" | "onelow" | "sorted" | "sorteddown" => &[ColumnKind::Number, ColumnKind::Date],
            "mindate" | "maxdate" => &[ColumnKind::Date],
            "distinct" | "countdistinct" => &[ColumnKind::Text],
            _ => &[],
        };
        let column = match kind {
            "rows" | "few" | "limit" | "columns" | "count" => None,
            _ if column_kinds.is_empty() => None,
            _ => Some(self.column(column_kinds)?),
        };
        let columns: Vec<WorldColumn> = if kind == "columns" {
            let count = self.random.random_range(1..=3);
            self.table.columns.choose_multiple(self.random, count).cloned().collect()
        } else {
            Vec::new()
        };
        self.used.extend(columns.iter().map(|column| column.name.clone()));
        let grouped = matches!(kind, "group" | "groupcount" | "topgroup" | "topgroupcount" | "bottomgroup" | "topgroups" | "rankgroups");
        let mut grouping = Vec::new();
        let mut group_words = String::new();
        if grouped {
            (grouping, group_words) = self.grouping(matches!(kind, "group" | "groupcount"))?;
        }
        let (aggregate, aggregate_words) = match kind {
            "group" | "topgroup" | "bottomgroup" | "topgroups" | "rankgroups" => self.aggregate()?,
            "groupcount" | "topgroupcount" => (vec![Want::Keyword(Count)], String::new()),
            _ => (Vec::new(), String::new()),
        };
        let adjective = column.as_ref().map(|column| match kind {
            "toprows" | "one" => self.superlative(column, true),
            "bottomrows" | "onelow" => self.superlative(column, false),
            _ => None,
        });
        // A superlative may be needed by the template; without one, try again later.
        let adjective = adjective.flatten();
        let most = if self.random.random_bool(0.8) { 10 } else { 50 };
        let limit = self.random.random_range(2..=most);
        let limit_words = self.count_words(limit);
        let conditional = !matches!(kind, "few" | "limit" | "distinct" | "countdistinct" | "mindate" | "maxdate" | "topgroupcount");
        let mut before = String::new();
        let mut after = String::new();
        if conditional {
            let chance = if matches!(kind, "rows" | "count" | "columns") { 0.75 } else { 0.3 };
            if self.random.random_bool(chance) {
                (before, after) = self.condition()?;
                if self.random.random_bool(0.22) {
                    let (_, more) = self.condition_after()?;
                    let glue = if after.is_empty() { "" } else { ["and", "and", ""].choose(self.random).copied().unwrap_or_default() };
                    after = format!("{after} {glue} {more}");
                }
            }
        }
        let mut missing = false;
        let mut conditioned = false;
        let by = self.phrases.pick("by", self.random);
        // Columns and values often say enough: the table goes unnamed, or is "rows".
        let silent = (column.is_some() || grouped || !columns.is_empty() || !self.conditions.is_empty()) && self.random.random_bool(0.25);
        let unnamed = |random: &mut ChaCha8Rng, words: &[&str]| words.choose(random).map_or(String::new(), |word| (*word).to_owned());
        let table_words = if silent { unnamed(self.random, &["rows", "entries", "records", "ones", "data", "everything", "all", "of them"]) } else { self.table_words(true) };
        let table_one = if silent { unnamed(self.random, &["row", "entry", "record", "one", "case"]) } else { self.table_words(false) };
        let column_words = column.as_ref().map(|column| self.column_words(column)).unwrap_or_default();
        let list = columns.iter().map(|column| self.column_words(column)).collect::<Vec<_>>();
        let list = match list.as_slice() {
            [first] => first.clone(),
            [first, second] => format!("{first} and {second}"),
            other => other.join(", "),
        };
        let group_plural = plural(&group_words);
        let phrases = self.phrases;
        let text = phrases.expand(section, self.random, &mut |slot| match slot {
            "T" => table_words.clone(),
            "E" => {
                conditioned = true;
                format!("{before} {table_words} {after}")
            }
            "E1" => {
                conditioned = true;
                format!("{before} {table_one} {after}")
            }
            "W" => {
                conditioned = true;
                if after.is_empty() && !before.is_empty() { format!("for {before} {table_words}") } else { after.clone() }
            }
            "C" => column_words.clone(),
            "Cs" => plural(&column_words),
            "CS" => list.clone(),
            "G" => group_words.clone(),
            "Gs" => group_plural.clone(),
            "A" => aggregate_words.clone(),
            "BY" => by.clone(),
            "K" => limit_words.clone(),
            "ADJ" => {
                missing |= adjective.is_none();
                adjective.clone().unwrap_or_default()
            }
            _ => String::new(),
        });
        if missing || (!self.conditions.is_empty() && !conditioned) {
            return None;
        }
        // A whole table without its name says too little, unless it is the only one meant.
        let column_want = |column: &WorldColumn| Want::Column { table: self.table.name.clone(), name: column.name.clone() };
        let mut call = vec![Want::Keyword(Keyword::Sql), Want::Table(self.table.name.clone())];
        let keyword = Want::Keyword;
        match kind {
            "columns" => {
                call.push(keyword(Columns));
                call.extend(columns.iter().map(column_want));
            }
            "distinct" => call.push(keyword(Distinct)),
            "count" => call.push(keyword(Count)),
            "countdistinct" => call.push(keyword(CountDistinct)),
            "sum" => call.push(keyword(Sum)),
            "average" => call.push(keyword(Average)),
            "minimum" | "mindate" => call.push(keyword(Minimum)),
            "maximum" | "maxdate" => call.push(keyword(Maximum)),
            _ if grouped => {
                call.push(keyword(By));
                call.extend(grouping);
                call.extend(aggregate);
            }
            _ => call.push(keyword(All)),
        }
        let ordered = matches!(kind, "toprows" | "bottomrows" | "one" | "onelow" | "sorted" | "sorteddown");
        if let Some(column) = &column
            && !ordered
        {
            call.push(column_want(column));
        }
        call.append(&mut self.conditions.clone());
        // The latest date is the highest; the oldest person is the highest age.
        match kind {
            "toprows" | "one" | "sorteddown" | "topgroup" | "topgroupcount" | "topgroups" | "rankgroups" => call.push(keyword(Descending)),
            "bottomrows" | "onelow" | "sorted" | "bottomgroup" => call.push(keyword(Ascending)),
            _ => {}
        }
        if let Some(column) = &column
            && ordered
        {
            call.push(column_want(column));
        }
        match kind {
            "few" => call.extend([keyword(Limit), keyword(Few)]),
            "one" | "onelow" | "topgroup" | "topgroupcount" | "bottomgroup" => call.extend([keyword(Limit), keyword(One)]),
            "limit" | "toprows" | "bottomrows" | "topgroups" => call.extend([keyword(Limit), Want::Constant(limit.to_string())]),
            _ => {}
        }
        Some(Request { text, call })
    }

    fn column(&mut self, kinds: &[ColumnKind]) -> Option<WorldColumn> {
        let fitting: Vec<&WorldColumn> = self.table.columns.iter().filter(|column| kinds.contains(&column.kind) && !self.used.contains(&column.name) && (column.kind != ColumnKind::Number || !is_key(&column.name))).collect();
        let column = (*fitting.choose(self.random)?).clone();
        self.used.push(column.name.clone());
        Some(column)
    }

    fn grouping(&mut self, periods: bool) -> Option<(Vec<Want>, String)> {
        if periods && self.random.random_bool(0.15) {
            let column = self.column(&[ColumnKind::Date])?;
            let (keyword, word) = if self.random.random_bool(0.6) { (Keyword::Month, "month") } else { (Keyword::Year, "year") };
            let words = if self.random.random_bool(0.3) { format!("{word} of {}", self.column_words(&column)) } else { word.to_owned() };
            return Some((vec![Want::Keyword(keyword), Want::Column { table: self.table.name.clone(), name: column.name }], words));
        }
        let column = self.column(&[ColumnKind::Text])?;
        let words = self.column_words(&column);
        Some((vec![Want::Column { table: self.table.name.clone(), name: column.name }], words))
    }

    fn aggregate(&mut self) -> Option<(Vec<Want>, String)> {
        let (section, keyword) = *[("a.count", Keyword::Count), ("a.sum", Keyword::Sum), ("a.sum", Keyword::Sum), ("a.average", Keyword::Average), ("a.average", Keyword::Average), ("a.minimum", Keyword::Minimum), ("a.maximum", Keyword::Maximum)].choose(self.random)?;
        let column = if keyword == Keyword::Count { None } else { Some(self.column(&[ColumnKind::Number])?) };
        let column_words = column.as_ref().map(|column| self.column_words(column)).unwrap_or_default();
        let table_words = self.table_words(true);
        let words = self.phrases.expand(section, self.random, &mut |slot| if slot == "C" { column_words.clone() } else { table_words.clone() });
        let mut call = vec![Want::Keyword(keyword)];
        call.extend(column.map(|column| Want::Column { table: self.table.name.clone(), name: column.name }));
        Some((call, words))
    }

    fn superlative(&mut self, column: &WorldColumn, highest: bool) -> Option<String> {
        let own = if highest { &column.highest } else { &column.lowest };
        own.choose(self.random).cloned()
    }

    /// A condition in front of the table (`pending orders`) or behind it.
    fn condition(&mut self) -> Option<(String, String)> {
        let valued: Vec<&WorldColumn> = self.table.columns.iter().filter(|column| !column.values.is_empty() && !self.used.contains(&column.name) && !column.values.iter().any(|value| value == "yes")).collect();
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

    fn condition_after(&mut self) -> Option<(String, String)> {
        let sections: &[(&'static str, u32)] = &[
            ("c.value", 16), ("c.notvalue", 3), ("c.above", 9), ("c.below", 7), ("c.atleast", 4), ("c.atmost", 3), ("c.between", 3), ("c.equal", 3), ("c.literal", 4),
            ("c.contains", 3), ("c.missing", 3), ("c.present", 1), ("c.during", 7), ("c.after", 4), ("c.since", 3), ("c.before", 4), ("c.betweendates", 2),
        ];
        let section = weighted(sections, self.random);
        let kinds: &[ColumnKind] = match section {
            "c.value" | "c.notvalue" | "c.literal" | "c.contains" => &[ColumnKind::Text],
            "c.missing" | "c.present" => &[ColumnKind::Text, ColumnKind::Date, ColumnKind::Number],
            "c.during" | "c.after" | "c.since" | "c.before" | "c.betweendates" => &[ColumnKind::Date],
            _ => &[ColumnKind::Number],
        };
        let column = self.column(kinds)?;
        let column_want = Want::Column { table: self.table.name.clone(), name: column.name.clone() };
        let column_words = self.column_words(&column);
        let (mut value_words, mut constant_words, mut second_words) = (String::new(), String::new(), String::new());
        self.conditions.push(Want::Keyword(Keyword::Where));
        match section {
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

    fn constant(&mut self) -> (String, String) {
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
        let words = if constant.len() == 4 && !constant.contains('.') && self.random.random_bool(0.3) { format!("{},{}", &constant[..1], &constant[1..]) } else { constant.clone() };
        (constant, words)
    }

    fn period(&mut self) -> (Period, String) {
        const MONTHS: &[&str] = &["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
        let year = self.random.random_range(2015..2027);
        let month: u32 = self.random.random_range(1..=12);
        let name = MONTHS[month as usize - 1];
        match self.random.random_range(0..10) {
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

    fn count_words(&mut self, count: u32) -> String {
        const NAMES: &[&str] = &["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
        match NAMES.get(count as usize - 2) {
            Some(name) if self.random.random_bool(0.35) => (*name).to_owned(),
            _ => count.to_string(),
        }
    }

    fn value_words(&mut self, value: &str) -> String {
        if self.random.random_bool(0.4) { value.to_lowercase() } else { value.to_owned() }
    }

    /// What people call a table.
    fn table_words(&mut self, many: bool) -> String {
        if self.random.random_bool(0.08) {
            return self.table.name.clone();
        }
        let mut words = name_words(&self.table.name);
        if let Some(last) = words.last_mut() {
            *last = if many { plural(last) } else { singular(last) };
        }
        if words.len() > 1 && self.random.random_bool(0.3) {
            // "raw_orders" is often just "orders".
            let keep = words.iter().position(|word| word.len() > 4 && word != "archive" && word != "table").unwrap_or(0);
            let word = words[keep].clone();
            return if many { plural(&word) } else { singular(&word) };
        }
        words.join(" ")
    }

    /// What people call a column: its name, its name as typed, or another word for it.
    fn column_words(&mut self, column: &WorldColumn) -> String {
        let draw: f64 = self.random.random();
        if draw < 0.28
            && let Some(synonym) = column.synonyms.choose(self.random)
        {
            return synonym.clone();
        }
        if draw > 0.9 {
            return column.name.clone();
        }
        let words = name_words(&column.name);
        if words.len() > 1 && draw > 0.75 {
            // One telling word of a longer name.
            if let Some(word) = words.iter().filter(|word| word.len() > 3).collect::<Vec<_>>().choose(self.random) {
                return (*word).clone();
            }
        }
        words.join(" ")
    }
}
