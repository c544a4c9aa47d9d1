//! Expressions, with the precedences of `jinja2.parser`: `~` binds more tightly than `+`, filters more
//! tightly than any operator, and comparisons chain.

use super::Result;
use super::lexer::TokenKind;
use super::parser::Parser;
use super::syntax::{Arguments, Comparison, Constant, Expression, Operator};

/// Operators in a row (`a + b + c + ..`), which nest to the left.
const LONGEST_CHAIN: usize = 1000;

impl Parser {
    pub(super) fn expression(&mut self, conditionals: bool) -> Result<Expression> {
        self.nested(|parser| if conditionals { parser.conditional() } else { parser.or() })
    }

    fn conditional(&mut self) -> Result<Expression> {
        let mut value = self.or()?;
        while self.skip_name("if") {
            let condition = Box::new(self.or()?);
            let otherwise = if self.skip_name("else") { Some(Box::new(self.nested(Self::conditional)?)) } else { None };
            value = Expression::Conditional { condition, value: Box::new(value), otherwise };
        }
        Ok(value)
    }

    fn or(&mut self) -> Result<Expression> {
        self.chain(
            Self::and,
            |parser| parser.skip_name("or").then_some(()),
            |(), left, right| Expression::Or(Box::new(left), Box::new(right)),
        )
    }

    fn and(&mut self) -> Result<Expression> {
        self.chain(
            Self::not,
            |parser| parser.skip_name("and").then_some(()),
            |(), left, right| Expression::And(Box::new(left), Box::new(right)),
        )
    }

