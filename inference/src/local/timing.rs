//! A model's speed, apart from what it says.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::LocalModel;
use crate::{Cancellation, ModelError};

impl LocalModel {
    /// How long reading a prompt of `length` random tokens takes. Another seed is another prompt:
    /// nothing of it has been read before.
    pub(crate) fn time_prompt(
        &self,
        length: usize,
        seed: u64,
        cancellation: &Cancellation,
    ) -> Result<Duration, ModelError> {
        let prompt = self.random_tokens(length, seed);
        let mut engine = self.engine();
        let started = Instant::now();
        engine.prefill(&prompt, length, cancellation)?;
        Ok(started.elapsed())
    }

    /// How long writing `count` tokens takes after a prompt of one. What is chosen is not looked
    /// at, so that no end of the answer cuts it short.
    pub(crate) fn time_generation(
        &self,
        count: usize,
        seed: u64,
        cancellation: &Cancellation,
    ) -> Result<Duration, ModelError> {
        let tokens = self.random_tokens(count + 1, seed);
        let Some((first, rest)) = tokens.split_first() else { return Ok(Duration::ZERO) };
        let mut engine = self.engine();
        engine.prefill(&[*first], count + 1, cancellation)?;
        let started = Instant::now();
        for token in rest {
            if cancellation.is_cancelled() {
                return Err(ModelError::Cancelled);
            }
            engine.step(std::slice::from_ref(token), cancellation)?;
        }
        Ok(started.elapsed())
    }

    fn random_tokens(&self, count: usize, seed: u64) -> Vec<u32> {
        let vocabulary = self.engine().vocabulary().max(1);
        let mut random = StdRng::seed_from_u64(seed << 32 | count as u64);
        (0..count).map(|_| random.random_range(0..vocabulary as u32)).collect()
    }
}
