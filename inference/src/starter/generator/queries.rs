//! Requests that a query answers.

mod clauses;

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::{Request, Want, plural, singular};
use crate::starter::notation::Keyword;
use crate::starter::phrases::Phrases;
use crate::starter::prior::is_key;
use crate::starter::words::name_words;
use crate::starter::worlds::{ColumnKind, World, WorldColumn, WorldTable};

/// Sections of requests.txt by how often they are drawn.
const SECTIONS: &[(&str, u32)] = &[
    ("q.rows", 12),
    ("q.few", 4),
    ("q.limit", 5),
    ("q.columns", 6),
    ("q.distinct", 6),
    ("q.count", 14),
    ("q.countdistinct", 4),
    ("q.sum", 9),
    ("q.average", 9),
    ("q.minimum", 4),
    ("q.maximum", 5),
    ("q.mindate", 2),
    ("q.maxdate", 2),
    ("q.group", 16),
    ("q.groupcount", 9),
    ("q.toprows", 6),
    ("q.bottomrows", 3),
    ("q.one", 7),
    ("q.onelow", 5),
    ("q.topgroup", 8),
    ("q.topgroupcount", 6),
    ("q.bottomgroup", 3),
    ("q.topgroups", 4),
    ("q.rankgroups", 3),
    ("q.sorted", 3),
    ("q.sorteddown", 4),
    ("q.columnsone", 4),
    ("q.columnsonelow", 3),
    ("q.columnstop", 4),
    ("q.columnsbottom", 2),
    ("q.columnssorted", 2),
    ("q.columnssorteddown", 2),
    ("q.several", 4),
    ("q.groupseveral", 4),
    ("q.grouppair", 5),
    ("q.having", 5),
    ("q.havingcount", 6),
    ("q.product", 3),
    ("q.groupproduct", 2),
];

/// What is asked, by the section of its phrases.
pub(super) fn section(random: &mut impl Rng) -> &'static str {
    weighted(SECTIONS, random)
}

pub(super) fn request(section: &str, world: &World, phrases: &Phrases, random: &mut ChaCha8Rng) -> Option<Request> {
    let table = world.tables.choose(random)?;
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

pub(super) struct Query<'a> {
    pub(super) table: &'a WorldTable,
    pub(super) phrases: &'a Phrases,
    pub(super) random: &'a mut ChaCha8Rng,
    /// Columns spoken for, so that a condition is about another.
    pub(super) used: Vec<String>,
    pub(super) conditions: Vec<Want>,
    pub(super) constants: Vec<String>,
}

