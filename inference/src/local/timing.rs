//! A model's speed, apart from what it says.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{CompletionOptions, Flow, LocalModel};
use crate::{Cancellation, ModelError, SamplingParameters};

/// How long an answer takes.
pub(crate) struct Answering {
    /// Until its first token.
    pub(crate) first: Duration,
    /// From the first token to the last one.
    pub(crate) rest: Duration,
    pub(crate) tokens: Vec<u32>,
}

impl LocalModel {
    /// How long answering a prompt takes with `count` tokens, of which there is at least one. Neither
    /// the end of the answer nor guesses cut it short.
    pub(crate) fn time_answer(
        &self,
        prompt: &[u32],
        count: usize,
        cancellation: &Cancellation,
    ) -> Result<Answering, ModelError> {
        let sampling = SamplingParameters { max_tokens: count, ..SamplingParameters::default() };
        let options = CompletionOptions { speculate: false, ignore_end: true, ..CompletionOptions::default() };
        let started = Instant::now();
        let mut first = None;
        let mut tokens = Vec::with_capacity(count);
        self.complete_with(prompt, &sampling, &options, cancellation, &mut |token| {
            first.get_or_insert_with(|| started.elapsed());
            tokens.push(token);
            Ok(Flow::Continue)
        })?;
        let first = first.unwrap_or_default();
        Ok(Answering { first, rest: started.elapsed() - first, tokens })
    }

    /// Tokens at random. Another seed is another prompt: nothing of it has been read before.
    pub(crate) fn random_tokens(&self, count: usize, seed: u64) -> Vec<u32> {
        let vocabulary = self.vocabulary_size.max(1);
        let mut random = StdRng::seed_from_u64(seed << 32 | count as u64);
        (0..count).map(|_| random.random_range(0..vocabulary as u32)).collect()
    }
}
