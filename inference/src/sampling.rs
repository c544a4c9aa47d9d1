//! From scores to the next token.

#[cfg(test)]
mod tests;

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
            match self.draw(Ranked::new(logits)) {
                Drawn::Token(token) => Some(token),
                Drawn::Nothing | Drawn::Unknown => None,
            }
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
                *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
            }
        }
    }

    /// The temperature to find [`Candidates`] for; `None` where all scores are needed anyway.
    pub(crate) fn candidates_temperature(&self) -> Option<f32> {
        let parameters = &self.parameters;
        let temperature = if parameters.temperature == 0.0 { 1.0 } else { parameters.temperature };
        (parameters.repetition_penalty == 1.0).then_some(temperature)
    }

    /// The token that [`Sampler::choose_among`] would choose of the row that the candidates are the best
    /// of; `None` where that can't be told from them: nothing is changed then, and the row is needed.
    pub(crate) fn choose_of(&mut self, candidates: &Candidates, allowed: Option<&TokenMask>) -> Option<u32> {
        if self.parameters.repetition_penalty != 1.0 {
            return None;
        }
        let token = match allowed {
            _ if self.parameters.temperature == 0.0 => candidates.greedy(allowed)?,
            None => match self.draw(Ranked::of(candidates)) {
                Drawn::Token(token) => token,
                Drawn::Nothing | Drawn::Unknown => return None,
            },
            Some(_) => return None,
        };
        self.seen.insert(token);
        Some(token)
    }

    fn draw(&mut self, mut ranked: Ranked) -> Drawn {
        let parameters = &self.parameters;
        if !ranked.keep(parameters.top_k) {
            return Drawn::Unknown;
        }
        let Some((_, best)) = ranked.get(0) else { return Drawn::Nothing };
        let weigh = |logit: f32| f64::from((logit - best) / parameters.temperature).exp();
        // The sum of all weights is known to lie between these; that of a whole row is both.
        let (least, most) = ranked.whole(weigh);
        // Those up to and including the one that reaches a share of `top_p`. The best token's weight is
        // 1, so min-p is a bound on the weights themselves.
        let (top_p, min_p) = (f64::from(parameters.top_p), f64::from(parameters.min_p));
        let is_cut = top_p < 1.0 || min_p > 0.0;
        let (mut count, mut total) = (ranked.candidates.len(), (least, most));
        if is_cut {
            let mut sum = 0.0;
            count = 0;
            while count == 0 || top_p >= 1.0 || sum < top_p * least {
                let Some((_, logit)) = ranked.get(count) else { break };
                let weight = weigh(logit);
                if count > 0 && weight < min_p {
                    break;
                }
                count += 1;
                sum += weight;
            }
            // Whether another would have been the last, had more been known.
            let is_short = top_p < 1.0 && sum >= top_p * least && sum < top_p * most;
            let is_at_end = count == ranked.candidates.len() && (top_p >= 1.0 || sum < top_p * least);
            if is_short || (is_at_end && !ranked.is_all) {
                return Drawn::Unknown;
            }
            total = (sum, sum);
        }
        let mut random = self.random.clone();
        let point = random.random::<f64>();
        // Of a point that is known to lie between two others: where both end at a token, so does it.
        let (mut low, mut high) = (point * total.0, point * total.1);
        for rank in 0..count {
            let Some((token, logit)) = ranked.get(rank) else { break };
            let weight = weigh(logit);
            (low, high) = (low - weight, high - weight);
            if high < 0.0 {
                self.random = random;
                return Drawn::Token(token);
            }
            if low < 0.0 {
                return Drawn::Unknown;
            }
        }
        if !is_cut && !ranked.is_all {
            return Drawn::Unknown;
        }
        self.random = random;
        let last = count.checked_sub(1).and_then(|last| ranked.get(last));
        last.map_or(Drawn::Nothing, |(token, _)| Drawn::Token(token))
    }
}

enum Drawn {
    Token(u32),
    /// There is nothing to draw from.
    Nothing,
    /// It depends on what is not known of the row.
    Unknown,
}

/// The best of a row's scores, and what is known of all of them.
#[derive(Debug, Clone)]
pub(crate) struct Candidates {
    /// Tokens and their scores, best first (`f32::total_cmp`), of equals the lower token first; no
    /// score is minus infinity.
    pub(crate) ranked: Vec<(u32, f32)>,
    /// Whether no other token has a score.
    pub(crate) is_all: bool,
    /// About the sum of the row's weights, `exp((score - best) / temperature)`.
    pub(crate) weight: f64,
}

