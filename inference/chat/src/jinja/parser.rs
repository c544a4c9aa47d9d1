//! Tokens to statements, as `jinja2.parser` reads them. Expressions are in [`super::expressions`].

use std::sync::Arc;

use super::lexer::{Token, TokenKind};
use super::syntax::{Body, Expression, For, Implicit, Macro, Statement, StatementKind, Target};
use super::{Error, Result};

/// Levels of nesting that a template may have; deeper ones are no template but an attack on the stack.
const DEEPEST: usize = 400;

pub(super) fn parse(tokens: Vec<Token>) -> Result<Body> {
    let mut parser = Parser { tokens, position: 0, depth: 0, implicit: Vec::new() };
    parser.body(&[])
}

pub(super) struct Parser {
    tokens: Vec<Token>,
    position: usize,
    depth: usize,
    /// For each macro around: the implicit variables that it mentions.
    pub(super) implicit: Vec<Implicit>,
}

impl Parser {
    pub(super) fn peek(&self) -> &TokenKind {
        self.look(0)
    }

    pub(super) fn look(&self, ahead: usize) -> &TokenKind {
        let token = self.tokens.get(self.position + ahead);
        token.map_or(&TokenKind::End, |token| &token.kind)
    }

    pub(super) fn line(&self) -> usize {
        self.tokens.get(self.position).or(self.tokens.last()).map_or(1, |token| token.line)
    }

    pub(super) fn advance(&mut self) -> TokenKind {
        let kind = self.peek().clone();
        self.position += 1;
        kind
    }

    pub(super) fn error(&self, message: impl Into<String>) -> Error {
        Error::new(message).at(self.line())
    }

    pub(super) fn unexpected(&self, wanted: &str) -> Error {
        self.error(format!("expected {wanted}, found {}", describe(self.peek())))
    }

    pub(super) fn is_operator(&self, operator: &str) -> bool {
        matches!(self.peek(), TokenKind::Operator(found) if *found == operator)
    }

    pub(super) fn skip_operator(&mut self, operator: &str) -> bool {
        let found = self.is_operator(operator);
        self.position += usize::from(found);
        found
    }

