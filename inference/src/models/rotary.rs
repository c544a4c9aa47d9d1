//! Rotary position embeddings (Su et al. 2021) in the half-split layout of the Llama family, and
//! the ways to stretch them beyond the lengths of pretraining.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};

/// How positions turn into rotations.
#[derive(Debug, Clone, PartialEq)]
pub struct RotaryConfig {
    /// The base of the frequencies.
    pub theta: f64,
    /// How many of a head's dimensions are rotated, from the first on; `None`: all.
    pub dimensions: Option<usize>,
    pub scaling: Option<RopeScaling>,
}

impl Default for RotaryConfig {
    fn default() -> Self {
        Self { theta: 10000.0, dimensions: None, scaling: None }
    }
}

/// How the rotation frequencies are stretched for contexts longer than the pretraining ones.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Every frequency divided by the factor.
    Linear { factor: f64 },
    /// Llama 3.1: low frequencies divided, high ones kept, a ramp between.
    Llama3 { factor: f64, low_frequency_factor: f64, high_frequency_factor: f64, original_positions: f64 },
    /// "NTK-aware": in sequences beyond the original positions, a base that grows with the length.
    Dynamic { factor: f64, original_positions: usize },
    /// YaRN (Peng et al. 2023): a ramp by the number of rotations within the original positions.
    Yarn {
        factor: f64,
        /// Rotations from which on a frequency is kept.
        beta_fast: f64,
        /// Rotations up to which a frequency is divided by the factor.
        beta_slow: f64,
        /// Whether the ramp's ends are whole dimensions.
        truncate: bool,
        original_positions: f64,
        attention_factor: f64,
    },
    /// LongRoPE (Ding et al. 2024): a divisor for each frequency, of two sets by the sequence's length.
    LongRope { short: Vec<f64>, long: Vec<f64>, original_positions: usize, attention_factor: f64 },
}

/// What of a sequence's length its frequencies depend on: within a regime they are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Regime {
    /// Those of pretraining, or scaled whatever the length is.
    Usual,
    /// Beyond the original positions of [`RopeScaling::LongRope`].
    Long,
    /// Beyond the original positions of [`RopeScaling::Dynamic`], for a sequence of this length.
    Stretched(usize),
}

impl RotaryConfig {
    /// The regime of a sequence of `length` positions.
    pub fn regime(&self, length: usize) -> Regime {
        match &self.scaling {
            Some(RopeScaling::LongRope { original_positions, .. }) if length > *original_positions => Regime::Long,
            Some(RopeScaling::Dynamic { original_positions, .. }) if length > *original_positions => {
                Regime::Stretched(length)
            }
            _ => Regime::Usual,
        }
    }

    /// How many pairs of a head's dimensions turn; an odd dimension has a partner beyond the rotated ones.
    pub fn pairs(&self, head_dim: usize) -> usize {
        self.dimensions.unwrap_or(head_dim).div_ceil(2)
    }

    /// The rotation of a run of positions.
    pub fn rotation(&self, head_dim: usize, regime: Regime, positions: Range<usize>, device: &Device) -> Rotation {
        let shape = [1, 1, positions.len(), self.pairs(head_dim)];
        let (cosine, sine) = self.angles(head_dim, regime, positions);
        let upload = |values: Vec<f32>| Tensor::from_data(TensorData::new(values, shape), device);
        Rotation { cosine: upload(cosine), sine: upload(sine) }
    }

