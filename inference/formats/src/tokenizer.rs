//! Tokenizers: text to token ids and back, from a `tokenizer.json`, from the metadata of a GGUF
//! file, or from SentencePiece's `tokenizer.model`.
//!
//! A GGUF file says what its tokens are and which algorithm made them, not how a text is cut; that
//! is knowledge that llama.cpp has by name, and its results are the reference here, down to where
//! they differ from the `tokenizers` library's (BERT's accents, upper case beyond ASCII).

mod bpe;
mod byte_level;
mod characters;
mod folder;
mod gguf;
mod json;
mod merge;
mod partition;
mod pretokenizer;
mod rebuilt;
mod sentence_piece;
mod sentence_piece_model;
mod special;
mod trie;
mod unigram;
mod vocabulary;
mod word_piece;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tokenizers::Tokenizer;

use crate::FormatError;
use crate::gguf::{GgufFile, Metadata};
use json::JsonTokenizer;
use rebuilt::Rebuilt;

pub use special::SpecialTokens;

/// Opens the tokenizer at a path: a model's folder, a GGUF file, a `tokenizer.json` or a
/// SentencePiece `tokenizer.model`.
///
/// # Errors
/// There is none, or it is damaged or of a kind that isn't supported.
pub fn open_tokenizer(path: &Path) -> Result<ModelTokenizer, FormatError> {
    folder::open(path)
}

/// A model's tokenizer, wherever it comes from.
#[derive(Debug)]
pub struct ModelTokenizer {
    path: PathBuf,
    origin: Origin,
    special: SpecialTokens,
    names: Map<String, Value>,
    warnings: Vec<String>,
}

#[derive(Debug)]
enum Origin {
    Json(Box<JsonTokenizer>),
    Rebuilt(Box<Rebuilt>),
}

impl ModelTokenizer {
    /// Rebuilds the tokenizer of a GGUF file.
    ///
    /// # Errors
    /// Metadata that is missing, contradicts itself or describes an unknown kind of tokenizer.
    pub fn from_gguf(file: &GgufFile) -> Result<Self, FormatError> {
        rebuilt_from(file.metadata())
    }

    fn rebuilt(path: &Path, rebuilt: Rebuilt, special: SpecialTokens) -> Self {
        let names = special.names(rebuilt.vocabulary());
        let origin = Origin::Rebuilt(Box::new(rebuilt));
        Self { path: path.to_path_buf(), origin, special, names, warnings: Vec::new() }
    }

    /// Token ids. With `add_special`, those tokens are put around the text that the model was
    /// trained with. Control tokens that are spelled out in the text are text, as they should be
    /// in anything a user wrote; a `tokenizer.json` reads them as tokens all the same.
    ///
    /// # Errors
    /// A `tokenizer.json` that can't say what some text is.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, FormatError> {
        self.encode_as(text, add_special, false)
    }

    /// Token ids of a prompt that a chat template rendered: control tokens spelled out in it count.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_prompt(&self, prompt: &str, add_special: bool) -> Result<Vec<u32>, FormatError> {
        self.encode_as(prompt, add_special, true)
    }

    fn encode_as(&self, text: &str, add_special: bool, control: bool) -> Result<Vec<u32>, FormatError> {
        match &self.origin {
            Origin::Json(json) => {
                let encoding = json.tokenizer().encode_fast(text, add_special);
                let encoding = encoding.map_err(|error| FormatError::new(&self.path, error))?;
                Ok(encoding.get_ids().to_vec())
            }
            Origin::Rebuilt(rebuilt) => Ok(rebuilt.encode(text, add_special, control)),
        }
    }

    /// The text of tokens; bytes that are no whole character become U+FFFD, and ids that the
    /// vocabulary does not have nothing.
    ///
    /// # Errors
    /// A `tokenizer.json` whose decoder fails.
    pub fn decode(&self, tokens: &[u32], skip_special: bool) -> Result<String, FormatError> {
        match &self.origin {
            Origin::Json(json) => {
                json.tokenizer().decode(tokens, skip_special).map_err(|error| FormatError::new(&self.path, error))
            }
            Origin::Rebuilt(rebuilt) => Ok(rebuilt.decode(tokens, skip_special)),
        }
    }

    /// One more than the greatest id. Ids below it may be no tokens.
    pub fn vocabulary_size(&self) -> usize {
        match &self.origin {
            Origin::Json(json) => json.size(),
            Origin::Rebuilt(rebuilt) => rebuilt.vocabulary().len(),
        }
    }

    /// The id of a token by its text as the vocabulary spells it.
    pub fn token_id(&self, text: &str) -> Option<u32> {
        match &self.origin {
            Origin::Json(json) => json.tokenizer().token_to_id(text),
            Origin::Rebuilt(rebuilt) => rebuilt.vocabulary().id(text),
        }
    }

    /// A token as the vocabulary spells it.
    pub fn token_text(&self, token: u32) -> Option<String> {
        match &self.origin {
            Origin::Json(json) => json.tokenizer().id_to_token(token),
            Origin::Rebuilt(rebuilt) => rebuilt.vocabulary().get(token).map(|token| token.text.clone()),
        }
    }

    /// The bytes that a token adds to a text, or for a special token its text; `None` for an id
    /// that is no token.
    pub fn token_bytes(&self, token: u32) -> Option<Vec<u8>> {
        match &self.origin {
            Origin::Json(json) => json.bytes(token),
            Origin::Rebuilt(rebuilt) => rebuilt.vocabulary().bytes(token).map(std::borrow::Cow::into_owned),
        }
    }

    /// Whether a token frames text instead of being text.
    pub fn is_special(&self, token: u32) -> bool {
        match &self.origin {
            Origin::Json(json) => json.is_special(token),
            Origin::Rebuilt(rebuilt) => rebuilt.is_special(token),
        }
    }

    /// The special tokens by their roles.
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// The texts of special tokens as chat templates name them: `bos_token` and its like.
    pub fn special_names(&self) -> &Map<String, Value> {
        &self.names
    }

    /// What a person should know: the file leaves something open that had to be guessed.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The file it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The library's own tokenizer, where it was a `tokenizer.json`.
    pub fn as_json(&self) -> Option<&Tokenizer> {
        match &self.origin {
            Origin::Json(json) => Some(json.tokenizer()),
            Origin::Rebuilt(_) => None,
        }
    }
}

/// The tokenizer that a GGUF file's metadata describes.
pub(crate) fn rebuilt_from(metadata: &Metadata) -> Result<ModelTokenizer, FormatError> {
    let gguf::Parts { rebuilt, special, warnings } = gguf::rebuild(metadata)?;
    Ok(ModelTokenizer { warnings, ..ModelTokenizer::rebuilt(metadata.path(), rebuilt, special) })
}

/// The chat templates in a GGUF file, as `tokenizer_config.json` has them under `chat_template`:
/// one text, a list of `{name, template}`, or null.
///
/// # Errors
/// A template that is not text.
pub fn chat_templates(file: &GgufFile) -> Result<Value, FormatError> {
    gguf::chat_templates(file.metadata())
}
