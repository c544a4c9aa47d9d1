//! `tokenizer.json` and what surrounds it: special tokens, and which of them end an answer.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use serde_json::{Map, Value};
use tokenizers::{Tokenizer, TruncationParams};

use super::{file_error, read_optional_json};
use crate::ModelError;

/// Special tokens that are part of what a model says, not of how it is framed.
const SPOKEN: [&str; 6] = [
    "<tool_call>",
    "</tool_call>",
    "<think>",
    "</think>",
    "<tool_response>",
    "<|python_tag|>",
];

/// A model's tokenizer with its special tokens.
pub(crate) struct TokenizerFiles {
    pub(crate) tokenizer: Tokenizer,
    /// Tokens that end an answer.
    pub(crate) end_tokens: HashSet<u32>,
    /// Special tokens that are not shown.
    pub(crate) silent_tokens: HashSet<u32>,
    /// `bos_token` and its like, as chat templates use them.
    pub(crate) special_names: Map<String, Value>,
    /// `tokenizer_config.json`, for the chat template in it.
    pub(crate) settings: Value,
}

impl TokenizerFiles {
    pub(crate) fn open(folder: &Path) -> Result<Self, ModelError> {
        let tokenizer = open(folder, None)?;
        let settings =
            read_optional_json(&folder.join("tokenizer_config.json"))?.unwrap_or(Value::Null);
        let map =
            read_optional_json(&folder.join("special_tokens_map.json"))?.unwrap_or(Value::Null);
        let special_names = special_names(&[&map, &settings]);
        let silent_tokens = tokenizer
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(_, token)| token.special && !SPOKEN.contains(&token.content.as_str()))
            .map(|(id, _)| id)
            .collect();
        let mut end_tokens = HashSet::new();
        for name in ["generation_config.json", "config.json"] {
            let config = read_optional_json(&folder.join(name))?.unwrap_or(Value::Null);
            end_tokens.extend(ids(&config["eos_token_id"]));
        }
        if let Some(token) = special_names.get("eos_token").and_then(Value::as_str) {
            end_tokens.extend(tokenizer.token_to_id(token));
        }
        Ok(Self {
            tokenizer,
            end_tokens,
            silent_tokens,
            special_names,
            settings,
        })
    }
}

/// The tokenizer of a folder. Its own truncation and padding, made for batches, are replaced.
pub(crate) fn open(folder: &Path, longest: Option<usize>) -> Result<Tokenizer, ModelError> {
    let path = folder.join("tokenizer.json");
    let bytes = fs_err::read(&path).map_err(|error| file_error(&path, error.kind()))?;
    let mut tokenizer = Tokenizer::from_bytes(bytes)
        .map_err(|error| file_error(&path, format!("not a tokenizer: {error}")))?;
    let truncation = longest.map(|max_length| TruncationParams {
        max_length,
        ..TruncationParams::default()
    });
    tokenizer
        .with_truncation(truncation)
        .map_err(|error| file_error(&path, error))?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

/// One token id or a list of them.
fn ids(value: &Value) -> BTreeSet<u32> {
    let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Array(ids) => ids.iter().filter_map(one).collect(),
        single => one(single).into_iter().collect(),
    }
}

/// `*_token` entries, which are strings or objects with a `content`; later files win.
fn special_names(files: &[&Value]) -> Map<String, Value> {
    let entries = files.iter().filter_map(|file| file.as_object()).flatten();
    let named = entries.filter(|(name, _)| name.ends_with("_token"));
    named
        .filter_map(|(name, value)| {
            let text = value
                .as_str()
                .or_else(|| value.get("content").and_then(Value::as_str))?;
            Some((name.clone(), Value::from(text)))
        })
        .collect()
}