    /// The rotation frequency of each pair of dimensions, in radians per position.
    fn frequencies(&self, head_dim: usize, regime: Regime) -> Vec<f32> {
        let dimensions = self.dimensions.unwrap_or(head_dim) as f64;
        let theta = match (&self.scaling, regime) {
            (Some(RopeScaling::Dynamic { factor, original_positions }), Regime::Stretched(length)) => {
                let stretch = factor * length as f64 / *original_positions as f64 - (factor - 1.0);
                self.theta * stretch.powf(dimensions / (dimensions - 2.0))
            }
            _ => self.theta,
        };
        let base = |pair: usize| theta.powf(-2.0 * pair as f64 / dimensions);
        let scaled = |pair: usize| match &self.scaling {
            None | Some(RopeScaling::Dynamic { .. }) => base(pair),
            Some(RopeScaling::Linear { factor }) => base(pair) / factor,
            Some(RopeScaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_positions }) => {
                let rotations = original_positions * base(pair) / std::f64::consts::TAU;
                let kept = (rotations - low_frequency_factor) / (high_frequency_factor - low_frequency_factor);
                blend(base(pair), *factor, kept)
            }
            Some(RopeScaling::Yarn { factor, beta_fast, beta_slow, truncate, original_positions, .. }) => {
                let dimension = |rotations: f64| {
                    dimensions * (original_positions / (rotations * std::f64::consts::TAU)).ln() / (2.0 * theta.ln())
                };
                let (low, high) = (dimension(*beta_fast), dimension(*beta_slow));
                let (low, high) = if *truncate { (low.floor(), high.ceil()) } else { (low, high) };
                let (low, high) = (low.max(0.0), high.min(dimensions - 1.0));
                let high = if low == high { high + 0.001 } else { high };
                blend(base(pair), *factor, 1.0 - (pair as f64 - low) / (high - low))
            }
            Some(RopeScaling::LongRope { short, long, .. }) => {
                let divisors = if regime == Regime::Long { long } else { short };
                base(pair) / divisors.get(pair).copied().unwrap_or(1.0)
            }
        };
        (0..self.pairs(head_dim)).map(|pair| scaled(pair) as f32).collect()
    }

    /// The cosines and sines of a run of positions, `[positions, pairs]` each, with what queries and
    /// keys are scaled by.
    pub fn angles(&self, head_dim: usize, regime: Regime, positions: Range<usize>) -> (Vec<f32>, Vec<f32>) {
        let frequencies = self.frequencies(head_dim, regime);
        let factor = self.attention_factor();
        let angles =
            positions.flat_map(|position| frequencies.iter().map(move |frequency| position as f32 * frequency));
        angles.map(|angle| (angle.cos() * factor, angle.sin() * factor)).unzip()
    }

    /// What queries and keys are scaled by, so that attention stays as sharp as it was.
    fn attention_factor(&self) -> f32 {
        match &self.scaling {
            Some(RopeScaling::Yarn { attention_factor, .. } | RopeScaling::LongRope { attention_factor, .. }) => {
                *attention_factor as f32
            }
            _ => 1.0,
        }
    }
}

/// Between the frequency (`kept` at least 1) and the frequency divided (`kept` at most 0).
fn blend(frequency: f64, factor: f64, kept: f64) -> f64 {
    let kept = kept.clamp(0.0, 1.0);
    (1.0 - kept) * frequency / factor + kept * frequency
}

/// The cosines and sines of a run of positions, each `[1, 1, positions, pairs]`.
#[derive(Debug, Clone)]
pub struct Rotation {
    cosine: Tensor<4>,
    sine: Tensor<4>,
}

impl Rotation {
    /// Rotates queries or keys, `[batch, heads, positions, head_dim]`; dimensions past the pairs stay.
    pub fn apply(&self, input: Tensor<4>) -> Tensor<4> {
        let half = self.cosine.dims()[3];
        let rest = input.dims()[3] - 2 * half;
        let first = input.clone().narrow(3, 0, half);
        let second = input.clone().narrow(3, half, half);
        let rotated_first = first.clone() * self.cosine.clone() - second.clone() * self.sine.clone();
        let rotated_second = second * self.cosine.clone() + first * self.sine.clone();
        let mut parts = vec![rotated_first, rotated_second];
        if rest > 0 {
            parts.push(input.narrow(3, 2 * half, rest));
        }
        Tensor::cat(parts, 3)
    }
}
