//! How long steps take, and what follows from it.

use std::time::Duration;

/// Measures steps. It decides how much is read at once, never what comes of it.
pub(super) struct Pace {
    /// Tokens that a step can read.
    most: usize,
    /// Seconds for each token of a prompt.
    prompt: Option<f64>,
    /// Seconds for a step of one token.
    one: Option<f64>,
    /// Seconds for each token more in a step of few.
    more: Option<f64>,
}

/// Seconds that a piece of a prompt may take while others write: each waits so long for its next token.
const BESIDE: f64 = 0.2;
/// Seconds that a piece may take otherwise: so long does a request that comes then wait.
const ALONE: f64 = 1.5;
/// Tokens that a piece has at least.
const LEAST: usize = 16;
/// What a new measurement counts for.
const WEIGHT: f64 = 0.2;
/// Tokens in a step that count as few.
const FEW: usize = 8;
/// What a token more takes in a step of few, as a share of the first, before it was measured.
const UNKNOWN: f64 = 0.15;

impl Pace {
    pub(super) fn new(most: usize) -> Self {
        Self { most, prompt: None, one: None, more: None }
    }

    pub(super) fn learn(&mut self, tokens: usize, prompts: bool, took: Duration) {
        let took = took.as_secs_f64();
        if prompts && tokens >= LEAST {
            average(&mut self.prompt, took / tokens as f64);
        } else if !prompts && tokens == 1 {
            average(&mut self.one, took);
        } else if !prompts
            && tokens <= FEW
            && let Some(one) = self.one
        {
            average(&mut self.more, ((took - one) / (tokens - 1) as f64).max(0.0));
        }
    }

    /// Tokens of prompts to read in a step, in which others write or not.
    pub(super) fn piece(&self, beside: bool) -> usize {
        let seconds = if beside { BESIDE } else { ALONE };
        let fits = self.prompt.map_or(if beside { 4 * LEAST } else { self.most }, |token| (seconds / token) as usize);
        fits.max(LEAST).min(self.most)
    }

    /// How many guesses are worth checking that are right so often, `most` at most: the time that
    /// the right ones save must be more than all of them take.
    pub(super) fn guesses(&self, rate: f64, most: usize) -> usize {
        let more = match (self.one, self.more) {
            (Some(one), Some(more)) if one > 0.0 => more / one,
            _ => UNKNOWN,
        };
        let gain = |count: usize| (1..=count).map(|guess| rate.powi(guess as i32) - more).sum::<f64>();
        (0..=most).max_by(|one, other| gain(*one).total_cmp(&gain(*other))).unwrap_or(0)
    }
}

fn average(value: &mut Option<f64>, measured: f64) {
    *value = Some(value.map_or(measured, |value| value + WEIGHT * (measured - value)));
}