    pub(super) fn expect_operator(&mut self, operator: &str) -> Result<()> {
        if self.skip_operator(operator) { Ok(()) } else { Err(self.unexpected(&format!("'{operator}'"))) }
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), TokenKind::Name(found) if found == name)
    }

    pub(super) fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        self.position += usize::from(found);
        found
    }

    pub(super) fn expect_name(&mut self) -> Result<String> {
        match self.peek() {
            TokenKind::Name(name) => {
                let name = name.clone();
                self.position += 1;
                Ok(name)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    fn expect(&mut self, kind: &TokenKind) -> Result<()> {
        if self.peek() == kind {
            self.position += 1;
            return Ok(());
        }
        Err(self.unexpected(&describe(kind)))
    }

    /// Runs a part of the parser one level deeper.
    pub(super) fn nested<T>(&mut self, part: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == DEEPEST {
            return Err(self.error("the template is nested too deeply"));
        }
        self.depth += 1;
        let parsed = part(self);
        self.depth -= 1;
        parsed
    }

    /// Statements up to one of the tags, which is left to be read; to the end where there are none.
    fn body(&mut self, ends: &[&str]) -> Result<Body> {
        self.nested(|parser| {
            let mut body = Vec::new();
            loop {
                let line = parser.line();
                let kind = match parser.advance() {
                    TokenKind::Data(text) => StatementKind::Text(text),
                    TokenKind::PrintBegin => {
                        let value = parser.tuple(true, &[])?;
                        parser.expect(&TokenKind::PrintEnd)?;
                        StatementKind::Print(value)
                    }
                    TokenKind::BlockBegin => {
                        if ends.iter().any(|end| parser.is_name(end)) {
                            return Ok(body);
                        }
                        let statement = parser.statement(&mut body)?;
                        parser.expect(&TokenKind::BlockEnd)?;
                        match statement {
                            Some(statement) => statement,
                            None => continue,
                        }
                    }
                    TokenKind::End if ends.is_empty() => return Ok(body),
                    other => {
                        return Err(parser.error(format!(
                            "expected {}, found {}",
                            ends.join(" or "),
                            describe(&other)
                        )));
                    }
                };
                body.push(Statement { line, kind });
            }
        })
    }

    /// A tag's body: the end of its opening tag, statements, and the name of the tag that ends it.
    fn block(&mut self, ends: &[&str]) -> Result<(Body, String)> {
        self.skip_operator(":");
        self.expect(&TokenKind::BlockEnd)?;
        let body = self.body(ends)?;
        Ok((body, self.expect_name()?))
    }

    fn statement(&mut self, before: &mut Body) -> Result<Option<StatementKind>> {
        let line = self.line();
        let tag = self.expect_name()?;
        Ok(Some(match tag.as_str() {
            "if" => self.if_statement()?,
            "for" => self.for_statement()?,
            "set" => self.set_statement()?,
            "macro" => {
                let name = self.expect_name()?;
                StatementKind::Macro(Arc::new(self.macro_definition(name, "endmacro", true)?))
            }
            "call" => self.call_block()?,
            "filter" => {
                let filters = self.filters(None, true)?.ok_or_else(|| self.unexpected("a filter"))?;
                StatementKind::FilterBlock { filters, body: self.block(&["endfilter"])?.0 }
            }
            "with" => self.with_statement()?,
            "generation" => StatementKind::Scoped(self.block(&["endgeneration"])?.0),
            "block" => {
                let name = self.expect_name()?;
                while self.skip_name("scoped") || self.skip_name("required") {}
                let (body, _) = self.block(&["endblock"])?;
                self.skip_name(&name);
                StatementKind::Scoped(body)
            }
            "print" => {
                while !matches!(self.peek(), TokenKind::BlockEnd) {
                    let value = self.expression(true)?;
                    before.push(Statement { line, kind: StatementKind::Print(value) });
                    if !self.skip_operator(",") {
                        break;
                    }
                }
                return Ok(None);
            }
            "break" => StatementKind::Break,
            "continue" => StatementKind::Continue,
            "include" | "import" | "from" | "extends" => {
                return Err(self.error(format!("{{% {tag} %}} reads another template, and a chat template is alone")));
            }
            _ => return Err(self.error(format!("unknown tag '{tag}'"))),
        }))
    }

    fn if_statement(&mut self) -> Result<StatementKind> {
        let mut branches = Vec::new();
        loop {
            let condition = self.tuple(false, &[])?;
            let (body, end) = self.block(&["elif", "else", "endif"])?;
            branches.push((condition, body));
            match end.as_str() {
                "elif" => {}
                "else" => {
                    let (otherwise, _) = self.block(&["endif"])?;
                    return Ok(StatementKind::If { branches, otherwise });
                }
                _ => return Ok(StatementKind::If { branches, otherwise: Vec::new() }),
            }
        }
    }

    fn for_statement(&mut self) -> Result<StatementKind> {
        let target = self.target(&["in"], false)?;
        if !self.skip_name("in") {
            return Err(self.unexpected("'in'"));
        }
        let items = self.tuple(false, &["recursive"])?;
        let condition = if self.skip_name("if") { Some(self.expression(true)?) } else { None };
        let recursive = self.skip_name("recursive");
        let (body, end) = self.block(&["endfor", "else"])?;
        let otherwise = if end == "else" { self.block(&["endfor"])?.0 } else { Vec::new() };
        Ok(StatementKind::For(Arc::new(For { target, items, condition, recursive, body, otherwise })))
    }

    fn set_statement(&mut self) -> Result<StatementKind> {
        let target = self.target(&[], true)?;
        if self.skip_operator("=") {
            return Ok(StatementKind::Set { target, value: self.tuple(true, &[])? });
        }
        let filters = self.filters(None, false)?;
        Ok(StatementKind::SetBlock { target, filters, body: self.block(&["endset"])?.0 })
    }

    fn with_statement(&mut self) -> Result<StatementKind> {
        let mut bindings = Vec::new();
        while !matches!(self.peek(), TokenKind::BlockEnd) {
            if !bindings.is_empty() {
                self.expect_operator(",")?;
            }
            let target = self.target(&[], false)?;
            self.expect_operator("=")?;
            bindings.push((target, self.expression(true)?));
        }
        Ok(StatementKind::With { bindings, body: self.block(&["endwith"])?.0 })
    }

    fn call_block(&mut self) -> Result<StatementKind> {
        let mut caller = self.macro_signature("caller".to_string(), self.is_operator("("))?;
        let call = self.expression(true)?;
        if !matches!(call, Expression::Call(..)) {
            return Err(self.error("expected a call"));
        }
        self.macro_body(&mut caller, "endcall")?;
        Ok(StatementKind::CallBlock { call, caller: Arc::new(caller) })
    }

    fn macro_definition(&mut self, name: String, end: &str, signature: bool) -> Result<Macro> {
        let mut definition = self.macro_signature(name, signature)?;
        self.macro_body(&mut definition, end)?;
        Ok(definition)
    }

    fn macro_signature(&mut self, name: String, signature: bool) -> Result<Macro> {
        let mut parameters: Vec<(String, Option<Expression>)> = Vec::new();
        if signature {
            self.expect_operator("(")?;
            while !self.is_operator(")") {
                if !parameters.is_empty() {
                    self.expect_operator(",")?;
                }
                let parameter = self.expect_name()?;
                let default = if self.skip_operator("=") { Some(self.expression(true)?) } else { None };
                if default.is_none() && parameters.iter().any(|(_, default)| default.is_some()) {
                    return Err(self.error("non-default argument follows default argument"));
                }
                parameters.push((parameter, default));
            }
            self.expect_operator(")")?;
        }
        Ok(Macro { name, parameters, body: Vec::new(), uses: Implicit::default() })
    }

    fn macro_body(&mut self, definition: &mut Macro, end: &str) -> Result<()> {
        self.implicit.push(Implicit::default());
        let body = self.block(&[end]);
        definition.uses = self.implicit.pop().unwrap_or_default();
        definition.body = body?.0;
        Ok(())
    }

    fn target(&mut self, ends: &[&str], attributes: bool) -> Result<Target> {
        let mut targets = Vec::new();
        let mut is_tuple = false;
        loop {
            if !targets.is_empty() && (self.is_operator(")") || ends.iter().any(|end| self.is_name(end))) {
                break;
            }
            targets.push(self.simple_target(attributes)?);
            if !self.skip_operator(",") {
                break;
            }
            is_tuple = true;
        }
        match targets.pop() {
            Some(target) if !is_tuple => Ok(target),
            last => {
                targets.extend(last);
                Ok(Target::Tuple(targets))
            }
        }
    }

    fn simple_target(&mut self, attributes: bool) -> Result<Target> {
        if self.skip_operator("(") {
            let target = self.nested(|parser| parser.target(&[], attributes))?;
            self.expect_operator(")")?;
            return Ok(target);
        }
        let name = self.expect_name()?;
        if attributes && self.skip_operator(".") {
            return Ok(Target::Attribute(name, self.expect_name()?));
        }
        if matches!(name.as_str(), "true" | "false" | "True" | "False" | "none" | "None") {
            return Err(self.error(format!("can't assign to {name}")));
        }
        Ok(Target::Name(name))
    }
}

fn describe(kind: &TokenKind) -> String {
    match kind {
        TokenKind::Data(_) => "template text".to_string(),
        TokenKind::PrintBegin => "'{{'".to_string(),
        TokenKind::PrintEnd => "'}}'".to_string(),
        TokenKind::BlockBegin => "'{%'".to_string(),
        TokenKind::BlockEnd => "'%}'".to_string(),
        TokenKind::Name(name) => format!("'{name}'"),
        TokenKind::Text(text) => format!("the string {text:?}"),
        TokenKind::Int(number) => number.to_string(),
        TokenKind::Float(number) => number.to_string(),
        TokenKind::Operator(operator) => format!("'{operator}'"),
        TokenKind::End => "the end of the template".to_string(),
    }
}
