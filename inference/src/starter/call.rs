//! From the notation to a tool call: the name and its JSON arguments.

use serde_json::{Map, Value, json};

use super::linking::{Linked, Period, Referent};
use super::topic;
use super::notation::{Keyword, Kind, Token, kind_of};

/// A decoded call. `None` for the tool means the starter declines.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub tool: Option<&'static str>,
    pub arguments: Value,
}

/// The tools' names as the registry knows them.
pub const TOOL_NAMES: &[(Keyword, &str)] = &[
    (Keyword::Sql, "sql"),
    (Keyword::DescribeTable, "describe_table"),
    (Keyword::GitStatus, "git_status"),
    (Keyword::GitLog, "git_log"),
    (Keyword::GitDiff, "git_diff"),
    (Keyword::ListFiles, "list_files"),
    (Keyword::ReadFile, "read_file"),
    (Keyword::SearchFiles, "search_files"),
    (Keyword::RunRust, "run_rust"),
    (Keyword::Calculate, "calculate"),
    (Keyword::Remember, "remember"),
    (Keyword::Recall, "recall"),
    (Keyword::ExplainError, "explain_error"),
    (Keyword::SearchDocs, "search_docs"),
];

/// Limits that words without a number stand for.
const FEW: u32 = 5;

/// Reads a call that [`super::grammar`] admitted.
pub fn read(tokens: &[Token], linked: &Linked) -> Call {
    let mut reader = Reader { tokens: tokens.iter().copied().filter(|token| *token != Keyword::End.token()).collect(), position: 0, linked };
    let first = reader.take();
    let tool = TOOL_NAMES.iter().find(|(keyword, _)| Some(keyword.token()) == first);
    let arguments = match tool.map(|(keyword, _)| *keyword) {
        Some(Keyword::Sql) => json!({ "query": reader.query() }),
        Some(Keyword::DescribeTable) => json!({ "table": reader.text() }),
        Some(Keyword::GitLog) => reader.log(),
        Some(Keyword::GitDiff) => reader.diff(),
        Some(Keyword::ListFiles) => reader.list(),
        Some(Keyword::ReadFile) => reader.read_file(),
        Some(Keyword::SearchFiles) => reader.search(),
        Some(Keyword::RunRust) => json!({ "code": reader.text() }),
        Some(Keyword::Calculate) => json!({ "expression": reader.expression() }),
        Some(Keyword::Remember) => json!({ "text": reader.span() }),
        Some(Keyword::Recall) => json!({ "query": topic::of(&linked.request, topic::REMEMBERED) }),
        Some(Keyword::SearchDocs) => json!({ "query": topic::of(&linked.request, topic::DOCUMENTED) }),
        _ => json!({}),
    };
    Call { tool: tool.map(|(_, name)| *name), arguments }
}

struct Reader<'a> {
    tokens: Vec<Token>,
    position: usize,
    linked: &'a Linked,
}

