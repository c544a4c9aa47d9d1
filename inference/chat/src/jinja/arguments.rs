//! The arguments of a call, by position and by name.

use super::operators::undefined_error;
use super::value::Value;
use super::{Error, Result};

#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) positional: Vec<Value>,
    pub(super) named: Vec<(String, Value)>,
}

impl Arguments {
    /// The values of a function's parameters; `None` where nothing was given.
    pub(super) fn bind<const N: usize>(self, function: &str, names: [&str; N]) -> Result<[Option<Value>; N]> {
        let given = self.positional.len();
        if given > N {
            return Err(Error::new(format!("{function}() takes at most {N} arguments ({given} given)")));
        }
        let mut bound = [const { None }; N];
        for (slot, value) in bound.iter_mut().zip(self.positional) {
            *slot = Some(value);
        }
        for (name, value) in self.named {
            let position = names.iter().position(|known| *known == name);
            let slot = position.and_then(|position| bound.get_mut(position));
            let slot =
                slot.ok_or_else(|| Error::new(format!("{function}() got an unexpected keyword argument '{name}'")))?;
            if slot.replace(value).is_some() {
                return Err(Error::new(format!("{function}() got multiple values for argument '{name}'")));
            }
        }
        Ok(bound)
    }

    pub(super) fn none(self, function: &str) -> Result<()> {
        self.bind(function, []).map(|[]| ())
    }

    pub(super) fn take_named(&mut self, name: &str) -> Option<Value> {
        let position = self.named.iter().position(|(other, _)| other == name)?;
        Some(self.named.remove(position).1)
    }
}

/// Readings of an argument.
pub(super) trait Argument {
    fn required(self, function: &str, name: &str) -> Result<Value>;
    fn text_or(self, default: &str) -> Result<String>;
    fn int_or(self, default: i128) -> Result<i128>;
    fn is_true(&self) -> bool;
}

impl Argument for Option<Value> {
    fn required(self, function: &str, name: &str) -> Result<Value> {
        self.ok_or_else(|| Error::new(format!("{function}() missing required argument: '{name}'")))
    }

    fn text_or(self, default: &str) -> Result<String> {
        match self {
            None => Ok(default.to_string()),
            Some(Value::Undefined(message)) => Err(undefined_error(&message)),
            Some(value) => value
                .as_text()
                .map(str::to_string)
                .ok_or_else(|| Error::new(format!("expected str, not {}", value.type_name()))),
        }
    }

    fn int_or(self, default: i128) -> Result<i128> {
        match self {
            None => Ok(default),
            Some(Value::Undefined(message)) => Err(undefined_error(&message)),
            Some(value) => value.as_int().ok_or_else(|| {
                Error::new(format!("'{}' object cannot be interpreted as an integer", value.type_name()))
            }),
        }
    }

    fn is_true(&self) -> bool {
        self.as_ref().is_some_and(Value::is_true)
    }
}
