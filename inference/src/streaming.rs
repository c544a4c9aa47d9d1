//! From tokens to text, piece by piece: no piece splits a character or shows part of a stop string.

use codriver_chat::markers::{find_first, partial_suffix};
use codriver_formats::tokenizer::ModelTokenizer;

use crate::ModelError;

/// Turns tokens into text as they come.
pub(crate) struct Detokenizer<'a> {
    tokenizer: &'a ModelTokenizer,
    tokens: Vec<u32>,
    /// `tokens[context..shown]` were shown by the last piece. They are decoded again with the
    /// new ones, since how a token reads can depend on the one before it.
    context: usize,
    shown: usize,
}

/// A character is at most four bytes, and a token at least one.
const LONGEST_PARTIAL: usize = 3;

impl<'a> Detokenizer<'a> {
    pub(crate) fn new(tokenizer: &'a ModelTokenizer) -> Self {
        Self { tokenizer, tokens: Vec::new(), context: 0, shown: 0 }
    }

    /// The text that `token` completes; empty where it ends within a character.
    pub(crate) fn push(&mut self, token: u32) -> Result<String, ModelError> {
        self.tokens.push(token);
        let piece = self.unshown(self.tokens.len())?;
        if !piece.ends_with(char::REPLACEMENT_CHARACTER) {
            self.advance(self.tokens.len());
            return Ok(piece);
        }
        // More undecodable tokens than a character has bytes: all but the last few never will
        // be one, so they are shown as what they are.
        if self.tokens.len() - self.shown > 2 * LONGEST_PARTIAL {
            let sure = self.tokens.len() - LONGEST_PARTIAL;
            let piece = self.unshown(sure)?;
            self.advance(sure);
            return Ok(piece);
        }
        Ok(String::new())
    }

    /// What is left when no more tokens come.
    pub(crate) fn finish(&mut self) -> Result<String, ModelError> {
        let piece = self.unshown(self.tokens.len())?;
        self.advance(self.tokens.len());
        Ok(piece)
    }

    fn advance(&mut self, shown: usize) {
        self.context = self.shown;
        self.shown = shown;
    }

    fn unshown(&self, end: usize) -> Result<String, ModelError> {
        let before = self.decode(self.context, self.shown)?;
        let all = self.decode(self.context, end)?;
        Ok(all.get(before.len()..).unwrap_or_default().to_string())
    }

    fn decode(&self, start: usize, end: usize) -> Result<String, ModelError> {
        let tokens = self.tokens.get(start..end).unwrap_or_default();
        self.tokenizer.decode(tokens, false).map_err(|error| ModelError::Tokenizer(error.to_string()))
    }
}

/// Ends a stream of text at the first stop string, which it never shows any of.
pub(crate) struct StopStrings {
    stops: Vec<String>,
    held: String,
}

impl StopStrings {
    pub(crate) fn new(stops: &[String]) -> Self {
        Self { stops: stops.iter().filter(|stop| !stop.is_empty()).cloned().collect(), held: String::new() }
    }

    /// The text that can be shown by now, and whether a stop string has come.
    pub(crate) fn push(&mut self, piece: &str) -> (String, bool) {
        self.held.push_str(piece);
        let stops = self.stops.iter().map(String::as_str);
        if let Some((position, _)) = find_first(&self.held, stops.clone()) {
            self.held.truncate(position);
            return (std::mem::take(&mut self.held), true);
        }
        let sure = self.held.len() - partial_suffix(&self.held, stops);
        (self.held.drain(..sure).collect(), false)
    }

    /// What was held back in case it became a stop string.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}
