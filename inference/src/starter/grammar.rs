//! Which token may follow: the notation's grammar over the names a prompt holds.
//!
//! Decoding takes the likeliest token among [`State::next`]; what it cannot reach cannot be
//! said, so every call is a known tool with arguments its schema accepts.

mod steps;

use std::collections::BTreeMap;

use super::linking::Referent;
use super::notation::{Keyword, Kind, Token, kind_of};
use steps::{
    aggregates, arithmetic, arithmetic_operators, condition, diff_options, first_argument, limit, list_options,
    log_options, operators, query, tail, tools,
};

/// A position in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Start,
    Tool(Keyword),
    /// After the table of a query.
    Query(Token),
    Columns {
        table: Token,
        count: u32,
    },
    /// After a key of the groups: another key, or what is computed.
    Keyed(Token),
    Aggregate {
        table: Token,
        grouped: bool,
        count: u32,
    },
    AggregateColumn {
        table: Token,
        grouped: bool,
        numeric: bool,
        count: u32,
    },
    /// After a sum's or an average's column: times another?
    Product {
        table: Token,
        grouped: bool,
        count: u32,
    },
    Factor {
        table: Token,
        grouped: bool,
        count: u32,
    },
    Aggregated {
        table: Token,
        grouped: bool,
        count: u32,
    },
    DistinctColumn(Token),
    Group(Token),
    GroupPeriod(Token),
    Tail {
        table: Token,
        shape: Shape,
        conditions: u32,
    },
    Condition {
        table: Token,
        shape: Shape,
        conditions: u32,
    },
    Operator {
        table: Token,
        shape: Shape,
        conditions: u32,
        column: Kind,
    },
    /// A condition still needs this many operands of a kind.
    Operand {
        table: Token,
        shape: Shape,
        conditions: u32,
        kind: Kind,
        count: u32,
    },
    /// A condition's operand that is words of the request still needs its last word.
    OperandEnd {
        table: Token,
        shape: Shape,
        conditions: u32,
        from: Token,
    },
    /// After a value that is wanted: another instead of it?
    Valued {
        table: Token,
        shape: Shape,
        conditions: u32,
    },
    Alternative {
        table: Token,
        shape: Shape,
        conditions: u32,
    },
    Having {
        table: Token,
    },
    HavingNumber {
        table: Token,
    },
    Order {
        table: Token,
        shape: Shape,
    },
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
    SpanEnd {
        scope: bool,
        from: Token,
    },
    Arithmetic,
    ArithmeticOperator(u32),
    ArithmeticOperand(u32),
    /// After [`Keyword::Result`]: the operator that takes the result so far.
    OnResult(u32),
    /// A function of one number, which may go on.
    OneConstant,
    /// A function of this many numbers.
    Constants(u32),
    /// A function of as many numbers as there are.
    Several(u32),
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
    /// Groups of which some are left out.
    Filtered,
}

