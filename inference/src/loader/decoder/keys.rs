//! Typed access to the words of a `config.json`.

use std::path::Path;

use serde_json::{Map, Value};

use super::super::file_error;
use crate::ModelError;

/// The words of an object in a `config.json`; a word of value null counts as absent.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    /// The file, for errors.
    pub path: &'a Path,
    pub words: &'a Map<String, Value>,
}

/// No dimension of a model that fits a machine is larger; products of two stay far from overflow.
pub(super) const LARGEST_SIZE: u64 = 1 << 28;

impl<'a> Keys<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.words.get(key).filter(|value| !value.is_null())
    }

    /// A size that must be there.
    pub(super) fn size(&self, key: &str) -> Result<usize, ModelError> {
        self.optional_size(key)?.ok_or_else(|| self.invalid(format!("the key `{key}` is missing")))
    }

    pub(super) fn optional_size(&self, key: &str) -> Result<Option<usize>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_u64() {
            Some(size @ 1..=LARGEST_SIZE) => Ok(Some(size as usize)),
            _ => Err(self.invalid(format!("`{key}` is {value}, not a size"))),
        }
    }

    /// A number above zero.
    pub(super) fn positive(&self, key: &str) -> Result<Option<f64>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_f64() {
            Some(number) if number.is_finite() && number > 0.0 => Ok(Some(number)),
            _ => Err(self.invalid(format!("`{key}` is {value}, not a positive number"))),
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key).and_then(Value::as_str)
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(super) fn list(&self, key: &str) -> Result<Option<&'a [Value]>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_array() {
            Some(list) => Ok(Some(list)),
            None => Err(self.invalid(format!("`{key}` is {value}, not a list"))),
        }
    }

    pub(super) fn group(&self, key: &str) -> Result<Option<Keys<'a>>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_object() {
            Some(words) => Ok(Some(Keys { path: self.path, words })),
            None => Err(self.invalid(format!("`{key}` is {value}, not an object"))),
        }
    }

    pub(super) fn invalid(&self, reason: impl ToString) -> ModelError {
        file_error(self.path, reason)
    }

    pub(super) fn unsupported(&self, what: impl ToString) -> ModelError {
        ModelError::Unsupported(format!("{}: {}", self.path.display(), what.to_string()))
    }
}
