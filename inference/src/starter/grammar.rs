//! Which token may follow: the notation's grammar over the names a prompt holds.
//!
//! Decoding takes the likeliest token among [`State::next`]; what it cannot reach cannot be
//! said, so every call is a known tool with arguments its schema accepts.

use std::collections::BTreeMap;

use super::linking::Referent;
use super::notation::{Keyword, Kind, Token, kind_of};

/// A position in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Start,
    Tool(Keyword),
    /// After the table of a query.
    Query(Token),
    Columns { table: Token, count: u32 },
    Aggregate { table: Token, grouped: bool },
    AggregateColumn { table: Token, grouped: bool, numeric: bool },
    DistinctColumn(Token),
    Group(Token),
    GroupPeriod(Token),
    Tail { table: Token, shape: Shape, conditions: u32 },
    Condition { table: Token, shape: Shape, conditions: u32 },
    Operator { table: Token, shape: Shape, conditions: u32, column: Kind },
    /// A condition still needs this many operands of a kind.
    Operand { table: Token, shape: Shape, conditions: u32, kind: Kind, count: u32 },
    Order { table: Token, shape: Shape },
    LimitOrEnd,
    LimitCount,
    /// Optional arguments of the git and file tools, in this order.
    LogOptions(u32),
    DiffOptions(u32),
    DiffTo,
    ListOptions(u32),
    ReadOptions,
    ReadFirst,
    ReadEnd,
    SearchScope,
    SpanEnd { scope: bool, from: Token },
    Arithmetic,
    ArithmeticOperator(u32),
    ArithmeticOperand(u32),
    OneConstant,
    End,
    Done,
}

/// What a query selects, as far as the rest of it depends on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Rows,
    Distinct,
    Single,
    Grouped,
}

/// Conditions a query may have.
const MAX_CONDITIONS: u32 = 3;
/// Columns a query may name.
const MAX_COLUMNS: u32 = 5;

type Steps = Vec<(Token, State)>;

