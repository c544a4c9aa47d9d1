//! WordPiece as BERT uses it (Devlin et al. 2019): words by white space, punctuation and Han, each
//! the longest tokens that fit from left to right. Tokens that begin a word carry U+2581, which
//! llama.cpp's converter writes instead of `##` on the others.

use regex::Regex;
use unicode_normalization::char::decompose_canonical;

use super::vocabulary::{ESCAPED_SPACE, Vocabulary};

#[derive(Debug)]
pub(super) struct WordPiece {
    lowercase: bool,
    strip_accents: bool,
    /// What is no part of any text.
    invisible: Regex,
    accents: Regex,
    /// A word: one character of punctuation or Han, or a run of others.
    word: Regex,
    unknown: u32,
}

/// Han, as BERT knows it: `tokenize_chinese_chars`, with the gap before U+2B920 that the
/// `tokenizers` library has.
const HAN: &str = r"\u{4E00}-\u{9FFF}\u{3400}-\u{4DBF}\u{20000}-\u{2A6DF}\u{2A700}-\u{2B81F}\u{2B920}-\u{2CEAF}\u{F900}-\u{FAFF}\u{2F800}-\u{2FA1F}";

impl WordPiece {
    /// `unknown` stands for a word that can't be put together.
    ///
    /// # Errors
    /// A vocabulary without a token for the unknown.
    pub(super) fn new(unknown: Option<u32>, lowercase: bool, strip_accents: bool) -> Result<Self, String> {
        let single = format!(r"\p{{P}}$+<=>^`|~{HAN}");
        let pattern = |pattern: &str| Regex::new(pattern).map_err(|error| error.to_string());
        Ok(Self {
            lowercase,
            strip_accents,
            invisible: pattern(r"[[\p{Cc}\p{Cf}\p{Co}\x00\u{FFFD}]--\s]+")?,
            accents: pattern(r"\p{M}+")?,
            word: pattern(&format!(r"[{single}]|[^\s{single}]+"))?,
            unknown: unknown.ok_or("names no token for unknown words (tokenizer.ggml.unknown_token_id)")?,
        })
    }

    /// Appends the tokens of a text in which no special tokens are.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, tokens: &mut Vec<u32>) {
        let text = self.normalize(text);
        for word in self.word.find_iter(&text) {
            let word = format!("{ESCAPED_SPACE}{}", word.as_str());
            let before = tokens.len();
            if !longest_first(vocabulary, &word, tokens) {
                tokens.truncate(before);
                tokens.push(self.unknown);
            }
        }
    }

    fn normalize(&self, text: &str) -> String {
        let mut text = text.to_string();
        if self.strip_accents {
            text = text.chars().map(base).collect();
        }
        text = self.invisible.replace_all(&text, "").into_owned();
        if self.strip_accents {
            text = self.accents.replace_all(&text, "").into_owned();
        }
        if self.lowercase {
            text = text.chars().map(|character| character.to_lowercase().next().unwrap_or(character)).collect();
        }
        text
    }
}

/// A character without what its canonical decomposition appends, as llama.cpp decomposes.
fn base(character: char) -> char {
    let mut first = None;
    decompose_canonical(character, |part| {
        first.get_or_insert(part);
    });
    first.unwrap_or(character)
}

/// Whether a word consists of tokens, the longest first; they are appended.
fn longest_first(vocabulary: &Vocabulary, word: &str, tokens: &mut Vec<u32>) -> bool {
    let mut rest = word;
    while !rest.is_empty() {
        let ends = rest.char_indices().map(|(index, character)| index + character.len_utf8());
        let ends: Vec<usize> = ends.take_while(|end| *end <= vocabulary.longest()).collect();
        let found = ends.iter().rev().find_map(|end| {
            let (token, rest) = rest.split_at_checked(*end)?;
            Some((vocabulary.id(token)?, rest))
        });
        let Some((token, after)) = found else {
            return false;
        };
        tokens.push(token);
        rest = after;
    }
    true
}
