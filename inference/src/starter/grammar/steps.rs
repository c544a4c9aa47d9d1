//! What may follow at each kind of place.

use super::{MAX_CONDITIONS, MAX_OPERANDS, Names, Shape, State, Steps, end};
use crate::starter::notation::{Keyword, Kind, Token, kind_of};

pub(super) fn tools(names: Names<'_>) -> Steps {
    use Keyword::{
        Calculate, Decline, DescribeTable, ExplainError, GitDiff, GitLog, GitStatus, ListFiles, ReadFile, Recall,
        Remember, RunRust, SearchDocs, SearchFiles, Sql,
    };
    [
        Sql,
        DescribeTable,
        GitStatus,
        GitLog,
        GitDiff,
        ListFiles,
        ReadFile,
        SearchFiles,
        RunRust,
        Calculate,
        Remember,
        Recall,
        ExplainError,
        SearchDocs,
        Decline,
    ]
    .into_iter()
    .filter(|tool| match tool {
        Sql | DescribeTable => names.has(Kind::Table),
        ReadFile => names.has(Kind::File),
        RunRust => names.has(Kind::Code),
        Calculate => names.has(Kind::Expression) || names.has(Kind::Constant),
        SearchFiles | Remember => names.has(Kind::Word),
        _ => true,
    })
    .map(|tool| (tool.token(), State::Tool(tool)))
    .collect()
}

pub(super) fn first_argument(tool: Keyword, names: Names<'_>) -> Steps {
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
        Keyword::Remember => {
            names.of(Kind::Word).map(|token| (token, State::SpanEnd { scope: false, from: token })).collect()
        }
        _ => vec![end()],
    }
}

pub(super) fn query(table: Token, names: Names<'_>) -> Steps {
    let mut steps = vec![
        (Keyword::All.token(), State::Tail { table, shape: Shape::Rows, conditions: 0 }),
        (Keyword::Columns.token(), State::Columns { table, count: 0 }),
        (Keyword::Distinct.token(), State::DistinctColumn(table)),
        (Keyword::By.token(), State::Group(table)),
    ];
    steps.extend(aggregates(table, false, 1, names));
    steps
}

pub(super) fn aggregates(table: Token, grouped: bool, count: u32, names: Names<'_>) -> Steps {
    let column = |numeric| State::AggregateColumn { table, grouped, numeric, count };
    let mut steps = vec![
        (Keyword::Count.token(), State::Aggregated { table, grouped, count }),
        (Keyword::CountDistinct.token(), column(false)),
        (Keyword::Minimum.token(), column(false)),
        (Keyword::Maximum.token(), column(false)),
    ];
    if names.columns(table, &[Kind::Number]).next().is_some() {
        steps.extend([Keyword::Sum, Keyword::Average].map(|keyword| (keyword.token(), column(true))));
    }
    steps
}

/// Numbers and what is done with them, or functions of numbers.
pub(super) fn arithmetic(names: Names<'_>) -> Steps {
    let mut steps: Steps = names.of(Kind::Expression).map(|token| (token, State::End)).collect();
    let constants = names.of(Kind::Constant).count();
    steps.extend(names.of(Kind::Constant).map(|token| (token, State::ArithmeticOperator(1))));
    if constants > 0 {
        steps.extend([Keyword::SquareRoot, Keyword::Square].map(|keyword| (keyword.token(), State::OneConstant)));
    }
    if constants > 1 {
        steps.extend([
            (Keyword::Average.token(), State::Several(0)),
            (Keyword::Share.token(), State::Constants(2)),
            (Keyword::Change.token(), State::Constants(2)),
        ]);
    }
    steps
}

pub(super) fn arithmetic_operators(operands: u32) -> Steps {
    use Keyword::{Decrease, Increase, Minus, Over, PercentOf, Plus, Power, Remainder, Times};
    if operands >= MAX_OPERANDS {
        return Vec::new();
    }
    [Plus, Minus, Times, Over, Power, PercentOf, Remainder, Increase, Decrease]
        .map(|keyword| (keyword.token(), State::ArithmeticOperand(operands + 1)))
        .to_vec()
}

