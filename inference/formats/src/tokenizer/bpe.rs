//! Byte-pair encoding by ranked merges, as GPT-2 introduced it (Sennrich et al. 2016, Radford et
//! al. 2019): a text is cut into words, and within a word neighbours merge, lowest rank first.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::byte_level;
use super::merge::{NO_TOKEN, Piece, Pieces};
use super::pretokenizer::{PreTokenizer, Recipe};
use super::vocabulary::{ESCAPED_SPACE, Spelling, Vocabulary};

#[derive(Debug)]
pub(super) struct Bpe {
    pre_tokenizer: PreTokenizer,
    recipe: Recipe,
    /// Two pieces' ids → the merge's rank and what it makes.
    merges: HashMap<(u32, u32), (u32, u32)>,
    /// Where a character for each byte is how tokens spell: the bytes' pieces.
    bytes: Vec<u32>,
    /// What merges make and consist of that are no tokens; ids beyond the vocabulary's.
    intermediates: HashMap<String, u32>,
    /// The tokens that bytes of what is no token fall back on; most have none.
    fallback: Vec<Option<u32>>,
}

impl Bpe {
    /// `merges` are pairs written with a space between, best first.
    ///
    /// # Errors
    /// A merge that is no pair, or one of pieces that no text can consist of.
    pub(super) fn new(vocabulary: &Vocabulary, merges: &[String], recipe: Recipe) -> Result<Self, String> {
        let mut pieces = Interned { vocabulary, intermediates: HashMap::new() };
        let pairs = merges.iter().map(|merge| {
            let parts = merge.char_indices().skip(1).find(|(_, character)| *character == ' ');
            let parts = parts.and_then(|(index, _)| Some((merge.get(..index)?, merge.get(index + 1..)?)));
            let parts = parts.filter(|(_, right)| !right.is_empty());
            parts.ok_or_else(|| format!("has the merge {merge:?}, which is no pair of tokens"))
        });
        let pairs = pairs.collect::<Result<Vec<_>, String>>()?;
        for (left, right) in &pairs {
            pieces.intern(&[*left, right].concat())?;
        }
        let mut ranked = HashMap::with_capacity(pairs.len());
        for (rank, (left, right)) in (0..).zip(&pairs) {
            let pair = (pieces.known(left)?, pieces.known(right)?);
            let merged = pieces.known(&[*left, right].concat())?;
            if let Entry::Vacant(entry) = ranked.entry(pair) {
                entry.insert((rank, merged));
            }
        }
        let bytes = (0..=u8::MAX).map(|byte| pieces.find(byte_level::character(byte).encode_utf8(&mut [0; 4])));
        let bytes = bytes.map(|id| id.unwrap_or(NO_TOKEN)).collect();
        let fallback = (0..=u8::MAX).map(|byte| match vocabulary.spelling() {
            // llama.cpp looks the bytes of the spelling up, of which only ASCII can be tokens.
            Spelling::Bytes if byte.is_ascii_graphic() => vocabulary.id(char::from(byte).encode_utf8(&mut [0; 4])),
            Spelling::Bytes => None,
            Spelling::EscapedSpaces => vocabulary.byte(byte),
        });
        Ok(Self {
            pre_tokenizer: PreTokenizer::new(recipe.stages)?,
            recipe,
            merges: ranked,
            bytes,
            fallback: fallback.collect(),
            intermediates: pieces.intermediates,
        })
    }

    /// Appends the tokens of a text in which no special tokens are.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, tokens: &mut Vec<u32>) {
        let escaped;
        let text = match vocabulary.spelling() {
            Spelling::Bytes => text,
            Spelling::EscapedSpaces => {
                escaped = text.replace(' ', ESCAPED_SPACE);
                &escaped
            }
        };
        let mut pieces = Pieces::default();
        for word in self.pre_tokenizer.words(text) {
            match self.whole(vocabulary, word) {
                Some(token) => tokens.push(token),
                None => self.encode_word(vocabulary, word, &mut pieces, tokens),
            }
        }
    }

    /// The token that a word is without merging.
    fn whole(&self, vocabulary: &Vocabulary, word: &str) -> Option<u32> {
        if self.recipe.whole_words_first {
            return match vocabulary.spelling() {
                Spelling::Bytes => vocabulary.id(&word.bytes().map(byte_level::character).collect::<String>()),
                Spelling::EscapedSpaces => vocabulary.id(word),
            };
        }
        let line_breaks = self.recipe.whole_line_breaks && word.bytes().all(|byte| byte == b'\n');
        line_breaks.then(|| vocabulary.id(word)).flatten()
    }

    fn encode_word(&self, vocabulary: &Vocabulary, word: &str, pieces: &mut Pieces, tokens: &mut Vec<u32>) {
        pieces.clear();
        match vocabulary.spelling() {
            Spelling::Bytes => {
                for byte in word.bytes() {
                    pieces.push(1, self.bytes.get(usize::from(byte)).copied().unwrap_or(NO_TOKEN));
                }
            }
            Spelling::EscapedSpaces => {
                let mut buffer = [0; 4];
                for character in word.chars() {
                    let text: &str = character.encode_utf8(&mut buffer);
                    let id = vocabulary.id(text).or_else(|| self.intermediates.get(text).copied());
                    pieces.push(text.len(), id.unwrap_or(NO_TOKEN));
                }
            }
        }
        pieces.merge(|left, right| {
            let (rank, merged) = self.merges.get(&(left.id, right.id))?;
            Some((Reverse(*rank), *merged))
        });
        for piece in pieces.iter() {
            self.emit(vocabulary, word, piece, tokens);
        }
    }

    fn emit(&self, vocabulary: &Vocabulary, word: &str, piece: &Piece, tokens: &mut Vec<u32>) {
        if vocabulary.get(piece.id).is_some() {
            tokens.push(piece.id);
            return;
        }
        let bytes = word.as_bytes().get(piece.start..piece.end).unwrap_or_default();
        let fallback = |byte: &u8| self.fallback.get(usize::from(*byte)).copied().flatten();
        tokens.extend(bytes.iter().filter_map(fallback));
    }
}

/// Ids for texts, tokens or not.
struct Interned<'v> {
    vocabulary: &'v Vocabulary,
    intermediates: HashMap<String, u32>,
}

impl Interned<'_> {
    fn find(&self, text: &str) -> Option<u32> {
        self.vocabulary.id(text).or_else(|| self.intermediates.get(text).copied())
    }

    fn intern(&mut self, text: &str) -> Result<(), String> {
        if self.find(text).is_none() {
            let id = u32::try_from(self.vocabulary.len() + self.intermediates.len());
            let id = id.map_err(|_| "has more tokens and merges than can be numbered".to_string())?;
            self.intermediates.insert(text.to_string(), id);
        }
        Ok(())
    }

    /// A merge's part: a token, or what another merge makes.
    fn known(&self, text: &str) -> Result<u32, String> {
        self.find(text).ok_or_else(|| format!("merges {text:?}, which is no token and which no merge makes"))
    }
}
