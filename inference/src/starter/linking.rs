//! From a request and what exists in the session to the starter's prompt.
//!
//! Linking finds the tables, columns, values, numbers, dates, files and branches a request
//! mentions and marks them with references. It proposes; which mention matters, and for what,
//! is the model's to decide.

use std::collections::BTreeMap;

use super::mentions;
use super::notation::{Keyword, Kind, Token, kind_of};
use super::words::{self, Word};
use crate::{Environment, TableSchema};

/// A piece of a prompt: a token of the notation, or text still to be split into word pieces.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    Token(Token),
    Text(String),
}

/// What a reference token stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum Referent {
    Table(String),
    Column {
        table: Token,
        table_name: String,
        name: String,
    },
    /// A value and the columns that hold it.
    Value {
        text: String,
        columns: Vec<Token>,
    },
    Constant(String),
    Literal(String),
    Period(Period),
    File(String),
    Folder(String),
    Glob(String),
    Branch(String),
    Word {
        start: usize,
        end: usize,
    },
    Expression(String),
    Code(String),
}

/// A stretch of time a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Period {
    /// ISO 8601 date.
    Day(String),
    Month {
        year: Option<i32>,
        month: u32,
    },
    Quarter {
        year: Option<i32>,
        quarter: u32,
    },
    Year(i32),
    Today,
    Yesterday,
    /// `week`, `month`, `quarter` or `year`; `back` 0 is the current one.
    Relative {
        unit: &'static str,
        back: u32,
    },
}

/// A request, linked.
#[derive(Debug, Clone, Default)]
pub struct Linked {
    /// Ends with [`Keyword::Call`].
    pub prompt: Vec<Piece>,
    pub references: BTreeMap<Token, Referent>,
    pub request: String,
    /// Where the request mentions what exists.
    pub mentions: Vec<mentions::Mention>,
    /// Tables that exist but did not fit into the prompt.
    pub dropped_tables: Vec<String>,
}

/// Gives out reference tokens: in order at inference, shuffled in training so that every
/// reference is learned equally well.
pub struct Numbering {
    pools: BTreeMap<Kind, Vec<u32>>,
}

impl Numbering {
    pub fn in_order() -> Self {
        Self::with(|_| ())
    }

    /// `arrange` reorders each pool; the last index is handed out first.
    pub fn with(mut arrange: impl FnMut(&mut Vec<u32>)) -> Self {
        let pools = Kind::ALL
            .iter()
            .map(|(kind, capacity)| {
                let mut pool: Vec<u32> = (0..*capacity).rev().collect();
                if *kind != Kind::Word {
                    arrange(&mut pool);
                }
                (*kind, pool)
            })
            .collect();
        Self { pools }
    }

    /// The next free reference of a kind, `None` when the prompt can hold no more.
    pub fn next(&mut self, kind: Kind) -> Option<Token> {
        self.pools.get_mut(&kind)?.pop().map(|index| kind.token(index))
    }
}

/// At most this many tables and columns a table go into the prompt, best matches first.
const MAX_TABLES: usize = 3;
const MAX_COLUMNS: usize = 9;

/// The kind of a column, by DuckDB's name of its type.
pub fn column_kind(data_type: &str) -> Kind {
    let upper = data_type.to_uppercase();
    let base = upper.split('(').next().unwrap_or_default().trim();
    match base {
        "TINYINT" | "SMALLINT" | "INTEGER" | "BIGINT" | "HUGEINT" | "UTINYINT" | "USMALLINT" | "UINTEGER"
        | "UBIGINT" | "UHUGEINT" | "FLOAT" | "DOUBLE" | "REAL" | "DECIMAL" | "NUMERIC" | "INT" => Kind::Number,
        "BOOLEAN" | "BOOL" | "LOGICAL" => Kind::Flag,
        _ if base.starts_with("DATE") || base.starts_with("TIMESTAMP") => Kind::Date,
        _ => Kind::Text,
    }
}