/// How far [`Candidates::weight`] may be off, relative to it: some times what sums and exponentials
/// in 32 bits are.
const UNCERTAINTY: f64 = 1e-3;
/// The same of a sum in 64 bits, in another order.
const ROUNDING: f64 = 1e-12;

impl Candidates {
    /// [`greedy`] over the whole row, where it can be told.
    fn greedy(&self, allowed: Option<&TokenMask>) -> Option<u32> {
        let mut admitted = self.ranked.iter().filter(|(token, _)| allowed.is_none_or(|allowed| allowed.allows(*token)));
        let (first, best) = *admitted.next()?;
        if best != 0.0 {
            return Some(first);
        }
        // Zeros of both signs are equals, and there may be more than were kept.
        let is_told = self.is_all || self.ranked.last().is_some_and(|(_, score)| *score < 0.0);
        let equals = admitted.take_while(|(_, score)| *score == 0.0).map(|(token, _)| *token);
        is_told.then(|| equals.fold(first, u32::min))
    }
}

/// Tokens by their scores, best first: sorted only as far as they are asked for, since few draws go
/// beyond the first hundreds of a vocabulary.
struct Ranked {
    candidates: Vec<(u32, f32)>,
    /// How many of them are the best ones, in order.
    sorted: usize,
    /// Whether no other token can be drawn.
    is_all: bool,
    /// About the sum of all weights, where not all tokens were at hand to begin with.
    weight: Option<f64>,
}

impl Ranked {
    /// Those that have a score.
    fn new(logits: &[f32]) -> Self {
        let scored = (0u32..).zip(logits).filter(|(_, logit)| **logit > f32::NEG_INFINITY);
        let candidates = scored.map(|(token, logit)| (token, *logit)).collect();
        Self { candidates, sorted: 0, is_all: true, weight: None }
    }

    fn of(candidates: &Candidates) -> Self {
        let Candidates { ranked, is_all, weight } = candidates.clone();
        Self { sorted: ranked.len(), candidates: ranked, is_all, weight: Some(weight) }
    }

    /// Keeps the best `most`, where that is not 0; false where not all of these are known.
    fn keep(&mut self, most: usize) -> bool {
        let known = self.candidates.len();
        if most == 0 || (self.is_all && most >= known) {
            return true;
        }
        if most > known {
            return false;
        }
        if most > self.sorted {
            self.sort(most);
        }
        self.candidates.truncate(most);
        (self.sorted, self.is_all, self.weight) = (most, true, None);
        true
    }

    /// The sum of all weights lies between these.
    fn whole(&self, weigh: impl Fn(f32) -> f64) -> (f64, f64) {
        let known: f64 = self.candidates.iter().map(|(_, logit)| weigh(*logit)).sum();
        let (least, most) = (known * (1.0 - ROUNDING), known * (1.0 + ROUNDING));
        match self.weight {
            None => (known, known),
            Some(_) if self.is_all => (least, most),
            Some(weight) if weight.is_finite() => {
                (least.max(weight * (1.0 - UNCERTAINTY)), weight * (1.0 + UNCERTAINTY))
            }
            Some(_) => (least, f64::INFINITY),
        }
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
        return Err(numeric(
            "the model computed a score that is not a number. If a tensor is damaged, `codriver model convert MODEL \
             --type bf16` names it: get the model again then. If none is, its numbers grow too large: take another model",
        ));
    }
    Ok(())
}

/// The best token; of equals the first.
fn greedy(logits: &[f32]) -> Option<u32> {
    let scored = (0u32..).zip(logits).filter(|(_, logit)| **logit > f32::NEG_INFINITY);
    scored.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(token, _)| token)
}

fn check(parameters: &SamplingParameters) -> Result<(), ModelError> {
    let ranges = [
        ("temperature", parameters.temperature, SamplingParameters::TEMPERATURES),
        ("top_p", parameters.top_p, 0.0..=1.0),
        ("min_p", parameters.min_p, 0.0..=1.0),
        ("repetition_penalty", parameters.repetition_penalty, 0.01..=100.0),
    ];
    for (name, value, range) in ranges {
        if !range.contains(&value) {
            let (low, high) = range.into_inner();
            return Err(numeric(&format!("{name} is {value}; it must be from {low} to {high}")));
        }
    }
    Ok(())
}

fn numeric(reason: &str) -> ModelError {
    ModelError::Numeric(reason.to_string())
}
