//! A query: the notation's words as SQL.

use super::Reader;
use crate::starter::linking::{Period, Referent};
use crate::starter::notation::{Keyword, Kind, Token, kind_of};

/// Limits that words without a number stand for.
const FEW: u32 = 5;

impl Reader<'_> {
    fn column(&mut self) -> String {
        identifier(&self.text())
    }

    pub(super) fn query(&mut self) -> String {
        let table = identifier(&self.text());
        let mut grouping = None;
        let mut measure = None;
        let select = if self.skip(Keyword::All) {
            "*".to_owned()
        } else if self.skip(Keyword::Columns) {
            let mut columns = Vec::new();
            while let Some(token) = self.peek().filter(|token| kind_of(*token).is_some_and(is_column)) {
                let said = self
                    .linked
                    .mentions
                    .iter()
                    .filter(|mention| mention.token == token)
                    .map(|mention| mention.word)
                    .min();
                columns.push((said.unwrap_or(usize::MAX), self.column()));
            }
            // In the order in which the request names them.
            columns.sort_by_key(|(said, _)| *said);
            columns.into_iter().map(|(_, column)| column).collect::<Vec<_>>().join(", ")
        } else if self.skip(Keyword::Distinct) {
            let column = self.column();
            grouping = Some(column.clone());
            format!("DISTINCT {column}")
        } else if self.skip(Keyword::By) {
            let key = self.keys();
            let aggregates = self.aggregates();
            let select = format!("{key}, {}", aggregates.join(", "));
            grouping = Some(key);
            measure = aggregates.into_iter().next();
            select
        } else {
            self.aggregates().join(", ")
        };
        let mut query = format!("SELECT {select} FROM {table}");
        let mut conditions = Vec::new();
        while self.skip(Keyword::Where) {
            conditions.push(self.condition());
        }
        if !conditions.is_empty() {
            query.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
        }
        if let (Some(key), Some(measure)) = (&grouping, &measure) {
            query.push_str(&format!(" GROUP BY {key}"));
            if self.skip(Keyword::Having) {
                let operator = self.take().map_or("=", comparison);
                let number = if self.skip(Keyword::One) { "1".to_owned() } else { self.text() };
                query.push_str(&format!(" HAVING {measure} {operator} {number}"));
            }
        }
        let direction = if self.skip(Keyword::Descending) {
            Some("DESC")
        } else if self.skip(Keyword::Ascending) {
            Some("ASC")
        } else {
            None
        };
        match (direction, measure, grouping) {
            (Some(direction), Some(measure), _) => query.push_str(&format!(" ORDER BY {measure} {direction}")),
            (Some(direction), None, _) => query.push_str(&format!(" ORDER BY {} {direction}", self.column())),
            (None, _, Some(key)) => query.push_str(&format!(" ORDER BY {key}")),
            (None, _, None) => {}
        }
        if self.skip(Keyword::Limit) {
            let count = if self.skip(Keyword::One) {
                "1".to_owned()
            } else if self.skip(Keyword::Few) {
                FEW.to_string()
            } else {
                self.text()
            };
            query.push_str(&format!(" LIMIT {count}"));
        }
        query
    }

    /// What groups have in common: a stretch of time, or one or two columns.
    fn keys(&mut self) -> String {
        for (keyword, unit) in
            [(Keyword::Day, "day"), (Keyword::Week, "week"), (Keyword::Month, "month"), (Keyword::Quarter, "quarter")]
        {
            if self.skip(keyword) {
                return format!("date_trunc('{unit}', {})", self.column());
            }
        }
        if self.skip(Keyword::Year) {
            return format!("year({})", self.column());
        }
        let first = self.column();
        if self.peek().and_then(kind_of).is_some_and(is_column) { format!("{first}, {}", self.column()) } else { first }
    }

    fn aggregates(&mut self) -> Vec<String> {
        let mut aggregates = vec![self.aggregate()];
        while self.skip(Keyword::And) {
            aggregates.push(self.aggregate());
        }
        aggregates
    }

    fn aggregate(&mut self) -> String {
        let function = self.take();
        match Keyword::ALL.get(function.unwrap_or_default() as usize) {
            Some(Keyword::Sum) => format!("SUM({})", self.product()),
            Some(Keyword::Average) => format!("AVG({})", self.product()),
            Some(Keyword::Minimum) => format!("MIN({})", self.column()),
            Some(Keyword::Maximum) => format!("MAX({})", self.column()),
            Some(Keyword::CountDistinct) => format!("COUNT(DISTINCT {})", self.column()),
            _ => "COUNT(*)".to_owned(),
        }
    }

    /// A column, or one times another.
    fn product(&mut self) -> String {
        let column = self.column();
        if self.skip(Keyword::Times) { format!("{column} * {}", self.column()) } else { column }
    }

    fn condition(&mut self) -> String {
        let negated = self.skip(Keyword::IsNot);
        if self.peek().and_then(kind_of) == Some(Kind::Value) {
            let mut alternatives = vec![self.value(negated)];
            while self.skip(Keyword::Or) {
                alternatives.push(self.value(negated));
            }
            return if alternatives.len() > 1 {
                format!("({})", alternatives.join(" OR "))
            } else {
                alternatives.concat()
            };
        }
        let column = self.column();
        let operator = self.take().and_then(|token| Keyword::ALL.get(token as usize)).copied();
        match operator {
            Some(Keyword::Missing) => format!("{column} IS NULL"),
            Some(Keyword::Present) => format!("{column} IS NOT NULL"),
            Some(Keyword::True) => column,
            Some(Keyword::False) => format!("NOT {column}"),
            Some(Keyword::Above | Keyword::Below | Keyword::AtLeast | Keyword::AtMost) => {
                let operator = operator.map_or("=", |keyword| comparison(keyword.token()));
                if self.skip(Keyword::Average) {
                    let table = self.tokens.get(1).and_then(|token| self.linked.references.get(token));
                    let Some(Referent::Table(table)) = table else { return String::new() };
                    return format!("{column} {operator} (SELECT AVG({column}) FROM {})", identifier(table));
                }
                format!("{column} {operator} {}", self.text())
            }
            Some(Keyword::Contains) => format!("{column} ILIKE {}", literal(&format!("%{}%", self.words()))),
            Some(Keyword::StartsWith) => format!("{column} ILIKE {}", literal(&format!("{}%", self.words()))),
            Some(Keyword::EndsWith) => format!("{column} ILIKE {}", literal(&format!("%{}", self.words()))),
            Some(Keyword::During) => self.period().map_or_else(String::new, |period| during(&column, &period)),
            Some(Keyword::After) => {
                self.period().map_or_else(String::new, |period| format!("{column} >= {}", end(&period)))
            }
            Some(Keyword::Since) => {
                self.period().map_or_else(String::new, |period| format!("{column} >= {}", start(&period)))
            }
            Some(Keyword::Before) => {
                self.period().map_or_else(String::new, |period| format!("{column} < {}", start(&period)))
            }
            Some(Keyword::Between) if self.peek().and_then(kind_of) == Some(Kind::Period) => {
                let (first, last) = (self.period(), self.period());
                if let (
                    Some(Period::Month { year: None, month: first }),
                    Some(Period::Month { year: None, month: last }),
                ) = (&first, &last)
                {
                    return format!("month({column}) BETWEEN {first} AND {last}");
                }
                // "From March to May 2024" is 2024 all along.
                let first = match (first, &last) {
                    (Some(Period::Month { year: None, month }), Some(Period::Month { year, .. })) => {
                        Some(Period::Month { year: *year, month })
                    }
                    (first, _) => first,
                };
                first.zip(last).map_or_else(String::new, |(first, last)| {
                    format!("{column} >= {} AND {column} < {}", start(&first), end(&last))
                })
            }
            Some(Keyword::Between) => format!("{column} BETWEEN {} AND {}", self.text(), self.text()),
            Some(Keyword::IsNot) => self.equality(&column, "<>"),
            _ => self.equality(&column, "="),
        }
    }

    /// Words of the request are compared whatever their case; what is quoted, to the letter.
    fn equality(&mut self, column: &str, operator: &str) -> String {
        match self.peek().and_then(kind_of) {
            Some(Kind::Constant) => format!("{column} {operator} {}", self.text()),
            Some(Kind::Word) => format!("lower({column}) {operator} {}", literal(&self.span().to_lowercase())),
            _ => format!("{column} {operator} {}", literal(&self.text())),
        }
    }

    /// A quoted text, or words of the request.
    fn words(&mut self) -> String {
        if self.peek().and_then(kind_of) == Some(Kind::Word) { self.span() } else { self.text() }
    }

    fn value(&mut self, negated: bool) -> String {
        let operator = if negated { "<>" } else { "=" };
        let table = self.tokens.get(1).copied().unwrap_or_default();
        match self.take().and_then(|token| self.linked.references.get(&token)) {
            Some(Referent::Value { text, columns }) => {
                let column = columns.iter().find_map(|column| match self.linked.references.get(column) {
                    Some(Referent::Column { table: owner, name, .. }) if *owner == table => Some(name.clone()),
                    _ => None,
                });
                format!("{} {operator} {}", identifier(&column.unwrap_or_default()), literal(text))
            }
            _ => String::new(),
        }
    }

    fn period(&mut self) -> Option<Period> {
        match self.take().and_then(|token| self.linked.references.get(&token)) {
            Some(Referent::Period(period)) => Some(period.clone()),
            _ => None,
        }
    }
}