/// Links `request` against `environment`.
pub fn link(request: &str, environment: &Environment, numbering: &mut Numbering) -> Linked {
    let words = words::split(request);
    let mut linked = Linked { request: request.to_owned(), ..Linked::default() };
    if environment.last_error.is_some() {
        linked.prompt.push(Piece::Token(Keyword::Error.token()));
    }
    let (tables, dropped) = choose_tables(&words, &environment.tables);
    linked.dropped_tables = dropped;
    let mut mentions = Vec::new();
    if !tables.is_empty() {
        linked.prompt.push(Piece::Token(Keyword::Tables.token()));
    }
    let mut value_owners: BTreeMap<String, Vec<Token>> = BTreeMap::new();
    for table in tables {
        link_table(table, &words, numbering, &mut linked, &mut mentions, &mut value_owners);
    }
    for (value, columns) in value_owners {
        for position in mentions::of_value(&words, &value) {
            let Some(token) = existing_or_next(
                &mut linked,
                numbering,
                Kind::Value,
                Referent::Value { text: value.clone(), columns: columns.clone() },
            ) else {
                break;
            };
            mentions.push(mentions::Mention { token, ..position });
        }
    }
    for (position, kind, referent) in
        mentions::of_literals(request, &words).into_iter().chain(mentions::of_workspace(&words, environment))
    {
        if let Some(token) = existing_or_next(&mut linked, numbering, kind, referent) {
            mentions.push(mentions::Mention { token, ..position });
        }
    }
    let mut mentions = mentions::strongest(mentions);
    tables_before_columns(&mut mentions, &linked);
    if let Some(table) = implied_table(&mentions, &linked) {
        mentions.push(table);
        mentions.sort_by_key(|mention| (mention.word, kind_of(mention.token) != Some(Kind::Table)));
    }
    write_request(&words, mentions, numbering, &mut linked);
    linked
}

/// A word that is a table's name is not meant as a column of another table.
fn tables_before_columns(mentions: &mut Vec<mentions::Mention>, linked: &Linked) {
    let named: Vec<(usize, Token)> = mentions
        .iter()
        .filter(|mention| kind_of(mention.token) == Some(Kind::Table) && mention.strength > 1)
        .map(|mention| (mention.word, mention.token))
        .collect();
    mentions.retain(|mention| match linked.references.get(&mention.token) {
        Some(Referent::Column { table, .. }) => {
            !named.iter().any(|(word, named)| *word == mention.word && named != table)
        }
        _ => true,
    });
}