    fn not(&mut self) -> Result<Expression> {
        if self.skip_name("not") {
            return Ok(Expression::Not(Box::new(self.nested(Self::not)?)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expression> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        while let Some(comparison) = self.comparison_operator() {
            rest.push((comparison, self.sum()?));
        }
        Ok(if rest.is_empty() { first } else { Expression::Comparison(Box::new(first), rest) })
    }

    fn comparison_operator(&mut self) -> Option<Comparison> {
        let (comparison, tokens) = match self.peek() {
            TokenKind::Operator("==") => (Comparison::Equal, 1),
            TokenKind::Operator("!=") => (Comparison::NotEqual, 1),
            TokenKind::Operator("<") => (Comparison::Less, 1),
            TokenKind::Operator("<=") => (Comparison::LessOrEqual, 1),
            TokenKind::Operator(">") => (Comparison::Greater, 1),
            TokenKind::Operator(">=") => (Comparison::GreaterOrEqual, 1),
            TokenKind::Name(name) if name == "in" => (Comparison::In, 1),
            TokenKind::Name(name) if name == "not" && matches!(self.look(1), TokenKind::Name(next) if next == "in") => {
                (Comparison::NotIn, 2)
            }
            _ => return None,
        };
        for _ in 0..tokens {
            self.advance();
        }
        Some(comparison)
    }

    fn sum(&mut self) -> Result<Expression> {
        self.arithmetic(Self::concatenation, &[("+", Operator::Add), ("-", Operator::Subtract)])
    }

    fn concatenation(&mut self) -> Result<Expression> {
        let mut parts = vec![self.product()?];
        while self.skip_operator("~") {
            parts.push(self.product()?);
        }
        Ok(match parts.pop() {
            Some(only) if parts.is_empty() => only,
            last => {
                parts.extend(last);
                Expression::Concatenation(parts)
            }
        })
    }

    fn product(&mut self) -> Result<Expression> {
        let operators = [
            ("*", Operator::Multiply),
            ("/", Operator::Divide),
            ("//", Operator::FloorDivide),
            ("%", Operator::Modulo),
        ];
        self.arithmetic(Self::power, &operators)
    }

    fn power(&mut self) -> Result<Expression> {
        self.arithmetic(|parser| parser.unary(true), &[("**", Operator::Power)])
    }

    fn arithmetic(
        &mut self,
        operand: impl Fn(&mut Self) -> Result<Expression>,
        operators: &[(&str, Operator)],
    ) -> Result<Expression> {
        let next = |parser: &mut Self| {
            let found = operators.iter().find(|(symbol, _)| parser.skip_operator(symbol));
            found.map(|(_, operator)| *operator)
        };
        self.chain(operand, next, |operator, left, right| {
            Expression::Arithmetic(operator, Box::new(left), Box::new(right))
        })
    }

    fn chain<T>(
        &mut self,
        operand: impl Fn(&mut Self) -> Result<Expression>,
        operator: impl Fn(&mut Self) -> Option<T>,
        join: impl Fn(T, Expression, Expression) -> Expression,
    ) -> Result<Expression> {
        let mut left = operand(self)?;
        let mut length = 0;
        while let Some(operator) = operator(self) {
            left = join(operator, left, operand(self)?);
            length += 1;
            if length == LONGEST_CHAIN {
                return Err(self.error("an expression has too many operators in a row"));
            }
        }
        Ok(left)
    }

    fn unary(&mut self, with_filters: bool) -> Result<Expression> {
        let value = if self.skip_operator("-") {
            Expression::Negative(Box::new(self.nested(|parser| parser.unary(false))?))
        } else if self.skip_operator("+") {
            Expression::Positive(Box::new(self.nested(|parser| parser.unary(false))?))
        } else {
            self.primary()?
        };
        let value = self.postfix(value)?;
        if with_filters { self.filters_and_tests(value) } else { Ok(value) }
    }

    fn primary(&mut self) -> Result<Expression> {
        match self.peek() {
            TokenKind::Name(_) => {
                let name = self.expect_name()?;
                Ok(match name.as_str() {
                    "true" | "True" => Expression::Constant(Constant::Bool(true)),
                    "false" | "False" => Expression::Constant(Constant::Bool(false)),
                    "none" | "None" => Expression::Constant(Constant::None),
                    _ => {
                        if let Some(implicit) = self.implicit.last_mut() {
                            implicit.varargs |= name == "varargs";
                            implicit.kwargs |= name == "kwargs";
                            implicit.caller |= name == "caller";
                        }
                        Expression::Name(name)
                    }
                })
            }
            TokenKind::Text(_) => {
                // Strings side by side are one, as in Python.
                let mut whole = String::new();
                while let TokenKind::Text(text) = self.peek() {
                    whole.push_str(text);
                    self.advance();
                }
                Ok(Expression::Constant(Constant::Text(whole)))
            }
            TokenKind::Int(number) => {
                let constant = Constant::Int(*number);
                self.advance();
                Ok(Expression::Constant(constant))
            }
            TokenKind::Float(number) => {
                let constant = Constant::Float(*number);
                self.advance();
                Ok(Expression::Constant(constant))
            }
            TokenKind::Operator("(") => {
                self.advance();
                let value = self.tuple_in_parentheses()?;
                self.expect_operator(")")?;
                Ok(value)
            }
            TokenKind::Operator("[") => {
                self.advance();
                let items = self.items("]", |parser| parser.expression(true))?;
                Ok(Expression::List(items))
            }
            TokenKind::Operator("{") => {
                self.advance();
                let entry = |parser: &mut Self| {
                    let key = parser.expression(true)?;
                    parser.expect_operator(":")?;
                    Ok((key, parser.expression(true)?))
                };
                Ok(Expression::Dict(self.items("}", entry)?))
            }
            _ => Err(self.unexpected("an expression")),
        }
    }

    /// Items between commas up to a bracket; the last comma may be followed by nothing.
    fn items<T>(&mut self, end: &str, item: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        while !self.skip_operator(end) {
            if !items.is_empty() {
                self.expect_operator(",")?;
                if self.skip_operator(end) {
                    break;
                }
            }
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn tuple_in_parentheses(&mut self) -> Result<Expression> {
        if self.is_operator(")") {
            return Ok(Expression::Tuple(Vec::new()));
        }
        self.tuple(true, &[])
    }

    /// An expression, or several between commas: a tuple.
    pub(super) fn tuple(&mut self, conditionals: bool, ends: &[&str]) -> Result<Expression> {
        let first = self.expression(conditionals)?;
        if !self.is_operator(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.skip_operator(",") {
            let ended = matches!(self.peek(), TokenKind::PrintEnd | TokenKind::BlockEnd | TokenKind::Operator(")"));
            if ended || ends.iter().any(|end| self.is_name(end)) {
                break;
            }
            items.push(self.expression(conditionals)?);
        }
        Ok(Expression::Tuple(items))
    }

    fn postfix(&mut self, mut value: Expression) -> Result<Expression> {
        for _ in 0..LONGEST_CHAIN {
            value = if self.skip_operator(".") {
                match self.peek() {
                    TokenKind::Int(number) => {
                        let index = Expression::Constant(Constant::Int(*number));
                        self.advance();
                        Expression::Item(Box::new(value), Box::new(index))
                    }
                    _ => Expression::Attribute(Box::new(value), self.expect_name()?),
                }
            } else if self.skip_operator("[") {
                self.subscript(value)?
            } else if self.is_operator("(") {
                Expression::Call(Box::new(value), Box::new(self.arguments()?))
            } else {
                return Ok(value);
            };
        }
        Err(self.error("an expression is too long"))
    }

    fn subscript(&mut self, value: Expression) -> Result<Expression> {
        let start = if self.is_operator(":") { None } else { Some(self.expression(true)?) };
        if !self.skip_operator(":") {
            let Some(index) = start else { return Err(self.unexpected("an index")) };
            if !self.skip_operator("]") {
                let mut items = vec![index];
                self.expect_operator(",")?;
                items.extend(self.items("]", |parser| parser.expression(true))?);
                return Ok(Expression::Item(Box::new(value), Box::new(Expression::Tuple(items))));
            }
            return Ok(Expression::Item(Box::new(value), Box::new(index)));
        }
        let part = |parser: &mut Self| {
            if parser.is_operator(":") || parser.is_operator("]") {
                Ok(None)
            } else {
                parser.expression(true).map(Some)
            }
        };
        let stop = part(self)?;
        let step = if self.skip_operator(":") { part(self)? } else { None };
        self.expect_operator("]")?;
        Ok(Expression::Slice(Box::new(value), Box::new([start, stop, step])))
    }

    fn filters_and_tests(&mut self, mut value: Expression) -> Result<Expression> {
        for _ in 0..LONGEST_CHAIN {
            if self.is_operator("|") {
                value = self.filters(Some(value), false)?.ok_or_else(|| self.unexpected("a filter"))?;
            } else if self.is_name("is") {
                value = self.test(value)?;
            } else if self.is_operator("(") {
                value = Expression::Call(Box::new(value), Box::new(self.arguments()?));
            } else {
                return Ok(value);
            }
        }
        Err(self.error("an expression has too many filters"))
    }

    /// `| filter | filter(..)`; `inline` where the first comes without its `|`.
    pub(super) fn filters(&mut self, value: Option<Expression>, inline: bool) -> Result<Option<Expression>> {
        let mut value = value;
        let mut inline = inline;
        for _ in 0..LONGEST_CHAIN {
            if !inline && !self.skip_operator("|") {
                return Ok(value);
            }
            inline = false;
            let name = self.dotted_name()?;
            let arguments = if self.is_operator("(") { self.arguments()? } else { Arguments::default() };
            value = Some(Expression::Filter { value: value.map(Box::new), name, arguments: Box::new(arguments) });
        }
        Err(self.error("an expression has too many filters"))
    }

    fn dotted_name(&mut self) -> Result<String> {
        let mut name = self.expect_name()?;
        while self.skip_operator(".") {
            name.push('.');
            name.push_str(&self.expect_name()?);
        }
        Ok(name)
    }

    fn test(&mut self, value: Expression) -> Result<Expression> {
        self.advance();
        let negated = self.skip_name("not");
        let name = self.dotted_name()?;
        let mut arguments = Arguments::default();
        if self.is_operator("(") {
            arguments = self.arguments()?;
        } else if self.begins_argument() {
            if self.is_name("is") {
                return Err(self.error("you cannot chain multiple tests with is"));
            }
            let argument = self.nested(Self::primary)?;
            arguments.positional.push(self.postfix(argument)?);
        }
        let test = Expression::Test { value: Box::new(value), name, arguments: Box::new(arguments) };
        Ok(if negated { Expression::Not(Box::new(test)) } else { test })
    }

    /// Whether a test's one argument follows without parentheses: `x is divisibleby 3`.
    fn begins_argument(&self) -> bool {
        match self.peek() {
            TokenKind::Name(name) => !matches!(name.as_str(), "else" | "or" | "and"),
            TokenKind::Text(_) | TokenKind::Int(_) | TokenKind::Float(_) => true,
            TokenKind::Operator(operator) => matches!(*operator, "[" | "{"),
            _ => false,
        }
    }

    fn arguments(&mut self) -> Result<Arguments> {
        self.expect_operator("(")?;
        let mut arguments = Arguments::default();
        let mut first = true;
        while !self.skip_operator(")") {
            if !first {
                self.expect_operator(",")?;
                if self.skip_operator(")") {
                    break;
                }
            }
            first = false;
            let (dynamic, dynamic_named) = (arguments.more.is_some(), arguments.more_named.is_some());
            let allowed = if self.skip_operator("*") {
                arguments.more = Some(self.expression(true)?);
                !dynamic && !dynamic_named
            } else if self.skip_operator("**") {
                arguments.more_named = Some(self.expression(true)?);
                !dynamic_named
            } else if matches!((self.peek(), self.look(1)), (TokenKind::Name(_), TokenKind::Operator("="))) {
                let name = self.expect_name()?;
                self.expect_operator("=")?;
                arguments.named.push((name, self.expression(true)?));
                !dynamic_named
            } else {
                let value = self.expression(true)?;
                arguments.positional.push(value);
                !dynamic && !dynamic_named && arguments.named.is_empty()
            };
            if !allowed {
                return Err(self.error("invalid syntax for function call expression"));
            }
        }
        Ok(arguments)
    }
}
