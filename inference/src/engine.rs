//! A decoder and what it has read: the part of a local model that computes.

use burn::tensor::Device;

use crate::models::decoder::Decoder;
use crate::models::rotary::Regime;
use crate::network::Network;
use crate::sampling::check_scores;
use crate::{Cancellation, ModelError};

/// Runs one sequence at a time. What consecutive prompts share is read once.
pub(crate) struct Engine {
    network: Network,
    /// The tokens whose keys and values the cache holds, and how their positions were rotated.
    read: Vec<(u32, Regime)>,
}

/// Prompts are read in pieces of this many tokens: it bounds the attention scores held at once,
/// and how long an interrupt waits.
pub(crate) const PREFILL_TOKENS: usize = 256;

impl Engine {
    pub(crate) fn new(decoder: Decoder, device: Device) -> Self {
        Self { network: Network::new(decoder, device), read: Vec::new() }
    }

    /// Reads a prompt, of which there is at least one token, and returns the scores of the token
    /// that follows it. `capacity` is how many tokens the sequence may reach.
    pub(crate) fn prefill(
        &mut self,
        prompt: &[u32],
        capacity: usize,
        cancellation: &Cancellation,
    ) -> Result<Vec<f32>, ModelError> {
        let regime = self.network.config().regime(prompt.len());
        let same = |(read, token): &(&(u32, Regime), &u32)| **read == (**token, regime);
        let shared = self.read.iter().zip(prompt).take_while(same).count();
        // The last token is always read again: its scores are what is asked for.
        let shared = shared.min(prompt.len().saturating_sub(1));
        self.read.truncate(shared);
        self.network.rewind(shared, prompt.len(), capacity);
        let mut logits = Vec::new();
        for piece in prompt.get(shared..).unwrap_or_default().chunks(PREFILL_TOKENS) {
            if cancellation.is_cancelled() {
                return Err(ModelError::Cancelled);
            }
            logits = self.read(piece, regime)?;
        }
        Ok(logits)
    }

    /// The number of tokens the model knows.
    pub(crate) fn vocabulary(&self) -> usize {
        self.network.config().vocab_size
    }

    /// Reads more tokens, of which there is at least one, and returns the scores of the next.
    pub(crate) fn step(&mut self, tokens: &[u32], cancellation: &Cancellation) -> Result<Vec<f32>, ModelError> {
        let length = self.read.len() + tokens.len();
        let regime = self.network.config().regime(length);
        let outdated = |(_, read): &(u32, Regime)| *read != regime;
        // A sequence that becomes long has other positions from its beginning on. A stretched base
        // changes with every token; there, as in the reference, what is read stays as it was.
        if regime == Regime::Long && self.read.iter().any(outdated) {
            let read = self.read.iter().map(|(read, _)| *read);
            let whole: Vec<u32> = read.chain(tokens.iter().copied()).collect();
            return self.prefill(&whole, length, cancellation);
        }
        let mut logits = Vec::new();
        for piece in tokens.chunks(PREFILL_TOKENS) {
            logits = self.read(piece, regime)?;
        }
        Ok(logits)
    }

    /// The scores after each token of a sequence on its own.
    pub(crate) fn logits(&self, tokens: &[u32]) -> Result<Vec<Vec<f32>>, ModelError> {
        let scores = self.network.scores(tokens)?;
        Ok(scores.chunks(self.network.config().vocab_size).map(<[f32]>::to_vec).collect())
    }

    fn read(&mut self, tokens: &[u32], regime: Regime) -> Result<Vec<f32>, ModelError> {
        let scores = self.network.read(tokens, regime);
        let checked = scores.and_then(|scores| check_scores(&scores).map(|()| scores));
        match &checked {
            Ok(_) => self.read.extend(tokens.iter().map(|token| (*token, regime))),
            Err(_) => {
                self.read.clear();
                self.network.forget();
            }
        }
        checked
    }
}
