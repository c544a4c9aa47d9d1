//! A `tokenizer.json`, read by the library that writes them.

use std::collections::HashSet;

use serde_json::Value;
use tokenizers::Tokenizer;

use super::vocabulary::{ESCAPED_SPACE, Spelling, byte_named, spelled};

#[derive(Debug)]
pub(super) struct JsonTokenizer {
    tokenizer: Tokenizer,
    /// Tokens that were added to the vocabulary: they are written as they are.
    added: HashSet<u32>,
    special: HashSet<u32>,
    /// One more than the greatest id.
    size: usize,
    spelling: JsonSpelling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JsonSpelling {
    Bytes,
    EscapedSpaces,
    /// As WordPiece writes: what continues a word begins with `##`.
    Continued,
    Plain,
}

impl JsonTokenizer {
    /// Truncation and padding, made for batches, are turned off.
    pub(super) fn new(mut tokenizer: Tokenizer) -> Result<Self, String> {
        tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
        tokenizer.with_padding(None);
        let added_tokens = tokenizer.get_added_tokens_decoder();
        let special = added_tokens.iter().filter(|(_, token)| token.special).map(|(id, _)| *id).collect();
        let size = tokenizer.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1);
        let spelling = spelling(&tokenizer).map_err(|error| error.to_string())?;
        Ok(Self { added: added_tokens.into_iter().map(|(id, _)| id).collect(), special, size, spelling, tokenizer })
    }

    pub(super) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn is_special(&self, token: u32) -> bool {
        self.special.contains(&token)
    }

    pub(super) fn bytes(&self, token: u32) -> Option<Vec<u8>> {
        let text = self.tokenizer.id_to_token(token)?;
        if self.added.contains(&token) {
            return Some(text.into_bytes());
        }
        Some(match self.spelling {
            JsonSpelling::Bytes => spelled(&text, Spelling::Bytes).into_owned(),
            JsonSpelling::EscapedSpaces => match byte_named(&text) {
                Some(byte) => vec![byte],
                None => spelled(&text, Spelling::EscapedSpaces).into_owned(),
            },
            JsonSpelling::Continued => match text.strip_prefix("##") {
                Some(rest) => rest.as_bytes().to_vec(),
                None => format!(" {text}").into_bytes(),
            },
            JsonSpelling::Plain => text.into_bytes(),
        })
    }
}

/// How a tokenizer's tokens spell, by what its decoder undoes.
fn spelling(tokenizer: &Tokenizer) -> Result<JsonSpelling, serde_json::Error> {
    let decoder = serde_json::to_value(tokenizer.get_decoder())?;
    let before = serde_json::to_value(tokenizer.get_pre_tokenizer())?;
    let mut steps = Vec::new();
    collect_steps(&decoder, &mut steps);
    if steps.is_empty() {
        collect_steps(&before, &mut steps);
    }
    let has = |name: &str| steps.contains(&name);
    Ok(if has("ByteLevel") {
        JsonSpelling::Bytes
    } else if has("Metaspace") || has("ByteFallback") || has(ESCAPED_SPACE) {
        JsonSpelling::EscapedSpaces
    } else if has("WordPiece") {
        JsonSpelling::Continued
    } else {
        JsonSpelling::Plain
    })
}

/// The types of all steps, and the patterns of those that replace.
fn collect_steps<'v>(value: &'v Value, steps: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => {
            if let Some(name) = fields.get("type").and_then(Value::as_str) {
                steps.push(name);
            }
            if let Some(pattern) = value.pointer("/pattern/String").and_then(Value::as_str) {
                steps.push(pattern);
            }
            fields.values().for_each(|value| collect_steps(value, steps));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_steps(value, steps)),
        _ => {}
    }
}