impl State {
    /// The tokens that may come here and where each leads.
    pub fn next(self, references: &BTreeMap<Token, Referent>) -> Steps {
        let names = Names(references);
        match self {
            State::Start => tools(names),
            State::Tool(tool) => first_argument(tool, names),
            State::Query(table) => query(table, names),
            State::Columns { table, count } => {
                let mut steps = if count > 0 { tail(table, Shape::Rows, 0, names) } else { Vec::new() };
                if count < MAX_COLUMNS {
                    steps.extend(names.columns(table, &[]).map(|column| (column, State::Columns { table, count: count + 1 })));
                }
                steps
            }
            State::DistinctColumn(table) => {
                names.columns(table, &[]).map(|column| (column, State::Tail { table, shape: Shape::Distinct, conditions: 0 })).collect()
            }
            State::Group(table) => {
                let mut steps: Steps = names.columns(table, &[]).map(|column| (column, State::Aggregate { table, grouped: true })).collect();
                if names.columns(table, &[Kind::Date]).next().is_some() {
                    steps.extend([Keyword::Month, Keyword::Year].map(|keyword| (keyword.token(), State::GroupPeriod(table))));
                }
                steps
            }
            State::GroupPeriod(table) => {
                names.columns(table, &[Kind::Date]).map(|column| (column, State::Aggregate { table, grouped: true })).collect()
            }
            State::Aggregate { table, grouped } => aggregates(table, grouped, names),
            State::AggregateColumn { table, grouped, numeric } => {
                let kinds: &[Kind] = if numeric { &[Kind::Number] } else { &[] };
                let shape = if grouped { Shape::Grouped } else { Shape::Single };
                names.columns(table, kinds).map(|column| (column, State::Tail { table, shape, conditions: 0 })).collect()
            }
            State::Tail { table, shape, conditions } => tail(table, shape, conditions, names),
            State::Condition { table, shape, conditions } => condition(table, shape, conditions, names),
            State::Operator { table, shape, conditions, column } => operators(table, shape, conditions, column, names),
            State::Operand { table, shape, conditions, kind, count } => {
                let after = if count > 1 {
                    State::Operand { table, shape, conditions, kind, count: count - 1 }
                } else {
                    State::Tail { table, shape, conditions: conditions + 1 }
                };
                let values = names.values_of(table);
                names.of(kind).filter(|token| kind != Kind::Value || values.contains(token)).map(|token| (token, after)).collect()
            }
            State::Order { table, shape } => match shape {
                Shape::Grouped => limit(names),
                Shape::Distinct | Shape::Single | Shape::Rows => names.columns(table, &[]).map(|column| (column, State::LimitOrEnd)).collect(),
            },
            State::LimitOrEnd => limit(names),
            State::LimitCount => {
                let mut steps: Steps = names.of(Kind::Constant).map(|token| (token, State::End)).collect();
                steps.extend([Keyword::One, Keyword::Few].map(|keyword| (keyword.token(), State::End)));
                steps
            }
            State::LogOptions(stage) => log_options(stage, names),
            State::DiffOptions(stage) => diff_options(stage, names),
            State::DiffTo => names.of(Kind::Branch).map(|token| (token, State::DiffOptions(1))).collect(),
            State::ListOptions(stage) => list_options(stage, names),
            State::ReadOptions => {
                let mut steps: Steps = names.of(Kind::Constant).map(|token| (token, State::ReadEnd)).collect();
                if !steps.is_empty() {
                    steps.push((Keyword::First.token(), State::ReadFirst));
                }
                steps.push(end());
                steps
            }
            State::ReadFirst | State::OneConstant => names.of(Kind::Constant).map(|token| (token, State::End)).collect(),
            State::ReadEnd => {
                let mut steps: Steps = names.of(Kind::Constant).map(|token| (token, State::End)).collect();
                steps.push(end());
                steps
            }
            State::SearchScope => {
                let mut steps: Steps = names.of(Kind::Folder).chain(names.of(Kind::File)).map(|token| (token, State::End)).collect();
                steps.push(end());
                steps
            }
            State::SpanEnd { scope, from } => {
                let after = if scope { State::SearchScope } else { State::End };
                names.of(Kind::Word).filter(|token| *token >= from).map(|token| (token, after)).collect()
            }
            State::Arithmetic => {
                let mut steps: Steps = names.of(Kind::Expression).map(|token| (token, State::End)).collect();
                steps.extend(names.of(Kind::Constant).map(|token| (token, State::ArithmeticOperator(1))));
                if names.of(Kind::Constant).next().is_some() {
                    steps.extend([Keyword::SquareRoot, Keyword::Square].map(|keyword| (keyword.token(), State::OneConstant)));
                }
                steps
            }
            State::ArithmeticOperator(operands) => {
                use Keyword::{Minus, Over, PercentOf, Plus, Power, Times};
                let mut steps = if operands > 1 { vec![end()] } else { Vec::new() };
                if operands < 5 {
                    steps.extend([Plus, Minus, Times, Over, Power, PercentOf].map(|keyword| (keyword.token(), State::ArithmeticOperand(operands + 1))));
                }
                steps
            }
            State::ArithmeticOperand(operands) => names.of(Kind::Constant).map(|token| (token, State::ArithmeticOperator(operands))).collect(),
            State::End => vec![end()],
            State::Done => Vec::new(),
        }
    }

    /// The state after `token`, `None` where the grammar does not admit it.
    pub fn after(self, token: Token, references: &BTreeMap<Token, Referent>) -> Option<State> {
        self.next(references).into_iter().find(|(candidate, _)| *candidate == token).map(|(_, state)| state)
    }
}

fn end() -> (Token, State) {
    (Keyword::End.token(), State::Done)
}

/// The references of a prompt, by kind.
#[derive(Clone, Copy)]
struct Names<'a>(&'a BTreeMap<Token, Referent>);

