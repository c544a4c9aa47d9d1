//! From scores to the next token.

use std::collections::HashSet;

use codriver_grammar::TokenMask;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{ModelError, SamplingParameters};

/// Chooses tokens. The same seed and scores give the same choices on every machine.
pub struct Sampler {
    parameters: SamplingParameters,
    random: ChaCha8Rng,
    /// Tokens the repetition penalty applies to: the prompt's and the answer's.
    seen: HashSet<u32>,
}

impl Sampler {
    /// A sampler for one answer to `prompt`.
    pub fn new(parameters: &SamplingParameters, prompt: &[u32]) -> Result<Self, ModelError> {
        check(parameters)?;
        Ok(Self {
            parameters: parameters.clone(),
            random: ChaCha8Rng::seed_from_u64(parameters.seed),
            seen: prompt.iter().copied().collect(),
        })
    }

    /// The next token, by its scores (logits), which are used up.
    pub fn choose(&mut self, logits: &mut [f32]) -> Result<u32, ModelError> {
        self.choose_among(logits, None)
    }

    /// The next token of those that `allowed` admits.
    pub fn choose_among(&mut self, logits: &mut [f32], allowed: Option<&TokenMask>) -> Result<u32, ModelError> {
        check_scores(logits)?;
        if let Some(allowed) = allowed {
            allowed.apply(logits);
        }
        self.penalize_repetition(logits);
        let token = if self.parameters.temperature == 0.0 {
            greedy(logits)
        } else {
            self.draw(logits)
        };
        let token = token.ok_or_else(|| numeric("no token has a score"))?;
        self.seen.insert(token);
        Ok(token)
    }

    /// A token that came without being chosen: the repetition penalty applies to it too.
    pub fn note(&mut self, token: u32) {
        self.seen.insert(token);
    }

    fn penalize_repetition(&self, logits: &mut [f32]) {
        let penalty = self.parameters.repetition_penalty;
        if penalty == 1.0 {
            return;
        }
        for token in &self.seen {
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit = if *logit < 0.0 {
                    *logit * penalty
                } else {
                    *logit / penalty
                };
            }
        }
    }

    fn draw(&mut self, logits: &[f32]) -> Option<u32> {
        let parameters = &self.parameters;
        let mut ranked = Ranked::new(logits, parameters.top_k);
        let best = ranked.get(0)?.1;
        let weigh = |logit: f32| f64::from((logit - best) / parameters.temperature).exp();
        let all: f64 = ranked.candidates.iter().map(|(_, logit)| weigh(*logit)).sum();
        // Those up to and including the one that reaches a share of `top_p`. The best token's weight is
        // 1, so min-p is a bound on the weights themselves.
        let (top_p, min_p) = (f64::from(parameters.top_p), f64::from(parameters.min_p));
        let (mut count, mut total) = (0, 0.0);
        if top_p >= 1.0 && min_p <= 0.0 {
            (count, total) = (ranked.candidates.len(), all);
        } else {
            while let Some((_, logit)) = ranked.get(count) {
                let weight = weigh(logit);
                if count > 0 && (weight < min_p || (top_p < 1.0 && total >= top_p * all)) {
                    break;
                }
                count += 1;
                total += weight;
            }
        }
        let mut point = self.random.random::<f64>() * total;
        for rank in 0..count {
            let (token, logit) = ranked.get(rank)?;
            point -= weigh(logit);
            if point < 0.0 {
                return Some(token);
            }
        }
        ranked.get(count.checked_sub(1)?).map(|(token, _)| token)
    }
}

/// Tokens by their scores, best first: sorted only as far as they are asked for, since few draws go
/// beyond the first hundreds of a vocabulary.
struct Ranked {
    candidates: Vec<(u32, f32)>,
    /// How many of them are the best ones, in order.
    sorted: usize,
}

impl Ranked {
    /// Those that have a score; the best `most` of them, where that is not 0.
    fn new(logits: &[f32], most: usize) -> Self {
        let scored = (0u32..).zip(logits).filter(|(_, logit)| **logit > f32::NEG_INFINITY);
        let mut ranked = Self { candidates: scored.map(|(token, logit)| (token, *logit)).collect(), sorted: 0 };
        if most > 0 && most < ranked.candidates.len() {
            ranked.sort(most);
            ranked.candidates.truncate(most);
        }
        ranked
    }

    fn get(&mut self, rank: usize) -> Option<(u32, f32)> {
        if rank >= self.sorted && self.sorted < self.candidates.len() {
            self.sort((8 * self.sorted).max(256));
        }
        self.candidates.get(rank).copied()
    }

    /// Puts the best `count` in order.
    fn sort(&mut self, count: usize) {
        // Ties go to the lower token, so that the order never depends on the sort.
        let by_score = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let sorted = std::mem::replace(&mut self.sorted, count.min(self.candidates.len()));
        let Some(rest) = self.candidates.get_mut(sorted..) else { return };
        let more = (self.sorted - sorted).min(rest.len());
        if more > 0 && more < rest.len() {
            rest.select_nth_unstable_by(more - 1, by_score);
        }
        if let Some(more) = rest.get_mut(..more) {
            more.sort_unstable_by(by_score);
        }
    }
}

/// Refuses scores that a sound model doesn't compute.
pub(crate) fn check_scores(logits: &[f32]) -> Result<(), ModelError> {
    // -inf is how a mask says "never"; NaN and +inf are how broken weights look.
    if logits.iter().any(|logit| logit.is_nan() || *logit == f32::INFINITY) {
        return Err(numeric("the model computed a score that is not a number; its weights may be corrupt"));
    }
    Ok(())
}

/// The best token; of equals the first.
fn greedy(logits: &[f32]) -> Option<u32> {
    let scored = (0u32..)
        .zip(logits)
        .filter(|(_, logit)| **logit > f32::NEG_INFINITY);
    scored
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .map(|(token, _)| token)
}

fn check(parameters: &SamplingParameters) -> Result<(), ModelError> {
    let ranges = [
        ("temperature", parameters.temperature, 0.0..=100.0),
        ("top_p", parameters.top_p, 0.0..=1.0),
        ("min_p", parameters.min_p, 0.0..=1.0),
        (
            "repetition_penalty",
            parameters.repetition_penalty,
            0.01..=100.0,
        ),
    ];
    for (name, value, range) in ranges {
        if !range.contains(&value) {
            let (low, high) = range.into_inner();
            return Err(numeric(&format!(
                "{name} is {value}; it must be from {low} to {high}"
            )));
        }
    }
    Ok(())
}

fn numeric(reason: &str) -> ModelError {
    ModelError::Numeric(reason.to_string())
}
