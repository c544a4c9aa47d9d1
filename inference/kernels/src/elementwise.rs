//! What lies between an encoder's products: activations and layer normalization.

use pulp::Arch;

use crate::exponential::{exp, sigmoid, tanh};
use crate::panels::PANEL;

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivationFunction {
    Gelu,
    /// GELU by its approximation with a hyperbolic tangent.
    GeluTanh,
    Relu,
    Silu,
    Sigmoid,
    Tanh,
}

impl ActivationFunction {
    /// Puts the function's values in place of its arguments.
    pub fn apply(self, values: &mut [f32]) {
        Arch::new().dispatch(
            #[inline(always)]
            || self.apply_inline(values),
        );
    }

    #[inline(always)]
    pub(crate) fn apply_inline(self, values: &mut [f32]) {
        match self {
            Self::Gelu => each(values, |x| 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))),
            Self::GeluTanh => {
                // The square root of two over pi.
                const SLOPE: f32 = 0.797_884_6;
                each(values, |x| 0.5 * x * (1.0 + tanh(SLOPE * (x + 0.044_715 * x * x * x))));
            }
            Self::Relu => each(values, |x| if x < 0.0 { 0.0 } else { x }),
            Self::Silu => each(values, |x| x * sigmoid(x)),
            Self::Sigmoid => each(values, sigmoid),
            Self::Tanh => each(values, tanh),
        }
    }
}

#[inline(always)]
fn each(values: &mut [f32], function: impl Fn(f32) -> f32) {
    for value in values {
        *value = function(*value);
    }
}

/// The error function, to three units in the last place, without an exponential: the quotient of
/// polynomials that Eigen uses.
#[inline(always)]
fn erf(x: f32) -> f32 {
    // Comparisons, unlike `clamp`, let a NaN through on every processor. Beyond 4 it is 1.
    let x = if x > 4.0 { 4.0 } else { x };
    let x = if x < -4.0 { -4.0 } else { x };
    let square = x * x;
    let mut above = -2.726_142_4e-10;
    for coefficient in
        [2.770_681_5e-8, -2.101_024e-6, -5.692_506_4e-5, -7.349_906_3e-4, -2.954_599_9e-3, -1.609_603_3e-2]
    {
        above = above * square + coefficient;
    }
    let mut below = -1.456_607_2e-5;
    for coefficient in [-2.133_740_6e-4, -1.682_827_1e-3, -7.373_329_3e-3, -1.426_473_9e-2] {
        below = below * square + coefficient;
    }
    x * above / below
}

/// Each row of `weight.len()` values less its mean and divided by its standard deviation, times
/// `weight` and plus `bias` (Ba, Kiros and Hinton 2016), where the values are.
pub fn layer_norm(values: &mut [f32], weight: &[f32], bias: Option<&[f32]>, epsilon: f32) {
    let size = weight.len();
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for row in values.chunks_exact_mut(size.max(1)) {
                let mean = sum(row, |value| value) / size as f32;
                let variance = sum(row, |value| (value - mean) * (value - mean)) / size as f32;
                let scale = 1.0 / (variance + epsilon).sqrt();
                match bias {
                    Some(bias) => {
                        for ((value, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
                            *value = (*value - mean) * scale * weight + bias;
                        }
                    }
                    None => {
                        for (value, weight) in row.iter_mut().zip(weight) {
                            *value = (*value - mean) * scale * weight;
                        }
                    }
                }
            }
        },
    );
}

/// The sum of a function over values.
#[inline(always)]
fn sum(values: &[f32], function: impl Fn(f32) -> f32) -> f32 {
    // Thirty-two sums: what two vectors add at a time.
    let mut sums = [0.0f32; PANEL];
    let (chunks, rest) = values.as_chunks::<PANEL>();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += function(*value);
        }
    }
    fold(sums, |one, other| one + other) + rest.iter().map(|value| function(*value)).sum::<f32>()
}

/// Halves together until one is left: a few vector instructions, where one after the other would
/// wait for each.
#[inline(always)]
fn fold(mut values: [f32; PANEL], join: impl Fn(f32, f32) -> f32) -> f32 {
    for half in [16, 8, 4, 2, 1] {
        let (first, second) = values.split_at_mut(half);
        for (one, other) in first.iter_mut().zip(second) {
            *one = join(*one, *other);
        }
    }
    values[0]
}

/// Turns the scores of a row, whole panels of them, into their exponentials after `scale`; those
/// outside of `from..to` are nothing. Returns what the others add up to.
#[inline(always)]
pub(crate) fn exponentials(scores: &mut [f32], from: usize, to: usize, scale: f32, bias: Option<&[f32]>) -> f32 {
    for score in scores.iter_mut() {
        *score *= scale;
    }
    if let Some(bias) = bias {
        for (score, bias) in scores[from..to].iter_mut().zip(bias) {
            *score += bias;
        }
    }
    scores[..from].fill(f32::NEG_INFINITY);
    scores[to..].fill(f32::NEG_INFINITY);
    let mut largest = [f32::NEG_INFINITY; PANEL];
    for chunk in scores.as_chunks::<PANEL>().0 {
        for (largest, score) in largest.iter_mut().zip(chunk) {
            *largest = if *score > *largest { *score } else { *largest };
        }
    }
    let largest = fold(largest, |one, other| if one > other { one } else { other });
    for chunk in scores.as_chunks_mut::<PANEL>().0 {
        for score in chunk {
            *score = exp(*score - largest);
        }
    }
    // The exponential of minus infinity is a little more than nothing.
    scores[..from].fill(0.0);
    scores[to..].fill(0.0);
    sum(scores, |value| value)
}
