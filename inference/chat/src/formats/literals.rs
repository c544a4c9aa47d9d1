//! Values as Python and FunctionGemma write them: `1`, `True`, `'text'`, `[..]`, `{key: value}`.

use serde_json::{Map, Number, Value};

/// How a notation differs from the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Notation {
    /// What strings stand between.
    pub(super) quotes: &'static [&'static str],
    /// Whether a backslash escapes in strings.
    pub(super) escapes: bool,
}

pub(super) const PYTHON: Notation = Notation { quotes: &["\"", "'"], escapes: true };

/// Lists within lists.
const DEEPEST: usize = 64;

/// Reads a text from its beginning; every method is `None` where the text ends too early or reads otherwise.
pub(super) struct Literals<'t> {
    text: &'t str,
    position: usize,
    notation: Notation,
    depth: usize,
}

impl<'t> Literals<'t> {
    pub(super) fn new(text: &'t str, notation: Notation) -> Self {
        Self { text, position: 0, notation, depth: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    fn rest(&self) -> &'t str {
        &self.text[self.position..]
    }

    pub(super) fn skip_space(&mut self) {
        self.position += self.rest().len() - self.rest().trim_start().len();
    }

    pub(super) fn take(&mut self, marker: &str) -> Option<()> {
        self.skip_space();
        self.rest().starts_with(marker).then(|| self.position += marker.len())
    }

    pub(super) fn name(&mut self) -> Option<&'t str> {
        self.skip_space();
        let rest = self.rest();
        let end = rest.find(|other: char| !other.is_alphanumeric() && !matches!(other, '_' | '-' | '.'))?;
        self.position += end;
        Some(&rest[..end]).filter(|name| !name.is_empty())
    }

    /// `name` assign value, between commas, to the closing bracket, which is read too.
    pub(super) fn arguments(&mut self, assign: &str, close: &str) -> Option<Map<String, Value>> {
        let mut arguments = Map::new();
        while self.take(close).is_none() {
            if !arguments.is_empty() {
                self.take(",")?;
                if self.take(close).is_some() {
                    break;
                }
            }
            let key = match self.string() {
                Some(key) => key,
                None => self.name()?.to_string(),
            };
            self.take(assign)?;
            let value = self.value()?;
            arguments.insert(key, value);
        }
        Some(arguments)
    }

    pub(super) fn value(&mut self) -> Option<Value> {
        self.skip_space();
        if self.depth == DEEPEST {
            return None;
        }
        if self.notation.quotes.iter().any(|quote| self.rest().starts_with(quote)) {
            return self.string().map(Value::String);
        }
        let close = match self.rest().chars().next()? {
            '[' => "]",
            '(' => ")",
            '{' => {
                self.position += 1;
                self.depth += 1;
                let entries = self.arguments(":", "}")?;
                self.depth -= 1;
                return Some(Value::Object(entries));
            }
            _ => return self.word(),
        };
        self.position += 1;
        self.depth += 1;
        let mut items = Vec::new();
        while self.take(close).is_none() {
            if !items.is_empty() {
                self.take(",")?;
                if self.take(close).is_some() {
                    break;
                }
            }
            items.push(self.value()?);
        }
        self.depth -= 1;
        Some(Value::Array(items))
    }

    fn string(&mut self) -> Option<String> {
        let quote = self.notation.quotes.iter().find(|quote| self.rest().starts_with(**quote))?;
        let body = &self.rest()[quote.len()..];
        if !self.notation.escapes {
            let end = body.find(quote)?;
            self.position += end + 2 * quote.len();
            return Some(body[..end].to_string());
        }
        let mut text = String::new();
        let mut characters = body.char_indices();
        while let Some((position, character)) = characters.next() {
            match character {
                '\\' => match characters.next()?.1 {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    escape @ ('u' | 'x') => {
                        let width = if escape == 'u' { 4 } else { 2 };
                        let digits: String = characters.by_ref().take(width).map(|(_, digit)| digit).collect();
                        text.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                    }
                    same @ ('\\' | '\'' | '"') => text.push(same),
                    other => text.extend(['\\', other]),
                },
                _ if body[position..].starts_with(*quote) => {
                    self.position += position + 2 * quote.len();
                    return Some(text);
                }
                plain => text.push(plain),
            }
        }
        None
    }

    /// A number, a truth, nothing; or any other word, which is text.
    fn word(&mut self) -> Option<Value> {
        let rest = self.rest();
        let end = rest.find([',', ')', ']', '}', '\n'])?;
        let word = rest[..end].trim();
        self.position += end;
        Some(match word {
            "" => return None,
            "True" | "true" => Value::Bool(true),
            "False" | "false" => Value::Bool(false),
            "None" | "null" => Value::Null,
            other => match (other.parse::<i64>(), other.parse::<f64>().ok().and_then(Number::from_f64)) {
                (Ok(number), _) => Value::from(number),
                (_, Some(number)) => Value::Number(number),
                _ => Value::String(other.to_string()),
            },
        })
    }
}
