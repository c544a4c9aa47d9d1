//! The syntax tree of templates.

use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Statement {
    pub(super) line: usize,
    pub(super) kind: StatementKind,
}

pub(super) type Body = Vec<Statement>;

#[derive(Debug)]
pub(super) enum StatementKind {
    Text(String),
    Print(Expression),
    If {
        branches: Vec<(Expression, Body)>,
        otherwise: Body,
    },
    For(Arc<For>),
    Set {
        target: Target,
        value: Expression,
    },
    SetBlock {
        target: Target,
        filters: Option<Expression>,
        body: Body,
    },
    With {
        bindings: Vec<(Target, Expression)>,
        body: Body,
    },
    Macro(Arc<Macro>),
    CallBlock {
        call: Expression,
        caller: Arc<Macro>,
    },
    FilterBlock {
        filters: Expression,
        body: Body,
    },
    /// A body with a scope of its own: `{% generation %}`, `{% block %}`.
    Scoped(Body),
    Break,
    Continue,
}

#[derive(Debug)]
pub(super) struct For {
    pub(super) target: Target,
    pub(super) items: Expression,
    pub(super) condition: Option<Expression>,
    pub(super) recursive: bool,
    pub(super) body: Body,
    pub(super) otherwise: Body,
}

#[derive(Debug)]
pub(super) struct Macro {
    pub(super) name: String,
    /// Parameters with their defaults.
    pub(super) parameters: Vec<(String, Option<Expression>)>,
    pub(super) body: Body,
    /// Which of the implicit variables the body mentions; what it does not mention is refused in calls.
    pub(super) uses: Implicit,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Implicit {
    pub(super) varargs: bool,
    pub(super) kwargs: bool,
    pub(super) caller: bool,
}

#[derive(Debug)]
pub(super) enum Target {
    Name(String),
    /// `namespace.attribute`
    Attribute(String, String),
    Tuple(Vec<Target>),
}

#[derive(Debug)]
pub(super) enum Expression {
    Constant(Constant),
    Name(String),
    List(Vec<Expression>),
    Tuple(Vec<Expression>),
    Dict(Vec<(Expression, Expression)>),
    Attribute(Box<Expression>, String),
    Item(Box<Expression>, Box<Expression>),
    Slice(Box<Expression>, Box<[Option<Expression>; 3]>),
    Call(Box<Expression>, Box<Arguments>),
    /// Within `{% filter %}` and `{% set x | .. %}` the innermost filter has no value: it takes the body's text.
    Filter {
        value: Option<Box<Expression>>,
        name: String,
        arguments: Box<Arguments>,
    },
    Test {
        value: Box<Expression>,
        name: String,
        arguments: Box<Arguments>,
    },
    Negative(Box<Expression>),
    Positive(Box<Expression>),
    Not(Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Arithmetic(Operator, Box<Expression>, Box<Expression>),
    Concatenation(Vec<Expression>),
    Comparison(Box<Expression>, Vec<(Comparison, Expression)>),
    Conditional {
        condition: Box<Expression>,
        value: Box<Expression>,
        otherwise: Option<Box<Expression>>,
    },
}

#[derive(Debug, Clone)]
pub(super) enum Constant {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
}

#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) positional: Vec<Expression>,
    pub(super) named: Vec<(String, Expression)>,
    /// `*args` and `**kwargs`.
    pub(super) more: Option<Expression>,
    pub(super) more_named: Option<Expression>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    Power,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}