/// Numbers that arithmetic may combine.
const MAX_OPERANDS: u32 = 6;
/// Aggregates that a query may compute side by side.
const MAX_AGGREGATES: u32 = 3;
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
                    steps.extend(
                        names.columns(table, &[]).map(|column| (column, State::Columns { table, count: count + 1 })),
                    );
                }
                steps
            }
            State::DistinctColumn(table) => names
                .columns(table, &[])
                .map(|column| (column, State::Tail { table, shape: Shape::Distinct, conditions: 0 }))
                .collect(),
            State::Group(table) => {
                let mut steps: Steps = names.columns(table, &[]).map(|column| (column, State::Keyed(table))).collect();
                if names.columns(table, &[Kind::Date]).next().is_some() {
                    steps.extend(
                        [Keyword::Day, Keyword::Week, Keyword::Month, Keyword::Quarter, Keyword::Year]
                            .map(|keyword| (keyword.token(), State::GroupPeriod(table))),
                    );
                }
                steps
            }
            State::GroupPeriod(table) => names
                .columns(table, &[Kind::Date])
                .map(|column| (column, State::Aggregate { table, grouped: true, count: 1 }))
                .collect(),
            State::Keyed(table) => {
                let mut steps = aggregates(table, true, 1, names);
                steps.extend(
                    names
                        .columns(table, &[Kind::Text, Kind::Flag, Kind::Date])
                        .map(|column| (column, State::Aggregate { table, grouped: true, count: 1 })),
                );
                steps
            }
            State::Aggregate { table, grouped, count } => aggregates(table, grouped, count, names),
            State::AggregateColumn { table, grouped, numeric, count } => {
                let kinds: &[Kind] = if numeric { &[Kind::Number] } else { &[] };
                let after = if numeric {
                    State::Product { table, grouped, count }
                } else {
                    State::Aggregated { table, grouped, count }
                };
                names.columns(table, kinds).map(|column| (column, after)).collect()
            }
            State::Product { table, grouped, count } => {
                let mut steps = State::Aggregated { table, grouped, count }.next(references);
                steps.push((Keyword::Times.token(), State::Factor { table, grouped, count }));
                steps
            }
            State::Factor { table, grouped, count } => names
                .columns(table, &[Kind::Number])
                .map(|column| (column, State::Aggregated { table, grouped, count }))
                .collect(),
            State::Aggregated { table, grouped, count } => {
                let mut steps = tail(table, if grouped { Shape::Grouped } else { Shape::Single }, 0, names);
                if count < MAX_AGGREGATES {
                    steps.push((Keyword::And.token(), State::Aggregate { table, grouped, count: count + 1 }));
                }
                steps
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
                let mut steps: Steps = names
                    .of(kind)
                    .filter(|token| kind != Kind::Value || values.contains(token))
                    .map(|token| (token, after))
                    .collect();
                match kind {
                    // "More than average".
                    Kind::Constant if count == 1 => steps.push((Keyword::Average.token(), after)),
                    Kind::Literal => steps.extend(
                        names.of(Kind::Word).map(|from| (from, State::OperandEnd { table, shape, conditions, from })),
                    ),
                    _ => {}
                }
                steps
            }
            State::OperandEnd { table, shape, conditions, from } => names
                .of(Kind::Word)
                .filter(|token| *token >= from)
                .map(|token| (token, State::Tail { table, shape, conditions: conditions + 1 }))
                .collect(),
            State::Valued { table, shape, conditions } => {
                let mut steps = tail(table, shape, conditions, names);
                if names.values_of(table).len() > 1 {
                    steps.push((Keyword::Or.token(), State::Alternative { table, shape, conditions }));
                }
                steps
            }
            State::Alternative { table, shape, conditions } => names
                .values_of(table)
                .into_iter()
                .map(|value| (value, State::Valued { table, shape, conditions }))
                .collect(),
            State::Having { table } => [Keyword::Above, Keyword::Below, Keyword::AtLeast, Keyword::AtMost, Keyword::Is]
                .map(|keyword| (keyword.token(), State::HavingNumber { table }))
                .to_vec(),
            State::HavingNumber { table } => {
                let mut steps: Steps = names
                    .of(Kind::Constant)
                    .map(|token| (token, State::Tail { table, shape: Shape::Filtered, conditions: MAX_CONDITIONS }))
                    .collect();
                steps.push((
                    Keyword::One.token(),
                    State::Tail { table, shape: Shape::Filtered, conditions: MAX_CONDITIONS },
                ));
                steps
            }
            State::Order { table, shape } => match shape {
                Shape::Grouped | Shape::Filtered => limit(),
                Shape::Distinct | Shape::Single | Shape::Rows => {
                    names.columns(table, &[]).map(|column| (column, State::LimitOrEnd)).collect()
                }
            },
            State::LimitOrEnd => limit(),
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
            State::ReadFirst => names.of(Kind::Constant).map(|token| (token, State::End)).collect(),
            State::ReadEnd => {
                let mut steps: Steps = names.of(Kind::Constant).map(|token| (token, State::End)).collect();
                steps.push(end());
                steps
            }
            State::SearchScope => {
                let mut steps: Steps =
                    names.of(Kind::Folder).chain(names.of(Kind::File)).map(|token| (token, State::End)).collect();
                steps.push(end());
                steps
            }
            State::SpanEnd { scope, from } => {
                let after = if scope { State::SearchScope } else { State::End };
                names.of(Kind::Word).filter(|token| *token >= from).map(|token| (token, after)).collect()
            }
            State::Arithmetic => arithmetic(names),
            State::ArithmeticOperator(operands) => {
                let mut steps = if operands > 1 { vec![end()] } else { Vec::new() };
                steps.extend(arithmetic_operators(operands));
                if (2..MAX_OPERANDS).contains(&operands) {
                    steps.push((Keyword::Result.token(), State::OnResult(operands)));
                }
                steps
            }
            State::OnResult(operands) => arithmetic_operators(operands),
            State::ArithmeticOperand(operands) => {
                names.of(Kind::Constant).map(|token| (token, State::ArithmeticOperator(operands))).collect()
            }
            State::OneConstant => names.of(Kind::Constant).map(|token| (token, State::ArithmeticOperator(2))).collect(),
            State::Constants(count) => {
                let after = if count > 1 { State::Constants(count - 1) } else { State::End };
                names.of(Kind::Constant).map(|token| (token, after)).collect()
            }
            State::Several(count) => {
                let mut steps = if count > 1 { vec![end()] } else { Vec::new() };
                if count < MAX_OPERANDS {
                    steps.extend(names.of(Kind::Constant).map(|token| (token, State::Several(count + 1))));
                }
                steps
            }
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
            Referent::Column { table: owner, .. }
                if *owner == table
                    && (kinds.is_empty() || kind_of(*token).is_some_and(|kind| kinds.contains(&kind))) =>
            {
                Some(*token)
            }
            _ => None,
        })
    }

    fn values_of(self, table: Token) -> Vec<Token> {
        let columns: Vec<Token> = self.columns(table, &[]).collect();
        self.0
            .iter()
            .filter_map(|(token, referent)| match referent {
                Referent::Value { columns: owners, .. } if owners.iter().any(|owner| columns.contains(owner)) => {
                    Some(*token)
                }
                _ => None,
            })
            .collect()
    }
}