impl<'a> Names<'a> {
    fn of(self, kind: Kind) -> impl Iterator<Item = Token> + 'a {
        self.0.keys().copied().filter(move |token| kind_of(*token) == Some(kind))
    }

    fn has(self, kind: Kind) -> bool {
        self.of(kind).next().is_some()
    }

    /// Columns of a table; of these kinds, or of any where `kinds` is empty.
    fn columns(self, table: Token, kinds: &'a [Kind]) -> impl Iterator<Item = Token> + 'a {
        self.0.iter().filter_map(move |(token, referent)| match referent {
            Referent::Column { table: owner, .. } if *owner == table && (kinds.is_empty() || kind_of(*token).is_some_and(|kind| kinds.contains(&kind))) => Some(*token),
            _ => None,
        })
    }

    fn values_of(self, table: Token) -> Vec<Token> {
        let columns: Vec<Token> = self.columns(table, &[]).collect();
        self.0
            .iter()
            .filter_map(|(token, referent)| match referent {
                Referent::Value { columns: owners, .. } if owners.iter().any(|owner| columns.contains(owner)) => Some(*token),
                _ => None,
            })
            .collect()
    }
}

fn tools(names: Names<'_>) -> Steps {
    use Keyword::{Calculate, Decline, DescribeTable, ExplainError, GitDiff, GitLog, GitStatus, ListFiles, ReadFile, Recall, Remember, RunRust, SearchDocs, SearchFiles, Sql};
    [Sql, DescribeTable, GitStatus, GitLog, GitDiff, ListFiles, ReadFile, SearchFiles, RunRust, Calculate, Remember, Recall, ExplainError, SearchDocs, Decline]
        .into_iter()
        .filter(|tool| match tool {
            Sql | DescribeTable => names.has(Kind::Table),
            ReadFile => names.has(Kind::File),
            RunRust => names.has(Kind::Code),
            Calculate => names.has(Kind::Expression) || names.has(Kind::Constant),
            SearchFiles | Remember | Recall | SearchDocs => names.has(Kind::Word),
            _ => true,
        })
        .map(|tool| (tool.token(), State::Tool(tool)))
        .collect()
}

fn first_argument(tool: Keyword, names: Names<'_>) -> Steps {
    match tool {
        Keyword::Sql => names.of(Kind::Table).map(|token| (token, State::Query(token))).collect(),
        Keyword::DescribeTable => names.of(Kind::Table).map(|token| (token, State::End)).collect(),
        Keyword::GitLog => log_options(0, names),
        Keyword::GitDiff => diff_options(0, names),
        Keyword::ListFiles => list_options(0, names),
        Keyword::ReadFile => names.of(Kind::File).map(|token| (token, State::ReadOptions)).collect(),
        Keyword::RunRust => names.of(Kind::Code).map(|token| (token, State::End)).collect(),
        Keyword::Calculate => State::Arithmetic.next(names.0),
        Keyword::SearchFiles => {
            let mut steps: Steps = names.of(Kind::Literal).map(|token| (token, State::SearchScope)).collect();
            steps.extend(names.of(Kind::Word).map(|token| (token, State::SpanEnd { scope: true, from: token })));
            steps
        }
        Keyword::Remember | Keyword::Recall | Keyword::SearchDocs => names.of(Kind::Word).map(|token| (token, State::SpanEnd { scope: false, from: token })).collect(),
        _ => vec![end()],
    }
}

fn query(table: Token, names: Names<'_>) -> Steps {
    let mut steps = vec![
        (Keyword::All.token(), State::Tail { table, shape: Shape::Rows, conditions: 0 }),
        (Keyword::Columns.token(), State::Columns { table, count: 0 }),
        (Keyword::Distinct.token(), State::DistinctColumn(table)),
        (Keyword::By.token(), State::Group(table)),
    ];
    steps.extend(aggregates(table, false, names));
    steps
}

fn aggregates(table: Token, grouped: bool, names: Names<'_>) -> Steps {
    let shape = if grouped { Shape::Grouped } else { Shape::Single };
    let mut steps = vec![
        (Keyword::Count.token(), State::Tail { table, shape, conditions: 0 }),
        (Keyword::CountDistinct.token(), State::AggregateColumn { table, grouped, numeric: false }),
        (Keyword::Minimum.token(), State::AggregateColumn { table, grouped, numeric: false }),
        (Keyword::Maximum.token(), State::AggregateColumn { table, grouped, numeric: false }),
    ];
    if names.columns(table, &[Kind::Number]).next().is_some() {
        steps.extend([Keyword::Sum, Keyword::Average].map(|keyword| (keyword.token(), State::AggregateColumn { table, grouped, numeric: true })));
    }
    steps
}

