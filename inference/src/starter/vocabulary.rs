//! The starter's vocabulary: the notation's tokens, then English word pieces.

use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

use super::linking::Piece;
use super::notation::{Keyword, Token, special_names};
use crate::ModelError;

/// Splits pieces into tokens. Order: notation, words that answers use, all other word pieces;
/// the first two are what the model can say.
pub struct Vocabulary {
    tokenizer: Tokenizer,
    /// Tokens the model can say: all below this.
    pub sayable: usize,
}

impl Vocabulary {
    /// Reads a `tokenizer.json` that [`Vocabulary::build`] made.
    pub fn from_json(json: &[u8], sayable: usize) -> Result<Self, ModelError> {
        let tokenizer = Tokenizer::from_bytes(json).map_err(|error| ModelError::Tokenizer(error.to_string()))?;
        Ok(Self { tokenizer, sayable })
    }

    /// A vocabulary over `pieces` (BERT's spelling: `##` continues a word). Pieces in
    /// `answer_words` come first.
    pub fn build(pieces: &[String], answer_words: &[String]) -> Result<Self, ModelError> {
        let mut names = special_names();
        let specials = names.len();
        names.extend(pieces.iter().filter(|piece| answer_words.contains(piece)).cloned());
        let sayable = names.len();
        names.extend(pieces.iter().filter(|piece| !answer_words.contains(piece)).cloned());
        let vocabulary: Map<String, Value> = names.iter().cloned().zip((0_u32..).map(Value::from)).collect();
        let added: Vec<Value> = names[..specials]
            .iter()
            .enumerate()
            .map(|(id, name)| json!({"id": id, "content": name, "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}))
            .collect();
        let json = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": false, "strip_accents": true, "lowercase": true},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": null,
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
            "model": {
                "type": "WordPiece",
                "unk_token": names[Keyword::Unknown as usize],
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
                "vocab": vocabulary,
            },
        });
        let tokenizer =
            Tokenizer::from_bytes(json.to_string()).map_err(|error| ModelError::Tokenizer(error.to_string()))?;
        Ok(Self { tokenizer, sayable })
    }

    pub fn to_json(&self) -> Result<String, ModelError> {
        self.tokenizer.to_string(false).map_err(|error| ModelError::Tokenizer(error.to_string()))
    }

    pub fn size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// How a token is written.
    pub fn name(&self, token: Token) -> String {
        self.tokenizer.id_to_token(token).unwrap_or_default()
    }

    pub fn token(&self, name: &str) -> Option<Token> {
        self.tokenizer.token_to_id(name)
    }

    pub fn encode(&self, pieces: &[Piece]) -> Result<Vec<Token>, ModelError> {
        let mut tokens = Vec::with_capacity(pieces.len() * 2);
        for piece in pieces {
            match piece {
                Piece::Token(token) => tokens.push(*token),
                Piece::Text(text) => {
                    let encoded = self
                        .tokenizer
                        .encode(text.as_str(), false)
                        .map_err(|error| ModelError::Tokenizer(error.to_string()))?;
                    tokens.extend_from_slice(encoded.get_ids());
                }
            }
        }
        Ok(tokens)
    }
}
