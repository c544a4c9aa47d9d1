//! Follows one text through a grammar, token by token.

use std::sync::Arc;

use llguidance::Matcher;
use llguidance::api::StopReason;
use llguidance::toktrie::SimpleVob;

use crate::grammar::{first_line, is_limit};
use crate::{Grammar, GrammarError, Vocabulary};

/// A text on its way through a grammar. Costs a clone of its state, not of what was compiled.
#[derive(Clone)]
pub struct Guide {
    vocabulary: Arc<Vocabulary>,
    matcher: Matcher,
    /// Whether nothing was written yet, at the beginning of an answer.
    at_beginning: bool,
}

impl Guide {
    /// Compiles a grammar for a whole answer.
    pub fn new(vocabulary: &Arc<Vocabulary>, grammar: &Grammar) -> Result<Self, GrammarError> {
        let mut guide = Self { at_beginning: true, ..Self::within(vocabulary, grammar)? };
        if vocabulary.strips_leading_space() {
            let begins_with_space = guide.is_admitted(&vocabulary.tokens_of(b" "))?;
            guide.matcher = grammar.clone().after_space(begins_with_space).compile(vocabulary)?;
        }
        Ok(guide)
    }

    /// Compiles a grammar for what follows other text.
    pub(crate) fn within(vocabulary: &Arc<Vocabulary>, grammar: &Grammar) -> Result<Self, GrammarError> {
        let matcher = grammar.compile(vocabulary)?;
        Ok(Self { vocabulary: vocabulary.clone(), matcher, at_beginning: false })
    }

    /// The tokens that may come next: those that lead on to a text the grammar admits, and the
    /// ones that end an answer if the text is whole. There is one at least.
    pub fn mask(&mut self) -> Result<TokenMask, GrammarError> {
        let mut mask = self.matcher.compute_mask().map_err(|error| engine_error(&error.to_string()))?;
        if self.at_beginning {
            for token in self.vocabulary.not_first() {
                mask.disallow_token(*token);
            }
            if mask.is_zero() {
                return Err(GrammarError::DeadEnd);
            }
        }
        Ok(TokenMask(mask))
    }

    /// Moves on by a token that the mask admits.
    pub fn commit(&mut self, token: u32) -> Result<(), GrammarError> {
        if self.vocabulary.bytes(token).is_empty() || self.matcher.is_stopped() {
            return Err(GrammarError::Rejected { token });
        }
        if !self.is_admitted(&[token])? {
            return Err(GrammarError::Rejected { token });
        }
        self.at_beginning = false;
        self.matcher.consume_token(token).map_err(|error| engine_error(&error.to_string()))
    }

    /// Moves on by text that was written already; false where the grammar does not admit it, and
    /// nothing has moved.
    pub(crate) fn commit_text(&mut self, text: &[u8]) -> Result<bool, GrammarError> {
        let tokens = self.vocabulary.tokens_of(text);
        let spelled: usize = tokens.iter().map(|token| self.vocabulary.bytes(*token).len()).sum();
        if spelled != text.len() || !self.is_admitted(&tokens)? {
            return Ok(false);
        }
        self.at_beginning = false;
        self.matcher.consume_tokens(&tokens).map_err(|error| engine_error(&error.to_string()))?;
        Ok(true)
    }

    fn is_admitted(&mut self, tokens: &[u32]) -> Result<bool, GrammarError> {
        let admitted = self.matcher.validate_tokens(tokens).map_err(|error| engine_error(&error.to_string()))?;
        Ok(admitted == tokens.len())
    }

    /// The tokens that must come next, in the tokenizer's own spelling; the guide has moved on by
    /// them. None where the tokenizer cannot encode text in the middle of another.
    pub fn forced(&mut self) -> Vec<u32> {
        if self.matcher.is_stopped() {
            return Vec::new();
        }
        let tokens = self.matcher.consume_ff_tokens();
        self.at_beginning &= tokens.is_empty();
        tokens
    }

    /// Whether the text so far is one the grammar admits.
    pub fn is_accepting(&mut self) -> bool {
        // A text that can't go on is whole; the matcher answers only before it knows.
        self.is_stopped() || self.matcher.is_accepting().unwrap_or(false)
    }

    /// Whether the text is whole and nothing can follow.
    pub fn is_stopped(&self) -> bool {
        matches!(self.matcher.stop_reason(), StopReason::NoExtension | StopReason::EndOfSentence)
    }
}

/// A set of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenMask(SimpleVob);

impl TokenMask {
    pub fn allows(&self, token: u32) -> bool {
        (token as usize) < self.0.len() && self.0.is_allowed(token)
    }

    /// The tokens, ascending.
    pub fn tokens(&self) -> Vec<u32> {
        (0_u32..).take(self.0.len()).filter(|token| self.0.is_allowed(*token)).collect()
    }

    /// Sets the scores (logits) of all other tokens to minus infinity.
    pub fn apply(&self, logits: &mut [f32]) {
        let known = self.0.len().min(logits.len());
        let (scores, padding) = logits.split_at_mut(known);
        padding.fill(f32::NEG_INFINITY);
        for (scores, bits) in scores.chunks_mut(u32::BITS as usize).zip(self.0.as_slice()) {
            if *bits == u32::MAX {
                continue;
            }
            for (bit, score) in scores.iter_mut().enumerate() {
                if bits & (1 << bit) == 0 {
                    *score = f32::NEG_INFINITY;
                }
            }
        }
    }
}

fn engine_error(message: &str) -> GrammarError {
    let line = first_line(message);
    if line.contains("NoExtensionBias") {
        GrammarError::DeadEnd
    } else if is_limit(&line) {
        GrammarError::TooComplex(line)
    } else {
        GrammarError::Internal(line)
    }
}
