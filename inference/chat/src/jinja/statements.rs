//! Runs templates.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Map;

use super::calls::Caller;
use super::functions::{self, check_attribute};
use super::operators::check_length;
use super::printing::print;
use super::sequences::iterate;
use super::syntax::{Expression, For, Statement, StatementKind, Target};
use super::value::{Closure, Loop, Value};
use super::{Error, Result};

/// Steps a template may take: a conversation takes thousands, an endless loop all of them.
const FUEL: u64 = 50_000_000;

/// How long they may take: nothing else interrupts a template.
const LONGEST: Duration = Duration::from_secs(3);

/// Steps between two looks at the clock.
const UNWATCHED: u64 = 1 << 14;

/// Bytes a rendering may have.
const LONGEST_OUTPUT: usize = 64 << 20;

/// Macros within macros, loops within loops: about what Python's stack allows.
const DEEPEST: usize = 200;

/// The variables of a stretch of template, over those around it.
#[derive(Debug, Default)]
pub(super) struct Scope {
    variables: RefCell<HashMap<String, Value>>,
    around: Option<Rc<Scope>>,
}

impl Scope {
    pub(super) fn within(around: &Rc<Scope>) -> Rc<Self> {
        Rc::new(Self { variables: RefCell::default(), around: Some(Rc::clone(around)) })
    }

    pub(super) fn set(&self, name: &str, value: Value) {
        self.variables.borrow_mut().insert(name.to_string(), value);
    }

    fn find(&self, name: &str) -> Option<Value> {
        let mut scope = Some(self);
        while let Some(current) = scope {
            if let Some(value) = current.variables.borrow().get(name) {
                return Some(value.clone());
            }
            scope = current.around.as_deref();
        }
        None
    }
}

/// What goes on after a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Next,
    Break,
    Continue,
}

pub(super) struct Interpreter {
    root: Rc<Scope>,
    fuel: u64,
    started: Instant,
    depth: usize,
    /// Bytes written, to the output or to texts that are made on the way.
    written: usize,
    /// Scopes that what was defined in them refers back to.
    circular: Vec<Rc<Scope>>,
}

impl Interpreter {
    pub(super) fn new(variables: &Map<String, serde_json::Value>) -> Self {
        let root = Rc::new(Scope::default());
        for (name, value) in variables {
            root.set(name, Value::from(value));
        }
        Self { root, fuel: FUEL, started: Instant::now(), depth: 0, written: 0, circular: Vec::new() }
    }

    pub(super) fn render(&mut self, body: &[Statement]) -> Result<String> {
        let mut out = String::new();
        let root = Rc::clone(&self.root);
        let ran = self.run(body, &root, &mut out);
        // A macro holds the scope that holds the macro: without this neither would ever be freed.
        for scope in self.circular.drain(..) {
            scope.variables.borrow_mut().clear();
        }
        ran.map(|_| out)
    }

    fn keep(&mut self, scope: &Rc<Scope>) {
        if !self.circular.last().is_some_and(|last| Rc::ptr_eq(last, scope)) {
            self.circular.push(Rc::clone(scope));
        }
    }

    /// Pays for work; text costs by its length.
    pub(super) fn charge(&mut self, cost: usize) -> Result<()> {
        let left = self.fuel.checked_sub(cost as u64);
        let left = left.ok_or_else(|| Error::new("the template does not end: it ran out of steps"))?;
        if left / UNWATCHED != self.fuel / UNWATCHED && self.started.elapsed() > LONGEST {
            return Err(Error::new(format!(
                "the template does not end: it took more than {} seconds",
                LONGEST.as_secs()
            )));
        }
        self.fuel = left;
        Ok(())
    }

    /// Runs a part one level deeper.
    pub(super) fn nested<T>(&mut self, part: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == DEEPEST {
            return Err(Error::new("maximum recursion depth exceeded"));
        }
        self.depth += 1;
        let result = part(self);
        self.depth -= 1;
        result
    }

    pub(super) fn lookup(&self, scope: &Scope, name: &str) -> Value {
        scope
            .find(name)
            .or_else(|| functions::find(name).map(Value::Function))
            .unwrap_or_else(|| Value::undefined(format!("'{name}' is undefined")))
    }

    fn write(&mut self, text: &str, out: &mut String) -> Result<()> {
        self.charge(text.len() / 16)?;
        self.written = self.written.saturating_add(text.len());
        if self.written > LONGEST_OUTPUT {
            return Err(Error::new(format!("the template writes more than {LONGEST_OUTPUT} bytes")));
        }
        out.push_str(text);
        Ok(())
    }

