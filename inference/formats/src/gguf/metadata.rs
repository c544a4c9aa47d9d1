use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::FormatError;

/// A file's keys and values, in the file's order.
#[derive(Debug, Clone)]
pub struct Metadata {
    path: PathBuf,
    entries: Vec<(String, Value)>,
    positions: HashMap<String, usize>,
}

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    String(String),
    Array(Array),
}

/// A metadata array, whose elements have one type.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bool(Vec<bool>),
    String(Vec<String>),
}

impl Metadata {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), entries: Vec::new(), positions: HashMap::new() }
    }

    /// Adds an entry; `false` where the key is there already, whose value then stays.
    pub(crate) fn insert(&mut self, key: String, value: Value) -> bool {
        if self.positions.contains_key(&key) {
            return false;
        }
        self.positions.insert(key.clone(), self.entries.len());
        self.entries.push((key, value));
        true
    }

    /// The file that says it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All keys and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The value of a key as it is in the file.
    pub fn value(&self, key: &str) -> Option<&Value> {
        let position = self.positions.get(key)?;
        self.entries.get(*position).map(|(_, value)| value)
    }

    /// The value of a key that the file need not have: `metadata.get::<&str>("general.name")?`.
    ///
    /// # Errors
    /// The value is there and of another type.
    pub fn get<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>, FormatError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        T::from_value(value).map(Some).ok_or_else(|| {
            let expected = T::EXPECTED;
            self.error(format!("the key `{key}` should be {expected}, but is {}", value.describe()))
        })
    }

    /// The value of a key that the file must have.
    ///
    /// # Errors
    /// The key is missing, or its value is of another type.
    pub fn require<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T, FormatError> {
        self.get(key)?.ok_or_else(|| {
            let expected = T::EXPECTED;
            self.error(format!(
                "the key `{key}` ({expected}) is missing; the file is incomplete: convert or download the model again"
            ))
        })
    }

    /// An error about this file.
    pub fn error(&self, reason: impl ToString) -> FormatError {
        FormatError::new(&self.path, reason)
    }
}

/// What a metadata value can be read as. Integers of any width convert where the value fits.
pub trait FromValue<'a>: Sized {
    /// The type in words, for errors.
    const EXPECTED: &'static str;
    fn from_value(value: &'a Value) -> Option<Self>;
}

impl<'a> FromValue<'a> for &'a str {
    const EXPECTED: &'static str = "text";
    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

impl FromValue<'_> for bool {
    const EXPECTED: &'static str = "true or false";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }
}

impl FromValue<'_> for f64 {
    const EXPECTED: &'static str = "a number";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::F32(number) => Some(f64::from(*number)),
            Value::F64(number) => Some(*number),
            value => value.integer().map(|number| number as f64),
        }
    }
}

impl FromValue<'_> for f32 {
    const EXPECTED: &'static str = "a number";
    fn from_value(value: &Value) -> Option<Self> {
        f64::from_value(value).map(|number| number as f32)
    }
}

macro_rules! integers {
    ($($integer:ty: $expected:literal),*) => {$(
        impl FromValue<'_> for $integer {
            const EXPECTED: &'static str = $expected;
            fn from_value(value: &Value) -> Option<Self> {
                value.integer()?.try_into().ok()
            }
        }
    )*};
}

integers!(
    u32: "a whole number from 0 to 4294967295",
    u64: "a whole number, not negative",
    usize: "a whole number, not negative",
    i64: "a whole number"
);

impl<'a> FromValue<'a> for &'a [String] {
    const EXPECTED: &'static str = "a list of texts";
    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Array(Array::String(texts)) => Some(texts),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a [f32] {
    const EXPECTED: &'static str = "a list of 32-bit floats";
    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Array(Array::F32(numbers)) => Some(numbers),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a [u8] {
    const EXPECTED: &'static str = "a list of bytes";
    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Array(Array::U8(bytes)) => Some(bytes),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a Array {
    const EXPECTED: &'static str = "a list";
    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Array(array) => Some(array),
            _ => None,
        }
    }
}

impl FromValue<'_> for Vec<bool> {
    const EXPECTED: &'static str = "a list of true and false";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Array(Array::Bool(flags)) => Some(flags.clone()),
            _ => None,
        }
    }
}

impl FromValue<'_> for Vec<i64> {
    const EXPECTED: &'static str = "a list of whole numbers";
    fn from_value(value: &Value) -> Option<Self> {
        fn widen<T: Copy + TryInto<i64>>(numbers: &[T]) -> Option<Vec<i64>> {
            numbers.iter().map(|number| (*number).try_into().ok()).collect()
        }
        match value {
            Value::Array(Array::U8(numbers)) => widen(numbers),
            Value::Array(Array::I8(numbers)) => widen(numbers),
            Value::Array(Array::U16(numbers)) => widen(numbers),
            Value::Array(Array::I16(numbers)) => widen(numbers),
            Value::Array(Array::U32(numbers)) => widen(numbers),
            Value::Array(Array::I32(numbers)) => widen(numbers),
            Value::Array(Array::U64(numbers)) => widen(numbers),
            Value::Array(Array::I64(numbers)) => widen(numbers),
            _ => None,
        }
    }
}

impl Value {
    fn integer(&self) -> Option<i128> {
        match self {
            Value::U8(number) => Some((*number).into()),
            Value::I8(number) => Some((*number).into()),
            Value::U16(number) => Some((*number).into()),
            Value::I16(number) => Some((*number).into()),
            Value::U32(number) => Some((*number).into()),
            Value::I32(number) => Some((*number).into()),
            Value::U64(number) => Some((*number).into()),
            Value::I64(number) => Some((*number).into()),
            _ => None,
        }
    }

    /// The value in a few words, for errors.
    fn describe(&self) -> String {
        match self {
            Value::F32(number) => format!("the number {number}"),
            Value::F64(number) => format!("the number {number}"),
            Value::Bool(flag) => flag.to_string(),
            Value::String(text) => {
                let start: String = text.chars().take(40).collect();
                format!("the text {start:?}")
            }
            Value::Array(array) => format!("a list of {} {}", array.len(), array.element_name()),
            value => value.integer().map_or_else(String::new, |number| format!("the number {number}")),
        }
    }
}

impl Array {
    pub fn len(&self) -> usize {
        match self {
            Array::U8(elements) => elements.len(),
            Array::I8(elements) => elements.len(),
            Array::U16(elements) => elements.len(),
            Array::I16(elements) => elements.len(),
            Array::U32(elements) => elements.len(),
            Array::I32(elements) => elements.len(),
            Array::U64(elements) => elements.len(),
            Array::I64(elements) => elements.len(),
            Array::F32(elements) => elements.len(),
            Array::F64(elements) => elements.len(),
            Array::Bool(elements) => elements.len(),
            Array::String(elements) => elements.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn element_name(&self) -> &'static str {
        match self {
            Array::F32(_) | Array::F64(_) => "floats",
            Array::Bool(_) => "flags",
            Array::String(_) => "texts",
            _ => "integers",
        }
    }
}

macro_rules! values {
    ($($from:ty => $variant:ident),*) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Value::$variant(value)
            }
        }
        impl From<Vec<$from>> for Value {
            fn from(values: Vec<$from>) -> Self {
                Value::Array(Array::$variant(values))
            }
        }
    )*};
}

values!(
    u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, u64 => U64, i64 => I64,
    f32 => F32, f64 => F64, bool => Bool, String => String
);

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::String(text.to_string())
    }
}