impl Reader<'_> {
    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.position).copied();
        self.position += 1;
        token
    }

    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.position).copied()
    }

    fn skip(&mut self, keyword: Keyword) -> bool {
        let found = self.peek() == Some(keyword.token());
        self.position += usize::from(found);
        found
    }

    fn take_kind(&mut self, kind: Kind) -> Option<String> {
        (self.peek().and_then(kind_of) == Some(kind)).then(|| self.text())
    }

    /// The name the next reference stands for.
    fn text(&mut self) -> String {
        match self.take().and_then(|token| self.linked.references.get(&token)) {
            Some(
                Referent::Table(text) | Referent::Column { name: text, .. } | Referent::Constant(text) | Referent::Literal(text)
                | Referent::File(text) | Referent::Folder(text) | Referent::Glob(text) | Referent::Branch(text)
                | Referent::Expression(text) | Referent::Code(text) | Referent::Value { text, .. },
            ) => text.clone(),
            Some(Referent::Word { start, end }) => self.linked.request.get(*start..*end).unwrap_or_default().to_owned(),
            Some(Referent::Period(_)) | None => String::new(),
        }
    }

    /// The text of the request from one word to another.
    fn span(&mut self) -> String {
        let mut bound = || match self.take().and_then(|token| self.linked.references.get(&token)) {
            Some(Referent::Word { start, end }) => Some((*start, *end)),
            _ => None,
        };
        let (first, last) = (bound(), bound());
        let (Some((start, _)), Some((_, end))) = (first, last) else { return String::new() };
        self.linked.request.get(start..end).unwrap_or_default().trim().to_owned()
    }

    fn number(&mut self) -> Value {
        let text = self.text();
        text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number))
    }

    fn log(&mut self) -> Value {
        let mut arguments = Map::new();
        if self.skip(Keyword::One) {
            arguments.insert("max_count".into(), json!(1));
        } else if self.peek().and_then(kind_of) == Some(Kind::Constant) {
            arguments.insert("max_count".into(), self.number());
        }
        if let Some(path) = self.take_kind(Kind::File).or_else(|| self.take_kind(Kind::Folder)) {
            arguments.insert("path".into(), json!(path));
        }
        if let Some(branch) = self.take_kind(Kind::Branch) {
            arguments.insert("branch".into(), json!(branch));
        }
        Value::Object(arguments)
    }

    fn diff(&mut self) -> Value {
        let mut arguments = Map::new();
        if self.skip(Keyword::Staged) {
            arguments.insert("staged".into(), json!(true));
        } else if self.skip(Keyword::Previous) {
            arguments.insert("from".into(), json!("HEAD~1"));
            arguments.insert("to".into(), json!("HEAD"));
        } else if let Some(from) = self.take_kind(Kind::Branch) {
            arguments.insert("from".into(), json!(from));
            arguments.insert("to".into(), json!(self.text()));
        }
        if let Some(path) = self.take_kind(Kind::File).or_else(|| self.take_kind(Kind::Folder)) {
            arguments.insert("path".into(), json!(path));
        }
        Value::Object(arguments)
    }

    fn list(&mut self) -> Value {
        let mut arguments = Map::new();
        if let Some(path) = self.take_kind(Kind::Folder) {
            arguments.insert("path".into(), json!(path));
        }
        if let Some(pattern) = self.take_kind(Kind::Glob) {
            arguments.insert("pattern".into(), json!(pattern));
        }
        Value::Object(arguments)
    }

    fn read_file(&mut self) -> Value {
        let mut arguments = Map::new();
        arguments.insert("path".into(), json!(self.text()));
        if self.skip(Keyword::First) {
            arguments.insert("start_line".into(), json!(1));
            arguments.insert("end_line".into(), self.number());
        } else if self.peek().is_some() {
            arguments.insert("start_line".into(), self.number());
            if self.peek().is_some() {
                arguments.insert("end_line".into(), self.number());
            }
        }
        Value::Object(arguments)
    }

    fn search(&mut self) -> Value {
        let mut arguments = Map::new();
        let query = if self.peek().and_then(kind_of) == Some(Kind::Literal) { self.text() } else { self.span() };
        arguments.insert("query".into(), json!(query));
        if self.peek().is_some() {
            arguments.insert("path".into(), json!(self.text()));
        }
        Value::Object(arguments)
    }

    fn expression(&mut self) -> String {
        if let Some(expression) = self.take_kind(Kind::Expression) {
            return expression;
        }
        if self.skip(Keyword::Average) {
            let numbers: Vec<String> = std::iter::from_fn(|| self.take_kind(Kind::Constant)).collect();
            return format!("({}) / {}", numbers.join(" + "), numbers.len());
        }
        if self.skip(Keyword::Share) {
            return format!("{} / {} * 100", self.text(), self.text());
        }
        if self.skip(Keyword::Change) {
            let (from, to) = (self.text(), self.text());
            return format!("({to} - {from}) / {from} * 100");
        }
        let mut expression = if self.skip(Keyword::SquareRoot) {
            format!("sqrt({})", self.text())
        } else if self.skip(Keyword::Square) {
            format!("{}^2", self.text())
        } else {
            self.text()
        };
        let whole = |expression: &str| if expression.contains(' ') { format!("({expression})") } else { expression.to_owned() };
        while let Some(operator) = self.take() {
            let symbol = match Keyword::ALL.get(operator as usize) {
                Some(Keyword::Result) => {
                    expression = whole(&expression);
                    continue;
                }
                Some(Keyword::Increase) => {
                    expression = format!("{} * (1 + {} / 100)", whole(&expression), self.text());
                    continue;
                }
                Some(Keyword::Decrease) => {
                    expression = format!("{} * (1 - {} / 100)", whole(&expression), self.text());
                    continue;
                }
                Some(Keyword::Plus) => "+",
                Some(Keyword::Minus) => "-",
                Some(Keyword::Times) => "*",
                Some(Keyword::Over) => "/",
                Some(Keyword::Power) => "^",
                Some(Keyword::Remainder) => "mod",
                _ => "/ 100 *",
            };
            expression = format!("{expression} {symbol} {}", self.text());
        }
        expression
    }

    fn column(&mut self) -> String {
        identifier(&self.text())
    }

    fn query(&mut self) -> String {
        let table = identifier(&self.text());
        let mut grouping = None;
        let mut measure = None;
        let select = if self.skip(Keyword::All) {
            "*".to_owned()
        } else if self.skip(Keyword::Columns) {
            let mut columns = Vec::new();
            while let Some(token) = self.peek().filter(|token| kind_of(*token).is_some_and(is_column)) {
                let said = self.linked.mentions.iter().filter(|mention| mention.token == token).map(|mention| mention.word).min();
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
        for (keyword, unit) in [(Keyword::Day, "day"), (Keyword::Week, "week"), (Keyword::Month, "month"), (Keyword::Quarter, "quarter")] {
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
            return if alternatives.len() > 1 { format!("({})", alternatives.join(" OR ")) } else { alternatives.concat() };
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
            Some(Keyword::After) => self.period().map_or_else(String::new, |period| format!("{column} >= {}", end(&period))),
            Some(Keyword::Since) => self.period().map_or_else(String::new, |period| format!("{column} >= {}", start(&period))),
            Some(Keyword::Before) => self.period().map_or_else(String::new, |period| format!("{column} < {}", start(&period))),
            Some(Keyword::Between) if self.peek().and_then(kind_of) == Some(Kind::Period) => {
                let (first, last) = (self.period(), self.period());
                if let (Some(Period::Month { year: None, month: first }), Some(Period::Month { year: None, month: last })) = (&first, &last) {
                    return format!("month({column}) BETWEEN {first} AND {last}");
                }
                // "From March to May 2024" is 2024 all along.
                let first = match (first, &last) {
                    (Some(Period::Month { year: None, month }), Some(Period::Month { year, .. })) => Some(Period::Month { year: *year, month }),
                    (first, _) => first,
                };
                first.zip(last).map_or_else(String::new, |(first, last)| format!("{column} >= {} AND {column} < {}", start(&first), end(&last)))
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
pub fn identifier(name: &str) -> String {
    const RESERVED: &[&str] = &["order", "group", "select", "from", "where", "table", "user", "limit", "all", "case", "check", "column", "default", "desc", "asc", "end", "in", "on", "primary", "references", "to", "union", "using", "when", "with"];
    let plain = name.chars().enumerate().all(|(index, c)| c == '_' || c.is_ascii_alphabetic() || (index > 0 && c.is_ascii_digit()));
    if plain && !name.is_empty() && !RESERVED.contains(&name.to_lowercase().as_str()) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