    pub(super) fn run(&mut self, body: &[Statement], scope: &Rc<Scope>, out: &mut String) -> Result<Flow> {
        for statement in body {
            self.charge(1)?;
            let flow = self.statement(&statement.kind, scope, out).map_err(|error| error.at(statement.line))?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    /// A body's text.
    pub(super) fn captured(&mut self, body: &[Statement], scope: &Rc<Scope>) -> Result<String> {
        let mut text = String::new();
        self.run(body, scope, &mut text)?;
        check_length(text.len())?;
        Ok(text)
    }

    fn statement(&mut self, statement: &StatementKind, scope: &Rc<Scope>, out: &mut String) -> Result<Flow> {
        match statement {
            StatementKind::Text(text) => self.write(text, out)?,
            StatementKind::Print(value) => {
                let value = self.evaluate(value, scope)?;
                match value.as_text() {
                    Some(text) => self.write(text, out)?,
                    None => self.write(&print(&value), out)?,
                }
            }
            StatementKind::If { branches, otherwise } => {
                for (condition, body) in branches {
                    if self.evaluate(condition, scope)?.is_true() {
                        return self.run(body, scope, out);
                    }
                }
                return self.run(otherwise, scope, out);
            }
            StatementKind::For(definition) => {
                let items = self.evaluate(&definition.items, scope)?;
                self.repeat(definition, items, 0, scope, out)?;
            }
            StatementKind::Set { target, value } => {
                let value = self.evaluate(value, scope)?;
                self.assign(target, value, scope)?;
            }
            StatementKind::SetBlock { target, filters, body } => {
                let text = Value::text(self.captured(body, &Scope::within(scope))?);
                let value = self.filtered(filters.as_ref(), text, scope)?;
                self.assign(target, value, scope)?;
            }
            StatementKind::FilterBlock { filters, body } => {
                let text = Value::text(self.captured(body, &Scope::within(scope))?);
                let value = self.filtered(Some(filters), text, scope)?;
                self.write(&print(&value), out)?;
            }
            StatementKind::With { bindings, body } => {
                let inner = Scope::within(scope);
                for (target, value) in bindings {
                    // Bindings do not see each other.
                    let value = self.evaluate(value, scope)?;
                    self.assign(target, value, &inner)?;
                }
                return self.run(body, &inner, out);
            }
            StatementKind::Macro(definition) => {
                self.keep(scope);
                let closure = Closure { definition: definition.clone(), scope: Rc::clone(scope) };
                scope.set(&definition.name, Value::Macro(Rc::new(closure)));
            }
            StatementKind::CallBlock { call, caller } => {
                self.keep(scope);
                let caller = Closure { definition: caller.clone(), scope: Rc::clone(scope) };
                let Expression::Call(callee, arguments) = call else {
                    return Err(Error::new("expected a call"));
                };
                let value = self.call(callee, arguments, Some(Caller(Rc::new(caller))), scope)?;
                self.write(&print(&value), out)?;
            }
            StatementKind::Scoped(body) => {
                // Written at once: what is marked as generated is text like any other.
                return self.run(body, &Scope::within(scope), out);
            }
            StatementKind::Break => return Ok(Flow::Break),
            StatementKind::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn filtered(&mut self, filters: Option<&Expression>, text: Value, scope: &Rc<Scope>) -> Result<Value> {
        filters.map_or(Ok(text.clone()), |filters| self.filter_chain(filters, Some(text), scope))
    }

    pub(super) fn repeat(
        &mut self,
        definition: &std::sync::Arc<For>,
        items: Value,
        depth: usize,
        scope: &Rc<Scope>,
        out: &mut String,
    ) -> Result<()> {
        let mut items = iterate(&items)?;
        self.charge(items.len())?;
        if let Some(condition) = &definition.condition {
            let mut kept = Vec::with_capacity(items.len());
            for item in items {
                let inner = Scope::within(scope);
                self.assign(&definition.target, item.clone(), &inner)?;
                if self.evaluate(condition, &inner)?.is_true() {
                    kept.push(item);
                }
            }
            items = kept;
        }
        if definition.recursive {
            self.keep(scope);
        }
        let items = Rc::new(items);
        let last_seen = Rc::new(RefCell::new(None));
        let completed = self.nested(|interpreter| {
            let mut completed = false;
            for (index, item) in items.iter().enumerate() {
                let inner = Scope::within(scope);
                let recursion = definition.recursive.then(|| (definition.clone(), Rc::clone(scope)));
                let state =
                    Loop { items: Rc::clone(&items), index, depth, last_seen: Rc::clone(&last_seen), recursion };
                inner.set("loop", Value::Loop(Rc::new(state)));
                interpreter.assign(&definition.target, item.clone(), &inner)?;
                match interpreter.run(&definition.body, &inner, out)? {
                    Flow::Break => break,
                    Flow::Continue => {}
                    Flow::Next => completed = true,
                }
            }
            Ok(completed)
        })?;
        // As in jinja2, `else` runs where no iteration came to the end of the body, not only where there was none.
        if !completed {
            self.run(&definition.otherwise, &Scope::within(scope), out)?;
        }
        Ok(())
    }

    fn assign(&mut self, target: &Target, value: Value, scope: &Rc<Scope>) -> Result<()> {
        match target {
            Target::Name(name) => scope.set(name, value),
            Target::Attribute(namespace, name) => {
                let Value::Namespace(names) = self.lookup(scope, namespace) else {
                    return Err(Error::new("cannot assign attribute on non-namespace object"));
                };
                check_attribute(name)?;
                names.borrow_mut().insert(Value::text(name), value);
            }
            Target::Tuple(targets) => {
                let values = iterate(&value)?;
                if values.len() != targets.len() {
                    return Err(Error::new(format!("cannot unpack {} values into {}", values.len(), targets.len())));
                }
                for (target, value) in targets.iter().zip(values) {
                    self.assign(target, value, scope)?;
                }
            }
        }
        Ok(())
    }
}
