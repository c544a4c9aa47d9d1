//! From the notation to a tool call: the name and its JSON arguments.

mod query;

use serde_json::{Map, Value, json};

use super::linking::{Linked, Referent};
use super::notation::{Keyword, Kind, Token, kind_of};
use super::topic;

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

/// Reads a call that [`super::grammar`] admitted.
pub fn read(tokens: &[Token], linked: &Linked) -> Call {
    let mut reader = Reader {
        tokens: tokens.iter().copied().filter(|token| *token != Keyword::End.token()).collect(),
        position: 0,
        linked,
    };
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
                Referent::Table(text)
                | Referent::Column { name: text, .. }
                | Referent::Constant(text)
                | Referent::Literal(text)
                | Referent::File(text)
                | Referent::Folder(text)
                | Referent::Glob(text)
                | Referent::Branch(text)
                | Referent::Expression(text)
                | Referent::Code(text)
                | Referent::Value { text, .. },
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
        let whole =
            |expression: &str| if expression.contains(' ') { format!("({expression})") } else { expression.to_owned() };
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
}
