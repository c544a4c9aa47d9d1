//! A tokenizer of our own, from a vocabulary and the name of an algorithm.

use super::SpecialTokens;
use super::bpe::Bpe;
use super::partition::{Fragment, Partition};
use super::sentence_piece::SentencePiece;
use super::unigram::Unigram;
use super::vocabulary::{SPECIAL, Vocabulary};
use super::word_piece::WordPiece;

#[derive(Debug)]
pub(super) struct Rebuilt {
    vocabulary: Vocabulary,
    algorithm: Algorithm,
    partition: Partition,
    /// Tokens put before and after a text.
    frame: (Option<u32>, Option<u32>),
    add_space_prefix: bool,
}

#[derive(Debug)]
pub(super) enum Algorithm {
    Bpe(Bpe),
    SentencePiece(SentencePiece),
    WordPiece(WordPiece),
    Unigram(Unigram),
}

impl Rebuilt {
    pub(super) fn new(vocabulary: Vocabulary, algorithm: Algorithm, special: &SpecialTokens) -> Self {
        let frame = match algorithm {
            Algorithm::WordPiece(_) => (special.bos, special.sep),
            _ => (special.bos.filter(|_| special.add_bos), special.eos.filter(|_| special.add_eos)),
        };
        let partition = Partition::new(&vocabulary);
        Self { vocabulary, algorithm, partition, frame, add_space_prefix: special.add_space_prefix }
    }

    pub(super) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// `framed` adds the tokens before and after a text, `control` reads control tokens that are
    /// spelled out in it.
    pub(super) fn encode(&self, text: &str, framed: bool, control: bool) -> Vec<u32> {
        let (before, after) = if framed { self.frame } else { (None, None) };
        let mut tokens = Vec::from_iter(before);
        let mut after_special = true;
        for fragment in self.partition.fragments(text, control) {
            match fragment {
                Fragment::Text(text) => {
                    self.encode_text(text, after_special, &mut tokens);
                    after_special = false;
                }
                Fragment::Token(token) => {
                    tokens.push(token);
                    after_special = true;
                }
            }
        }
        tokens.extend(after);
        tokens
    }

    fn encode_text(&self, text: &str, after_special: bool, tokens: &mut Vec<u32>) {
        match &self.algorithm {
            Algorithm::Bpe(bpe) => bpe.encode(&self.vocabulary, text, tokens),
            Algorithm::SentencePiece(sentence_piece) => {
                let prefixed = self.add_space_prefix && after_special;
                sentence_piece.encode(&self.vocabulary, text, prefixed, tokens);
            }
            Algorithm::WordPiece(word_piece) => word_piece.encode(&self.vocabulary, text, tokens),
            Algorithm::Unigram(unigram) => unigram.encode(&self.vocabulary, text, tokens),
        }
    }

    /// The text of tokens; what is no UTF-8 becomes U+FFFD, as does a character's beginning.
    pub(super) fn decode(&self, tokens: &[u32], skip_special: bool) -> String {
        let shown = tokens.iter().filter(|token| !(skip_special && self.is_special(**token)));
        let pieces = shown.filter_map(|token| self.vocabulary.bytes(*token));
        let mut bytes = Vec::with_capacity(4 * tokens.len());
        for (index, piece) in pieces.enumerate() {
            let piece = match piece.strip_prefix(b" ") {
                Some(rest) if index == 0 && self.strips_first_space() => rest,
                _ => &piece,
            };
            bytes.extend_from_slice(piece);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(super) fn is_special(&self, token: u32) -> bool {
        self.vocabulary.get(token).is_some_and(|token| token.kind.is_any_of(SPECIAL))
    }

    /// BERT's words all begin with a space; the first one's is not in the text.
    fn strips_first_space(&self) -> bool {
        self.add_space_prefix || matches!(self.algorithm, Algorithm::WordPiece(_))
    }
}
