//! Texts as an encoder reads them: cut into tokens, at most so many, all of them known.

use std::path::Path;

use serde_json::Value;
use tokenizers::{EncodeInput, Encoding, PostProcessor, Tokenizer};

use super::network::{Tokens, in_parallel, threads};
use crate::device;
use crate::loader::encoder::LoadedEncoder;
use crate::loader::{self, file_error, read_optional_json};
use crate::{Cancellation, ModelError};

/// An encoder's tokenizer, and what its input must be like.
pub(super) struct Reader {
    /// The model's, for errors.
    pub(super) name: String,
    pub(super) tokenizer: Tokenizer,
    /// Tokens of the longest text.
    pub(super) longest: usize,
    vocabulary: usize,
}

/// Texts that a thread turns into tokens at a time.
const TOKENIZED: usize = 16;

impl Reader {
    /// The tokenizer in an encoder's folder, for texts of `longest` tokens, or pairs of texts.
    pub(super) fn open(
        name: String,
        folder: &Path,
        longest: usize,
        loaded: &LoadedEncoder,
        pairs: bool,
    ) -> Result<Self, ModelError> {
        let tokenizer = loader::tokenizer::open(folder, Some(longest))?;
        let framing = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(pairs));
        if longest <= framing {
            let reason = format!("texts of {longest} tokens leave no room beside the {framing} special tokens");
            return Err(file_error(folder, reason));
        }
        Ok(Self { name, tokenizer, longest, vocabulary: loaded.vocabulary })
    }

    /// What `tokens` makes of each of `texts`, in order, on all cores; checked.
    pub(super) fn read<T: Sync>(
        &self,
        texts: &[T],
        cancellation: &Cancellation,
        tokens: impl Fn(&T) -> Result<Tokens, ModelError> + Sync,
    ) -> Result<Vec<Tokens>, ModelError> {
        let some: Vec<&[T]> = texts.chunks(TOKENIZED).collect();
        let read = in_parallel(some.len(), threads(), |index| {
            if cancellation.is_cancelled() {
                return Err(ModelError::Cancelled);
            }
            some.get(index).copied().unwrap_or_default().iter().map(&tokens).collect::<Result<Vec<_>, _>>()
        })?;
        let read: Vec<Tokens> = read.into_iter().flatten().collect();
        self.check(&read)?;
        Ok(read)
    }

    pub(super) fn encode<'t>(&self, input: impl Into<EncodeInput<'t>>) -> Result<Encoding, ModelError> {
        // A template that names no token of its own makes the tokenizers crate panic.
        let encoding = device::caught(|| self.tokenizer.encode_fast(input, true))
            .map_err(|reason| ModelError::Tokenizer(format!("tokenizer.json of {} is damaged: {reason}", self.name)))?;
        encoding.map_err(|error| ModelError::Tokenizer(error.to_string()))
    }

    fn check(&self, texts: &[Tokens]) -> Result<(), ModelError> {
        let failed = |reason: String| Err(ModelError::Tokenizer(reason));
        if texts.iter().any(|text| text.ids.is_empty()) {
            return failed("a text has no tokens, not even special ones".to_string());
        }
        if let Some(long) = texts.iter().find(|text| text.ids.len() > self.longest) {
            return failed(format!("a text was not cut to {} tokens, it has {}", self.longest, long.ids.len()));
        }
        match texts.iter().flat_map(|text| &text.ids).find(|token| **token as usize >= self.vocabulary) {
            Some(token) => failed(format!(
                "token {token} is not in the model's vocabulary of {}; tokenizer.json is not this model's",
                self.vocabulary
            )),
            None => Ok(()),
        }
    }
}

/// The length that a tokenizer's settings cut texts to, where they say one.
pub(super) fn longest(folder: &Path) -> Result<Option<usize>, ModelError> {
    let tokenizer = read_optional_json(&folder.join("tokenizer_config.json"))?.unwrap_or(Value::Null);
    // A number beyond all integers stands for "no limit".
    Ok(tokenizer["model_max_length"].as_u64().map(|longest| longest as usize))
}
