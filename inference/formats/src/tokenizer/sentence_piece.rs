//! SentencePiece's byte-pair encoding (Kudo and Richardson 2018): no words, spaces are characters,
//! and of two neighbours whose texts together are a token, those merge first whose token has the
//! highest score. What is left over falls back on bytes.

use super::merge::{NO_TOKEN, Pieces};
use super::vocabulary::{ESCAPED_SPACE, Vocabulary};

#[derive(Debug)]
pub(super) struct SentencePiece {
    /// By id: scores as integers that order as they do.
    priorities: Vec<u32>,
    /// By byte: the tokens for what is no token.
    bytes: Vec<u32>,
    /// Whether spaces are only at the beginning of tokens: nothing merges across the beginning of
    /// a word then, and short stretches merge faster than a long one.
    words_apart: bool,
}

impl SentencePiece {
    /// # Errors
    /// A vocabulary that has neither bytes to fall back on nor a token for the unknown, or scores
    /// that are no numbers.
    pub(super) fn new(vocabulary: &Vocabulary, unknown: Option<u32>) -> Result<Self, String> {
        let priorities = vocabulary.iter().map(|(id, token)| {
            let problem = || format!("gives the token {:?} ({id}) a score that is no number", token.text);
            (!token.score.is_nan()).then(|| sortable(token.score)).ok_or_else(problem)
        });
        let byte = |byte: u8| {
            let text = byte.is_ascii().then_some([byte]);
            let itself = text.as_ref().and_then(|text| vocabulary.id(std::str::from_utf8(text).ok()?));
            let token = vocabulary.byte(byte).or(itself).or(unknown);
            token.ok_or_else(|| {
                format!("has no token for the byte {byte:#04x}, and none for the unknown: the vocabulary is incomplete")
            })
        };
        Ok(Self {
            priorities: priorities.collect::<Result<_, _>>()?,
            bytes: (0..=u8::MAX).map(byte).collect::<Result<_, _>>()?,
            words_apart: vocabulary.iter().all(|(_, token)| first_word(&token.text).len() == token.text.len()),
        })
    }

    /// Appends the tokens of a text in which no special tokens are, after a space if it is to be
    /// `prefixed` with one.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, prefixed: bool, tokens: &mut Vec<u32>) {
        let mut escaped = String::with_capacity(text.len() + ESCAPED_SPACE.len());
        if prefixed {
            escaped.push_str(ESCAPED_SPACE);
        }
        escaped.push_str(&text.replace(' ', ESCAPED_SPACE));
        let mut pieces = Pieces::default();
        let mut rest = escaped.as_str();
        while !rest.is_empty() {
            let word = if self.words_apart { first_word(rest) } else { rest };
            self.encode_word(vocabulary, word, &mut pieces, tokens);
            rest = rest.get(word.len()..).unwrap_or_default();
        }
    }

    fn encode_word(&self, vocabulary: &Vocabulary, word: &str, pieces: &mut Pieces, tokens: &mut Vec<u32>) {
        pieces.clear();
        let mut buffer = [0; 4];
        for character in word.chars() {
            let text: &str = character.encode_utf8(&mut buffer);
            pieces.push(text.len(), vocabulary.id(text).unwrap_or(NO_TOKEN));
        }
        pieces.merge(|left, right| {
            if right.end - left.start > vocabulary.longest() {
                return None;
            }
            let merged = vocabulary.id(word.get(left.start..right.end)?)?;
            Some((*self.priorities.get(usize::try_from(merged).ok()?)?, merged))
        });
        for piece in pieces.iter() {
            if piece.id != NO_TOKEN {
                tokens.push(piece.id);
                continue;
            }
            let bytes = word.as_bytes().get(piece.start..piece.end).unwrap_or_default();
            tokens.extend(bytes.iter().filter_map(|byte| self.bytes.get(usize::from(*byte))));
        }
    }
}

/// A text up to where a space follows what is none.
fn first_word(text: &str) -> &str {
    let word = text.trim_start_matches(ESCAPED_SPACE);
    let end = word.find(ESCAPED_SPACE).map_or(text.len(), |end| text.len() - word.len() + end);
    text.get(..end).unwrap_or(text)
}

/// An integer that orders as the number does, either zero the same.
fn sortable(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}
