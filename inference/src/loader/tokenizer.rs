//! A model's tokenizer and what the engine needs to know of it: which tokens end an answer, which
//! are not shown, where its chat template is.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use codriver_formats::read_file;
use codriver_formats::tokenizer::{ModelTokenizer, chat_templates, open_tokenizer};
use serde_json::{Map, Value, json};
use tokenizers::{Tokenizer, TruncationParams};

use super::gguf::format_error;
use super::{ModelFiles, file_error, read_optional_json};
use crate::ModelError;

/// Special tokens that are part of what a model says, not of how it is framed.
const SPOKEN: [&str; 6] = ["<tool_call>", "</tool_call>", "<think>", "</think>", "<tool_response>", "<|python_tag|>"];

/// A model's tokenizer with its special tokens.
pub(crate) struct TokenizerFiles {
    pub(crate) tokenizer: Arc<ModelTokenizer>,
    /// Tokens that end an answer.
    pub(crate) end_tokens: HashSet<u32>,
    /// Special tokens that are not shown.
    pub(crate) silent_tokens: HashSet<u32>,
    /// `bos_token` and its like, as chat templates use them.
    pub(crate) special_names: Map<String, Value>,
    /// `tokenizer_config.json` or what a GGUF file has of it, for the chat template in it.
    pub(crate) settings: Value,
}

impl TokenizerFiles {
    /// The tokenizer of a model.
    pub(crate) fn open(files: &ModelFiles) -> Result<Self, ModelError> {
        let (tokenizer, settings) = match files {
            ModelFiles::Gguf(file) => {
                let templates = chat_templates(file).map_err(format_error)?;
                (ModelTokenizer::from_gguf(file), json!({ "chat_template": templates }))
            }
            ModelFiles::Folder(folder) => {
                let settings = read_optional_json(&folder.join("tokenizer_config.json"))?;
                (open_tokenizer(folder), settings.unwrap_or(Value::Null))
            }
        };
        let tokenizer = tokenizer.map_err(format_error)?;
        for warning in tokenizer.warnings() {
            tracing::warn!("{}: {warning}", files.path().display());
        }
        let is_silent = |token: &u32| {
            let text = || tokenizer.token_text(*token);
            tokenizer.is_special(*token) && text().is_some_and(|text| !SPOKEN.contains(&text.as_str()))
        };
        let size = u32::try_from(tokenizer.vocabulary_size()).unwrap_or(u32::MAX);
        Ok(Self {
            silent_tokens: (0..size).filter(is_silent).collect(),
            end_tokens: tokenizer.special().ends.iter().copied().collect(),
            special_names: tokenizer.special_names().clone(),
            settings,
            tokenizer: Arc::new(tokenizer),
        })
    }
}

/// The `tokenizer.json` of a folder. Its own truncation and padding, made for batches, are replaced.
pub(crate) fn open(folder: &Path, longest: Option<usize>) -> Result<Tokenizer, ModelError> {
    let path = folder.join("tokenizer.json");
    let bytes = read_file(&path).map_err(format_error)?;
    let mut tokenizer =
        Tokenizer::from_bytes(bytes).map_err(|error| file_error(&path, format!("not a tokenizer: {error}")))?;
    let truncation = longest.map(|max_length| TruncationParams { max_length, ..TruncationParams::default() });
    tokenizer.with_truncation(truncation).map_err(|error| file_error(&path, error))?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}