impl Query<'_> {
    fn write(&mut self, section: &str) -> Option<Request> {
        use Keyword::{
            All, Ascending, Average, By, Columns, Count, CountDistinct, Descending, Distinct, Few, Limit, Maximum,
            Minimum, One, Sum,
        };
        let kind = section.strip_prefix("q.").unwrap_or_default();
        let column_kinds: &[ColumnKind] = match kind {
            "sum" | "average" | "minimum" | "maximum" | "toprows" | "bottomrows" | "columnstop" | "columnsbottom"
            | "product" | "groupproduct" => &[ColumnKind::Number],
            "one" | "onelow" | "sorted" | "sorteddown" | "columnsone" | "columnsonelow" | "columnssorted"
            | "columnssorteddown" => &[ColumnKind::Number, ColumnKind::Date],
            "mindate" | "maxdate" => &[ColumnKind::Date],
            "distinct" | "countdistinct" => &[ColumnKind::Text],
            _ => &[],
        };
        let column = match kind {
            "rows" | "few" | "limit" | "columns" | "count" => None,
            _ if column_kinds.is_empty() => None,
            _ => Some(self.column(column_kinds)?),
        };
        let factor =
            if matches!(kind, "product" | "groupproduct") { Some(self.column(&[ColumnKind::Number])?) } else { None };
        let columns: Vec<WorldColumn> = if kind.starts_with("columns") {
            let count = self.random.random_range(1..=3);
            let ordered_by = column.as_ref().map(|column| column.name.clone());
            let others: Vec<&WorldColumn> =
                self.table.columns.iter().filter(|column| ordered_by.as_ref() != Some(&column.name)).collect();
            others.choose_multiple(self.random, count).map(|column| (*column).clone()).collect()
        } else {
            Vec::new()
        };
        self.used.extend(columns.iter().map(|column| column.name.clone()));
        let grouped = matches!(
            kind,
            "group"
                | "groupcount"
                | "topgroup"
                | "topgroupcount"
                | "bottomgroup"
                | "topgroups"
                | "rankgroups"
                | "groupseveral"
                | "grouppair"
                | "having"
                | "havingcount"
                | "groupproduct"
        );
        let mut grouping = Vec::new();
        let mut group_words = String::new();
        if grouped {
            (grouping, group_words) = self.grouping(matches!(kind, "group" | "groupcount"))?;
        }
        if kind == "grouppair" {
            let (more, words) = self.grouping(false)?;
            grouping.extend(more);
            group_words = match self.random.random_range(0..4) {
                0 => format!("{group_words}, {words}"),
                1 => format!("{group_words} & {words}"),
                _ => format!("{group_words} and {words}"),
            };
        }
        let (aggregate, aggregate_words) = match kind {
            "group" | "topgroup" | "bottomgroup" | "topgroups" | "rankgroups" => self.aggregate()?,
            "having" => self.aggregate().filter(|(wants, _)| wants.first() != Some(&Want::Keyword(Count)))?,
            "several" | "groupseveral" => self.several()?,
            "grouppair" if self.random.random_bool(0.5) => self.aggregate()?,
            "grouppair" => (
                vec![Want::Keyword(Count)],
                ["how many <T>", "number of <T>", "count of <T>", "count", "<T>"]
                    .choose(self.random)
                    .copied()
                    .unwrap_or("count")
                    .replace("<T>", &self.table_words(true)),
            ),
            "groupcount" | "topgroupcount" | "havingcount" => (vec![Want::Keyword(Count)], String::new()),
            _ => (Vec::new(), String::new()),
        };
        let adjective = column.as_ref().map(|column| match kind {
            "toprows" | "one" | "columnsone" | "columnstop" => self.superlative(column, true),
            "bottomrows" | "onelow" | "columnsonelow" | "columnsbottom" => self.superlative(column, false),
            _ => None,
        });
        // A superlative may be needed by the template; without one, try again later.
        let adjective = adjective.flatten();
        let most = if self.random.random_bool(0.8) { 10 } else { 50 };
        let limit = self.random.random_range(2..=most);
        let limit_words = self.count_words(limit);
        let having = if matches!(kind, "having" | "havingcount") { Some(self.having()) } else { None };
        let factor_words = factor.as_ref().map(|column| self.column_words(column)).unwrap_or_default();
        let conditional =
            !matches!(kind, "few" | "limit" | "distinct" | "countdistinct" | "mindate" | "maxdate" | "topgroupcount");
        let mut before = String::new();
        let mut after = String::new();
        if conditional {
            let chance = if matches!(kind, "rows" | "count" | "columns") { 0.78 } else { 0.42 };
            if self.random.random_bool(chance) {
                (before, after) = self.condition()?;
                if self.random.random_bool(0.22) {
                    let (_, more) = self.condition_after()?;
                    let glue = if after.is_empty() {
                        ""
                    } else {
                        ["and", "and", ""].choose(self.random).copied().unwrap_or_default()
                    };
                    after = format!("{after} {glue} {more}");
                }
            }
        }
        let mut missing = false;
        let mut conditioned = false;
        let by = self.phrases.pick("by", self.random);
        // Columns and values often say enough: the table goes unnamed, or is "rows".
        let silent = (column.is_some() || grouped || !columns.is_empty() || !self.conditions.is_empty())
            && self.random.random_bool(0.25);
        let unnamed = |random: &mut ChaCha8Rng, words: &[&str]| {
            words.choose(random).map_or(String::new(), |word| (*word).to_owned())
        };
        let table_words = if silent {
            unnamed(self.random, &["rows", "entries", "records", "ones", "data", "everything", "all", "of them"])
        } else {
            self.table_words(true)
        };
        let table_one = if silent {
            unnamed(self.random, &["row", "entry", "record", "one", "case"])
        } else {
            self.table_words(false)
        };
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
                if after.is_empty() && !before.is_empty() {
                    format!("for {before} {table_words}")
                } else {
                    after.clone()
                }
            }
            "C" => column_words.clone(),
            "Cs" => plural(&column_words),
            "CS" => list.clone(),
            "G" => group_words.clone(),
            "Gs" => group_plural.clone(),
            "A" => aggregate_words.clone(),
            "BY" => by.clone(),
            "K" => limit_words.clone(),
            "H" => having.as_ref().map(|(_, words)| words.clone()).unwrap_or_default(),
            "C2" => factor_words.clone(),
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
        let column_want =
            |column: &WorldColumn| Want::Column { table: self.table.name.clone(), name: column.name.clone() };
        let mut call = vec![Want::Keyword(Keyword::Sql), Want::Table(self.table.name.clone())];
        let keyword = Want::Keyword;
        match kind {
            _ if kind.starts_with("columns") => {
                call.push(keyword(Columns));
                call.extend(columns.iter().map(column_want));
            }
            "distinct" => call.push(keyword(Distinct)),
            "count" => call.push(keyword(Count)),
            "countdistinct" => call.push(keyword(CountDistinct)),
            "sum" | "product" => call.push(keyword(Sum)),
            "several" => call.extend(aggregate),
            "average" => call.push(keyword(Average)),
            "minimum" | "mindate" => call.push(keyword(Minimum)),
            "maximum" | "maxdate" => call.push(keyword(Maximum)),
            _ if grouped => {
                call.push(keyword(By));
                call.extend(grouping);
                if kind == "groupproduct" {
                    call.push(keyword(Sum));
                }
                call.extend(aggregate);
            }
            _ => call.push(keyword(All)),
        }
        let ordered = matches!(kind, "toprows" | "bottomrows" | "one" | "onelow" | "sorted" | "sorteddown")
            || kind.starts_with("columns");
        if let Some(column) = &column
            && !ordered
        {
            call.push(column_want(column));
        }
        if let Some(factor) = &factor {
            call.extend([keyword(Keyword::Times), column_want(factor)]);
        }
        call.append(&mut self.conditions.clone());
        call.extend(having.into_iter().flat_map(|(wants, _)| wants));
        // The latest date is the highest; the oldest person is the highest age.
        match kind {
            "toprows" | "one" | "columnsone" | "columnstop" | "columnssorteddown" | "sorteddown" | "topgroup"
            | "topgroupcount" | "topgroups" | "rankgroups" => call.push(keyword(Descending)),
            "bottomrows" | "onelow" | "columnsonelow" | "columnsbottom" | "columnssorted" | "sorted"
            | "bottomgroup" => call.push(keyword(Ascending)),
            _ => {}
        }
        if let Some(column) = &column
            && ordered
        {
            call.push(column_want(column));
        }
        match kind {
            "few" => call.extend([keyword(Limit), keyword(Few)]),
            "one" | "onelow" | "columnsone" | "columnsonelow" | "topgroup" | "topgroupcount" | "bottomgroup" => {
                call.extend([keyword(Limit), keyword(One)])
            }
            "limit" | "toprows" | "bottomrows" | "columnstop" | "columnsbottom" | "topgroups" => {
                call.extend([keyword(Limit), Want::Constant(limit.to_string())])
            }
            _ => {}
        }
        Some(Request { text, call })
    }

    pub(super) fn column(&mut self, kinds: &[ColumnKind]) -> Option<WorldColumn> {
        let fitting: Vec<&WorldColumn> = self
            .table
            .columns
            .iter()
            .filter(|column| {
                kinds.contains(&column.kind)
                    && !self.used.contains(&column.name)
                    && (column.kind != ColumnKind::Number || !is_key(&column.name))
            })
            .collect();
        let column = (*fitting.choose(self.random)?).clone();
        self.used.push(column.name.clone());
        Some(column)
    }

    fn count_words(&mut self, count: u32) -> String {
        const NAMES: &[&str] = &["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
        match NAMES.get(count as usize - 2) {
            Some(name) if self.random.random_bool(0.35) => (*name).to_owned(),
            _ => count.to_string(),
        }
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
            let keep =
                words.iter().position(|word| word.len() > 4 && word != "archive" && word != "table").unwrap_or(0);
            let word = words[keep].clone();
            return if many { plural(&word) } else { singular(&word) };
        }
        words.join(" ")
    }

    /// What people call a column: its name, its name as typed, or another word for it.
    pub(super) fn column_words(&mut self, column: &WorldColumn) -> String {
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