/// Where no table is named, the one whose columns and values are named most, at the first of them.
fn implied_table(mentions: &[mentions::Mention], linked: &Linked) -> Option<mentions::Mention> {
    if mentions.iter().any(|mention| kind_of(mention.token) == Some(Kind::Table) && mention.strength > 1) {
        return None;
    }
    let table_of = |token: Token| match linked.references.get(&token) {
        Some(Referent::Column { table, .. }) => vec![*table],
        Some(Referent::Value { columns, .. }) => columns
            .iter()
            .filter_map(|column| match linked.references.get(column) {
                Some(Referent::Column { table, .. }) => Some(*table),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    // Votes by word: one word can name several columns of a table.
    let mut votes: BTreeMap<Token, BTreeMap<usize, i64>> = BTreeMap::new();
    for mention in mentions {
        for table in table_of(mention.token) {
            let vote = votes.entry(table).or_default().entry(mention.word).or_default();
            *vote = (*vote).max(mention.strength);
        }
    }
    // The prompt's order decides between equals.
    let order =
        |table: Token| linked.prompt.iter().position(|piece| *piece == Piece::Token(table)).unwrap_or(usize::MAX);
    let (table, words) = votes
        .into_iter()
        .max_by_key(|(table, words)| (words.values().sum::<i64>(), std::cmp::Reverse(order(*table))))?;
    let word = *words.keys().next()?;
    Some(mentions::Mention { word, length: 1, strength: 1, token: table })
}

fn existing_or_next(linked: &mut Linked, numbering: &mut Numbering, kind: Kind, referent: Referent) -> Option<Token> {
    if let Some((token, _)) = linked.references.iter().find(|(_, existing)| **existing == referent) {
        return Some(*token);
    }
    let token = numbering.next(kind)?;
    linked.references.insert(token, referent);
    Some(token)
}

/// The tables the request speaks of most, in their own order, and the names of the others.
fn choose_tables<'a>(words: &[Word], tables: &'a [TableSchema]) -> (Vec<&'a TableSchema>, Vec<String>) {
    let score = |table: &TableSchema| -> i64 {
        let name = mentions::of_name(words, &table.name).iter().map(|mention| mention.strength).max().unwrap_or(0);
        let columns: i64 =
            table.columns.iter().filter(|column| !mentions::of_name(words, &column.name).is_empty()).count() as i64;
        let values = table
            .columns
            .iter()
            .flat_map(|column| &column.values)
            .filter(|value| !mentions::of_value(words, value).is_empty())
            .count() as i64;
        name * 10 + columns * 4 + values.min(3) * 4
    };
    let mut ranked: Vec<(i64, usize)> =
        tables.iter().enumerate().map(|(index, table)| (-score(table), index)).collect();
    ranked.sort_unstable();
    let mut kept: Vec<usize> = ranked.iter().take(MAX_TABLES).map(|(_, index)| *index).collect();
    kept.sort_unstable();
    let dropped = ranked.iter().skip(MAX_TABLES).map(|(_, index)| tables[*index].name.clone()).collect();
    (kept.into_iter().map(|index| &tables[index]).collect(), dropped)
}

fn link_table(
    table: &TableSchema,
    words: &[Word],
    numbering: &mut Numbering,
    linked: &mut Linked,
    mentions: &mut Vec<mentions::Mention>,
    value_owners: &mut BTreeMap<String, Vec<Token>>,
) {
    let Some(table_token) = numbering.next(Kind::Table) else { return };
    linked.references.insert(table_token, Referent::Table(table.name.clone()));
    linked.prompt.push(Piece::Token(table_token));
    linked.prompt.push(Piece::Text(words::name_words(&table.name).join(" ")));
    mentions.extend(
        mentions::of_name(words, &table.name)
            .into_iter()
            .map(|mention| mentions::Mention { token: table_token, ..mention }),
    );

    // Mentioned columns first, so that a wide table's column is not cut off.
    let mut columns: Vec<(bool, usize)> = table
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            (
                mentions::of_name(words, &column.name).is_empty()
                    && !column.values.iter().any(|value| !mentions::of_value(words, value).is_empty()),
                index,
            )
        })
        .collect();
    if columns.len() > MAX_COLUMNS {
        columns.sort_unstable();
        columns.truncate(MAX_COLUMNS);
        columns.sort_unstable_by_key(|(_, index)| *index);
    }
    for (_, index) in columns {
        let column = &table.columns[index];
        let Some(token) = numbering.next(column_kind(&column.data_type)) else { continue };
        linked.references.insert(
            token,
            Referent::Column { table: table_token, table_name: table.name.clone(), name: column.name.clone() },
        );
        linked.prompt.push(Piece::Token(token));
        linked.prompt.push(Piece::Text(words::name_words(&column.name).join(" ")));
        mentions.extend(
            mentions::of_name(words, &column.name).into_iter().map(|mention| mentions::Mention { token, ..mention }),
        );
        if kind_of(token) == Some(Kind::Flag) {
            mentions.extend(
                mentions::of_opposite(words, &column.name)
                    .into_iter()
                    .map(|mention| mentions::Mention { token, ..mention }),
            );
        }
        for value in &column.values {
            value_owners.entry(value.clone()).or_default().push(token);
        }
    }
}

/// The request's words, each behind its own word reference and the references of its mentions.
fn write_request(words: &[Word], mentions: Vec<mentions::Mention>, numbering: &mut Numbering, linked: &mut Linked) {
    linked.prompt.push(Piece::Token(Keyword::User.token()));
    for (index, word) in words.iter().enumerate() {
        if let Some(token) = numbering.next(Kind::Word) {
            linked.references.insert(token, Referent::Word { start: word.start, end: word.end });
            linked.prompt.push(Piece::Token(token));
        }
        for mention in mentions.iter().filter(|mention| mention.word == index) {
            linked.prompt.push(Piece::Token(mention.token));
        }
        linked.prompt.push(Piece::Text(word.lower.clone()));
    }
    if linked.request.trim_end().ends_with('?') {
        linked.prompt.push(Piece::Text("?".to_owned()));
    }
    linked.prompt.push(Piece::Token(Keyword::Call.token()));
    linked.mentions = mentions;
}