pub(super) fn tail(table: Token, shape: Shape, conditions: u32, names: Names<'_>) -> Steps {
    let mut steps = vec![end()];
    if conditions < MAX_CONDITIONS {
        steps.push((Keyword::Where.token(), State::Condition { table, shape, conditions }));
    }
    if shape == Shape::Grouped && (names.has(Kind::Constant)) {
        steps.push((Keyword::Having.token(), State::Having { table }));
    }
    if matches!(shape, Shape::Rows | Shape::Grouped | Shape::Filtered) {
        steps.extend(
            [Keyword::Ascending, Keyword::Descending].map(|keyword| (keyword.token(), State::Order { table, shape })),
        );
    }
    if matches!(shape, Shape::Rows | Shape::Distinct | Shape::Grouped | Shape::Filtered) {
        steps.extend(limit().into_iter().filter(|(token, _)| *token == Keyword::Limit.token()));
    }
    steps
}

pub(super) fn limit() -> Steps {
    vec![end(), (Keyword::Limit.token(), State::LimitCount)]
}

pub(super) fn condition(table: Token, shape: Shape, conditions: u32, names: Names<'_>) -> Steps {
    let mut steps: Steps = names
        .values_of(table)
        .into_iter()
        .map(|value| (value, State::Valued { table, shape, conditions: conditions + 1 }))
        .collect();
    if !steps.is_empty() {
        steps.push((Keyword::IsNot.token(), State::Operand { table, shape, conditions, kind: Kind::Value, count: 1 }));
    }
    steps.extend(names.columns(table, &[]).filter_map(|column| {
        kind_of(column).map(|kind| (column, State::Operator { table, shape, conditions, column: kind }))
    }));
    steps
}

pub(super) fn operators(table: Token, shape: Shape, conditions: u32, column: Kind, names: Names<'_>) -> Steps {
    use Keyword::{
        Above, After, AtLeast, AtMost, Before, Below, Between, Contains, During, EndsWith, False, Is, IsNot, Missing,
        Present, Since, StartsWith, True,
    };
    let operand = |kind, count| State::Operand { table, shape, conditions, kind, count };
    let done = State::Tail { table, shape, conditions: conditions + 1 };
    let mut steps = vec![(Missing.token(), done), (Present.token(), done)];
    match column {
        Kind::Number if names.has(Kind::Constant) => {
            steps.extend(
                [Is, IsNot, Above, Below, AtLeast, AtMost].map(|keyword| (keyword.token(), operand(Kind::Constant, 1))),
            );
            steps.push((Between.token(), operand(Kind::Constant, 2)));
        }
        Kind::Number => steps.extend([Above, Below].map(|keyword| (keyword.token(), operand(Kind::Constant, 1)))),
        Kind::Flag => steps.extend([True, False].map(|keyword| (keyword.token(), done))),
        Kind::Text => {
            steps.extend(
                [Is, IsNot, Contains, StartsWith, EndsWith].map(|keyword| (keyword.token(), operand(Kind::Literal, 1))),
            );
        }
        Kind::Date if names.has(Kind::Period) => {
            steps.extend([During, After, Since, Before].map(|keyword| (keyword.token(), operand(Kind::Period, 1))));
            steps.push((Between.token(), operand(Kind::Period, 2)));
        }
        _ => {}
    }
    steps
}

pub(super) fn log_options(stage: u32, names: Names<'_>) -> Steps {
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

pub(super) fn diff_options(stage: u32, names: Names<'_>) -> Steps {
    let mut steps = vec![end()];
    if stage < 1 {
        steps.push((Keyword::Staged.token(), State::DiffOptions(1)));
        steps.push((Keyword::Previous.token(), State::DiffOptions(1)));
        steps.extend(names.of(Kind::Branch).map(|token| (token, State::DiffTo)));
    }
    steps.extend(names.of(Kind::File).chain(names.of(Kind::Folder)).map(|token| (token, State::End)));
    steps
}

pub(super) fn list_options(stage: u32, names: Names<'_>) -> Steps {
    let mut steps = vec![end()];
    if stage < 1 {
        steps.extend(names.of(Kind::Folder).map(|token| (token, State::ListOptions(1))));
    }
    steps.extend(names.of(Kind::Glob).map(|token| (token, State::End)));
    steps
}
