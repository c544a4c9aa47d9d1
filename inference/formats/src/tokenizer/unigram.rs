//! SentencePiece's unigram language model (Kudo 2018): of all ways to read a text as tokens, the
//! most probable. T5, XLM-R and their relatives.

use super::characters::CharacterMap;
use super::trie::Trie;
use super::vocabulary::{ESCAPED_SPACE, Kind, Vocabulary};

#[derive(Debug)]
pub(super) struct Unigram {
    tokens: Trie,
    user_defined: Trie,
    characters: CharacterMap,
    unknown: u32,
    /// What an unknown character costs.
    unknown_score: f64,
    spaces: Spaces,
}

/// What becomes of spaces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spaces {
    /// A text begins with one.
    pub(super) prefixed: bool,
    /// A run of them is one, at the end none.
    pub(super) merged: bool,
}

/// SentencePiece's penalty for an unknown character, below the least probable token.
const UNKNOWN_PENALTY: f32 = 10.0;

/// The best way to read a text up to some position.
#[derive(Clone, Copy)]
struct Reading {
    score: f64,
    /// The last token and where it begins.
    token: u32,
    start: usize,
}

impl Unigram {
    /// `character_map` is SentencePiece's precompiled normalization, empty where there is none.
    ///
    /// # Errors
    /// A vocabulary without a token for the unknown, or a damaged character map.
    pub(super) fn new(
        vocabulary: &Vocabulary,
        unknown: Option<u32>,
        character_map: &[u8],
        spaces: Spaces,
    ) -> Result<Self, String> {
        let matched = Kind::NORMAL.or(Kind::USER_DEFINED).or(Kind::UNUSED);
        let of = |kind: Kind| {
            let tokens = vocabulary.iter().filter(|(_, token)| token.kind.is_any_of(kind));
            tokens.map(|(id, token)| (token.text.as_bytes(), id)).collect::<Vec<_>>()
        };
        if let Some((id, token)) = vocabulary.iter().find(|(_, token)| token.score.is_nan()) {
            return Err(format!("gives the token {:?} ({id}) a score that is no number", token.text));
        }
        let normal = vocabulary.iter().filter(|(_, token)| token.kind.is_any_of(Kind::NORMAL));
        let least = normal.map(|(_, token)| token.score).fold(f32::MAX, f32::min);
        Ok(Self {
            tokens: Trie::new(of(matched)),
            user_defined: Trie::new(of(Kind::USER_DEFINED)),
            characters: CharacterMap::new(character_map)?,
            unknown: unknown.ok_or("names no token for the unknown (tokenizer.ggml.unknown_token_id)")?,
            unknown_score: f64::from(least - UNKNOWN_PENALTY),
            spaces,
        })
    }

    /// Appends the tokens of a text in which no special tokens are.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, tokens: &mut Vec<u32>) {
        let text = self.normalize(text);
        let mut readings = vec![None; text.len() + 1];
        if let Some(start) = readings.first_mut() {
            *start = Some(Reading { score: 0.0, token: self.unknown, start: 0 });
        }
        for (start, character) in text.char_indices() {
            let Some(Some(Reading { score, .. })) = readings.get(start).copied() else {
                continue;
            };
            let mut improve = |end: usize, token: u32, added: f64| {
                let reading = Reading { score: score + added, token, start };
                if let Some(best) = readings.get_mut(end)
                    && best.is_none_or(|best: Reading| reading.score > best.score)
                {
                    *best = Some(reading);
                }
            };
            let mut known = false;
            for (length, token) in self.tokens.prefixes(text.as_bytes().get(start..).unwrap_or_default()) {
                known |= length == character.len_utf8();
                let scored = vocabulary.get(token).filter(|token| !token.kind.is_any_of(Kind::USER_DEFINED));
                improve(start + length, token, scored.map_or(0.0, |token| f64::from(token.score)));
            }
            if !known {
                improve(start + character.len_utf8(), self.unknown, self.unknown_score);
            }
        }
        self.backtrack(&readings, tokens);
    }

    /// Follows the best reading back from the text's end. Unknown characters beside each other
    /// are one unknown token.
    fn backtrack(&self, readings: &[Option<Reading>], tokens: &mut Vec<u32>) {
        let before = tokens.len();
        let mut end = readings.len() - 1;
        let mut after_unknown = false;
        while let Some(Some(reading)) = readings.get(end).filter(|_| end > 0) {
            let unknown = reading.token == self.unknown;
            if !(unknown && after_unknown) {
                tokens.push(reading.token);
            }
            after_unknown = unknown;
            end = reading.start;
        }
        if let Some(added) = tokens.get_mut(before..) {
            added.reverse();
        }
    }

    /// Maps characters, and spaces to what stands for them in tokens.
    fn normalize(&self, text: &str) -> String {
        let mut normalized = String::with_capacity(text.len() + text.len() / 2);
        let mut prefixed = false;
        let mut in_word = false;
        let mut rest = text;
        while !rest.is_empty() {
            let (mapped, consumed) = self.next(rest);
            for character in mapped.chars() {
                if character == ' ' {
                    in_word = false;
                    if !self.spaces.merged {
                        normalized.push_str(ESCAPED_SPACE);
                    }
                    continue;
                }
                if !in_word {
                    in_word = true;
                    if (self.spaces.prefixed && !prefixed) || self.spaces.merged {
                        normalized.push_str(ESCAPED_SPACE);
                        prefixed = true;
                    }
                }
                normalized.push(character);
            }
            rest = rest.get(consumed..).unwrap_or_default();
        }
        normalized
    }

    /// What a text's beginning is mapped to, and how many bytes that beginning has.
    fn next<'a>(&'a self, text: &'a str) -> (&'a str, usize) {
        // What begins a user-defined token is taken as it is.
        let longest = self.user_defined.longest_path(text.as_bytes());
        let verbatim = text.floor_char_boundary(longest);
        if let Some(verbatim) = text.get(..verbatim).filter(|verbatim| !verbatim.is_empty()) {
            return (verbatim, verbatim.len());
        }
        if let Some((mapped, consumed)) = self.characters.longest(text) {
            return (mapped, consumed);
        }
        let length = text.chars().next().map_or(0, char::len_utf8);
        (text.get(..length).unwrap_or_default(), length)
    }
}