fn is_column(kind: Kind) -> bool {
    matches!(kind, Kind::Number | Kind::Text | Kind::Date | Kind::Flag)
}

fn comparison(operator: Token) -> &'static str {
    match Keyword::ALL.get(operator as usize) {
        Some(Keyword::Above) => ">",
        Some(Keyword::Below) => "<",
        Some(Keyword::AtLeast) => ">=",
        Some(Keyword::AtMost) => "<=",
        _ => "=",
    }
}

/// The condition that a date falls into a period.
fn during(column: &str, period: &Period) -> String {
    match period {
        Period::Month { year: None, month } => format!("month({column}) = {month}"),
        Period::Quarter { year: None, quarter } => format!("quarter({column}) = {quarter}"),
        Period::Year(year) => format!("year({column}) = {year}"),
        _ => format!("{column} >= {} AND {column} < {}", start(period), end(period)),
    }
}

/// The first moment of a period, as SQL.
fn start(period: &Period) -> String {
    match period {
        Period::Day(day) => format!("DATE '{day}'"),
        Period::Month { year: Some(year), month } => format!("DATE '{year:04}-{month:02}-01'"),
        Period::Month { year: None, month } => format!("make_date(year(current_date), {month}, 1)"),
        Period::Quarter { year: Some(year), quarter } => format!("DATE '{year:04}-{:02}-01'", quarter * 3 - 2),
        Period::Quarter { year: None, quarter } => format!("make_date(year(current_date), {}, 1)", quarter * 3 - 2),
        Period::Year(year) => format!("DATE '{year:04}-01-01'"),
        Period::Today => "current_date".to_owned(),
        Period::Yesterday => "current_date - INTERVAL 1 DAY".to_owned(),
        Period::Relative { unit, back: 0 } => format!("date_trunc('{unit}', current_date)"),
        Period::Relative { unit, back } => format!("date_trunc('{unit}', current_date) - INTERVAL {back} {unit}"),
    }
}

/// The first moment after a period, as SQL.
fn end(period: &Period) -> String {
    let length = match period {
        Period::Day(_) | Period::Today | Period::Yesterday => "1 DAY".to_owned(),
        Period::Month { .. } => "1 MONTH".to_owned(),
        Period::Quarter { .. } => "3 MONTH".to_owned(),
        Period::Year(_) => "1 YEAR".to_owned(),
        Period::Relative { unit, .. } => format!("1 {unit}"),
    };
    format!("{} + INTERVAL {length}", start(period))
}

/// An SQL identifier, quoted where it has to be.
fn identifier(name: &str) -> String {
    const RESERVED: &[&str] = &[
        "order",
        "group",
        "select",
        "from",
        "where",
        "table",
        "user",
        "limit",
        "all",
        "case",
        "check",
        "column",
        "default",
        "desc",
        "asc",
        "end",
        "in",
        "on",
        "primary",
        "references",
        "to",
        "union",
        "using",
        "when",
        "with",
    ];
    let plain = name
        .chars()
        .enumerate()
        .all(|(index, c)| c == '_' || c.is_ascii_alphabetic() || (index > 0 && c.is_ascii_digit()));
    if plain && !name.is_empty() && !RESERVED.contains(&name.to_lowercase().as_str()) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