fn tail(table: Token, shape: Shape, conditions: u32, names: Names<'_>) -> Steps {
    let mut steps = vec![end()];
    if conditions < MAX_CONDITIONS {
        steps.push((Keyword::Where.token(), State::Condition { table, shape, conditions }));
    }
    if matches!(shape, Shape::Rows | Shape::Grouped) {
        steps.extend([Keyword::Ascending, Keyword::Descending].map(|keyword| (keyword.token(), State::Order { table, shape })));
    }
    if matches!(shape, Shape::Rows | Shape::Distinct | Shape::Grouped) {
        steps.extend(limit(names).into_iter().filter(|(token, _)| *token == Keyword::Limit.token()));
    }
    steps
}

fn limit(_names: Names<'_>) -> Steps {
    vec![end(), (Keyword::Limit.token(), State::LimitCount)]
}

fn condition(table: Token, shape: Shape, conditions: u32, names: Names<'_>) -> Steps {
    let mut steps: Steps = names.values_of(table).into_iter().map(|value| (value, State::Tail { table, shape, conditions: conditions + 1 })).collect();
    if !steps.is_empty() {
        steps.push((Keyword::IsNot.token(), State::Operand { table, shape, conditions, kind: Kind::Value, count: 1 }));
    }
    steps.extend(names.columns(table, &[]).filter_map(|column| kind_of(column).map(|kind| (column, State::Operator { table, shape, conditions, column: kind }))));
    steps
}

fn operators(table: Token, shape: Shape, conditions: u32, column: Kind, names: Names<'_>) -> Steps {
    use Keyword::{Above, After, AtLeast, AtMost, Before, Below, Between, Contains, During, Is, IsNot, Missing, Present, Since};
    let operand = |kind, count| State::Operand { table, shape, conditions, kind, count };
    let done = State::Tail { table, shape, conditions: conditions + 1 };
    let mut steps = vec![(Missing.token(), done), (Present.token(), done)];
    match column {
        Kind::Number if names.has(Kind::Constant) => {
            steps.extend([Is, IsNot, Above, Below, AtLeast, AtMost].map(|keyword| (keyword.token(), operand(Kind::Constant, 1))));
            steps.push((Between.token(), operand(Kind::Constant, 2)));
        }
        Kind::Text if names.has(Kind::Literal) => {
            steps.extend([Is, IsNot, Contains].map(|keyword| (keyword.token(), operand(Kind::Literal, 1))));
        }
        Kind::Date if names.has(Kind::Period) => {
            steps.extend([During, After, Since, Before].map(|keyword| (keyword.token(), operand(Kind::Period, 1))));
            steps.push((Between.token(), operand(Kind::Period, 2)));
        }
        _ => {}
    }
    steps
}

fn log_options(stage: u32, names: Names<'_>) -> Steps {
    let mut steps = vec![end()];
    if stage < 1 {
        steps.extend(names.of(Kind::Constant).map(|token| (token, State::LogOptions(1))));
        steps.push((Keyword::One.token(), State::LogOptions(1)));
    }
    if stage < 2 {
        steps.extend(names.of(Kind::File).chain(names.of(Kind::Folder)).map(|token| (token, State::LogOptions(2))));
    }
    steps.extend(names.of(Kind::Branch).map(|token| (token, State::End)));
    steps
}

fn diff_options(stage: u32, names: Names<'_>) -> Steps {
    let mut steps = vec![end()];
    if stage < 1 {
        steps.push((Keyword::Staged.token(), State::DiffOptions(1)));
        steps.push((Keyword::Previous.token(), State::DiffOptions(1)));
        steps.extend(names.of(Kind::Branch).map(|token| (token, State::DiffTo)));
    }
    steps.extend(names.of(Kind::File).chain(names.of(Kind::Folder)).map(|token| (token, State::End)));
    steps
}

fn list_options(stage: u32, names: Names<'_>) -> Steps {
    let mut steps = vec![end()];
    if stage < 1 {
        steps.extend(names.of(Kind::Folder).map(|token| (token, State::ListOptions(1))));
    }
    steps.extend(names.of(Kind::Glob).map(|token| (token, State::End)));
    steps
}
