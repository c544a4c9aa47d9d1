//! Evaluates expressions and calls what can be called.

use std::rc::Rc;

use super::arguments::Arguments;
use super::attributes::{attribute, dict_of, item};
use super::operators::{arithmetic, check_length, compare, undefined_error};
use super::printing::print;
use super::sequences::{entries, iterate};
use super::slices::slice;
use super::statements::{Interpreter, Scope};
use super::syntax::{self, Constant, Expression, Operator};
use super::value::{Closure, Value};
use super::{Error, Result, checks, filters, functions, methods};

/// The body of a `{% call %}` block, which the called macro sees as `caller`.
pub(super) struct Caller(pub(super) Rc<Closure>);

impl Interpreter {
    pub(super) fn evaluate(&mut self, expression: &Expression, scope: &Rc<Scope>) -> Result<Value> {
        self.charge(1)?;
        match expression {
            Expression::Constant(constant) => Ok(match constant {
                Constant::None => Value::None,
                Constant::Bool(truth) => Value::Bool(*truth),
                Constant::Int(number) => Value::Int(*number),
                Constant::Float(number) => Value::Float(*number),
                Constant::Text(text) => Value::text(text),
            }),
            Expression::Name(name) => Ok(self.lookup(scope, name)),
            Expression::List(items) => self.contained(items, scope).map(Value::list),
            Expression::Tuple(items) => self.contained(items, scope).map(Value::tuple),
            Expression::Dict(pairs) => {
                let mut values = Vec::with_capacity(pairs.len());
                for (key, value) in pairs {
                    let key = self.evaluate(key, scope)?;
                    if matches!(key, Value::List(_) | Value::Dict(_)) {
                        return Err(Error::new(format!("unhashable type: '{}'", key.type_name())));
                    }
                    let value = self.evaluate(value, scope)?;
                    self.charge_nesting(&value)?;
                    values.push((key, value));
                }
                Ok(dict_of(values))
            }
            Expression::Attribute(value, name) => attribute(&self.evaluate(value, scope)?, name),
            Expression::Item(value, key) => {
                let value = self.evaluate(value, scope)?;
                item(&value, &self.evaluate(key, scope)?)
            }
            Expression::Slice(value, bounds) => {
                let value = self.evaluate(value, scope)?;
                let mut evaluated = [Value::None, Value::None, Value::None];
                for (slot, bound) in evaluated.iter_mut().zip(bounds.iter()) {
                    if let Some(bound) = bound {
                        *slot = self.evaluate(bound, scope)?;
                    }
                }
                if let Some(text) = value.as_text() {
                    self.charge(text.len() / 16)?;
                }
                slice(&value, evaluated)
            }
            Expression::Call(callee, arguments) => self.call(callee, arguments, None, scope),
            Expression::Filter { .. } => self.filter_chain(expression, None, scope),
            Expression::Test { value, name, arguments } => {
                let value = self.evaluate(value, scope)?;
                let arguments = self.arguments(arguments, scope)?;
                checks::check(&value, name, arguments, self).map(Value::Bool)
            }
            Expression::Negative(value) => self.negative(value, scope),
            Expression::Positive(value) => match self.evaluate(value, scope)? {
                Value::Undefined(message) => Err(undefined_error(&message)),
                Value::Float(number) => Ok(Value::Float(number)),
                other => other.as_int().map(Value::Int).ok_or_else(|| bad_operand("+", &other)),
            },
            Expression::Not(value) => Ok(Value::Bool(!self.evaluate(value, scope)?.is_true())),
            Expression::And(left, right) => {
                let left = self.evaluate(left, scope)?;
                if left.is_true() { self.evaluate(right, scope) } else { Ok(left) }
            }
            Expression::Or(left, right) => {
                let left = self.evaluate(left, scope)?;
                if left.is_true() { Ok(left) } else { self.evaluate(right, scope) }
            }
            Expression::Arithmetic(operator, left, right) => {
                let left = self.evaluate(left, scope)?;
                let right = self.evaluate(right, scope)?;
                let result = arithmetic(*operator, &left, &right)?;
                self.charge_for(&result)?;
                Ok(result)
            }
            Expression::Concatenation(parts) => {
                let mut text = String::new();
                for part in parts {
                    text.push_str(&print(&self.evaluate(part, scope)?));
                    check_length(text.len())?;
                }
                self.charge(text.len() / 16)?;
                Ok(Value::text(text))
            }
            Expression::Comparison(first, rest) => {
                let mut left = self.evaluate(first, scope)?;
                for (comparison, right) in rest {
                    let right = self.evaluate(right, scope)?;
                    if !compare(*comparison, &left, &right)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            Expression::Conditional { condition, value, otherwise } => {
                if self.evaluate(condition, scope)?.is_true() {
                    return self.evaluate(value, scope);
                }
                match otherwise {
                    Some(otherwise) => self.evaluate(otherwise, scope),
                    None => Ok(Value::undefined(
                        "the inline if-expression evaluated to false and no else section was defined",
                    )),
                }
            }
        }
    }

    fn all(&mut self, expressions: &[Expression], scope: &Rc<Scope>) -> Result<Vec<Value>> {
        expressions.iter().map(|expression| self.evaluate(expression, scope)).collect()
    }

    fn contained(&mut self, expressions: &[Expression], scope: &Rc<Scope>) -> Result<Vec<Value>> {
        let values = self.all(expressions, scope)?;
        values.iter().try_for_each(|value| self.charge_nesting(value))?;
        Ok(values)
    }

    /// Containers in containers cost so much that they cannot nest deeper than the stack is.
    fn charge_nesting(&mut self, value: &Value) -> Result<()> {
        let scalar = value.as_text().is_some()
            || value.as_float().is_some()
            || matches!(value, Value::None | Value::Undefined(_));
        if scalar { Ok(()) } else { self.charge(1000) }
    }

    fn negative(&mut self, value: &Expression, scope: &Rc<Scope>) -> Result<Value> {
        match self.evaluate(value, scope)? {
            Value::Undefined(message) => Err(undefined_error(&message)),
            Value::Float(number) => Ok(Value::Float(-number)),
            other if other.as_int().is_some() => arithmetic(Operator::Multiply, &other, &Value::Int(-1)),
            other => Err(bad_operand("-", &other)),
        }
    }

    /// Pays for a value that was made.
    pub(super) fn charge_for(&mut self, value: &Value) -> Result<()> {
        match value {
            Value::Text(text) | Value::Markup(text) => self.charge(text.len() / 16),
            Value::List(items) | Value::Tuple(items) => self.charge(items.len()),
            _ => Ok(()),
        }
    }

    pub(super) fn arguments(&mut self, arguments: &syntax::Arguments, scope: &Rc<Scope>) -> Result<Arguments> {
        let mut evaluated = Arguments { positional: self.all(&arguments.positional, scope)?, named: Vec::new() };
        for (name, value) in &arguments.named {
            evaluated.named.push((name.clone(), self.evaluate(value, scope)?));
        }
        if let Some(more) = &arguments.more {
            evaluated.positional.extend(iterate(&self.evaluate(more, scope)?)?);
        }
        if let Some(more) = &arguments.more_named {
            for (name, value) in entries(&self.evaluate(more, scope)?)? {
                evaluated.named.push((print(&name), value));
            }
        }
        Ok(evaluated)
    }

    /// A filter and those before it; `text` is the value of the innermost one of a block.
    pub(super) fn filter_chain(
        &mut self,
        filter: &Expression,
        text: Option<Value>,
        scope: &Rc<Scope>,
    ) -> Result<Value> {
        let Expression::Filter { value, name, arguments } = filter else {
            return self.evaluate(filter, scope);
        };
        let value = match (value, text) {
            (None, text) => text.unwrap_or(Value::None),
            (Some(inner), Some(text)) => self.filter_chain(inner, Some(text), scope)?,
            (Some(value), None) => self.evaluate(value, scope)?,
        };
        let arguments = self.arguments(arguments, scope)?;
        let result = filters::apply(value, name, arguments, self)?;
        self.charge_for(&result)?;
        self.charge_nesting(&result)?;
        Ok(result)
    }

    pub(super) fn call(
        &mut self,
        callee: &Expression,
        arguments: &syntax::Arguments,
        caller: Option<Caller>,
        scope: &Rc<Scope>,
    ) -> Result<Value> {
        let callee = self.evaluate(callee, scope)?;
        let mut arguments = self.arguments(arguments, scope)?;
        if let Some(Caller(closure)) = caller {
            arguments.named.push(("caller".to_string(), Value::Macro(closure)));
        }
        let result = self.call_value(&callee, arguments)?;
        self.charge_for(&result)?;
        self.charge_nesting(&result)?;
        Ok(result)
    }

    fn call_value(&mut self, callee: &Value, arguments: Arguments) -> Result<Value> {
        match callee {
            Value::Undefined(message) => Err(undefined_error(message)),
            Value::Function(function) => functions::call(*function, arguments),
            Value::Method(receiver, name) => {
                if let Some(text) = receiver.as_text() {
                    self.charge(text.len() / 16)?;
                }
                methods::call(receiver, name, arguments)
            }
            Value::Macro(closure) => self.call_macro(closure, arguments),
            Value::Joiner(joiner) => {
                let (separator, used) = &**joiner;
                Ok(if used.replace(true) { separator.clone() } else { Value::text("") })
            }
            Value::Loop(state) => {
                let [items] = arguments.bind("loop", ["iterable"])?;
                let Some((definition, scope)) = &state.recursion else {
                    return Err(Error::new("The loop must have the 'recursive' marker to be called recursively."));
                };
                let items = items.ok_or_else(|| Error::new("loop() missing required argument: 'iterable'"))?;
                let mut text = String::new();
                self.repeat(definition, items, state.depth + 1, scope, &mut text)?;
                Ok(Value::text(text))
            }
            other => Err(Error::new(format!("'{}' object is not callable", other.type_name()))),
        }
    }

    fn call_macro(&mut self, closure: &Rc<Closure>, mut arguments: Arguments) -> Result<Value> {
        let definition = &closure.definition;
        let scope = Scope::within(&closure.scope);
        let mut positional = std::mem::take(&mut arguments.positional).into_iter();
        let mut given = Vec::with_capacity(definition.parameters.len());
        for (name, _) in &definition.parameters {
            let by_name = arguments.take_named(name);
            given.push(positional.next().or(by_name));
        }
        let rest: Vec<Value> = positional.collect();
        if definition.uses.caller && !definition.parameters.iter().any(|(name, _)| name == "caller") {
            let caller = arguments.take_named("caller");
            scope.set("caller", caller.unwrap_or_else(|| Value::undefined("No caller defined")));
        }
        if definition.uses.varargs {
            scope.set("varargs", Value::tuple(rest));
        } else if !rest.is_empty() {
            let takes = definition.parameters.len();
            return Err(Error::new(format!("macro '{}' takes not more than {takes} argument(s)", definition.name)));
        }
        let named = arguments.named.into_iter().map(|(name, value)| (Value::text(name), value));
        if definition.uses.kwargs {
            scope.set("kwargs", dict_of(named));
        } else if let Some((name, _)) = named.into_iter().next() {
            let name = print(&name);
            return Err(Error::new(format!("macro '{}' takes no keyword argument '{name}'", definition.name)));
        }
        self.nested(|interpreter| {
            for ((name, default), given) in definition.parameters.iter().zip(given) {
                let value = match (given, default) {
                    (Some(value), _) => value,
                    (None, Some(default)) => interpreter.evaluate(default, &scope)?,
                    (None, None) => Value::undefined(format!("parameter '{name}' was not provided")),
                };
                scope.set(name, value);
            }
            interpreter.captured(&definition.body, &scope).map(Value::text)
        })
    }
}

fn bad_operand(symbol: &str, value: &Value) -> Error {
    Error::new(format!("bad operand type for unary {symbol}: '{}'", value.type_name()))
}
