//! What lies between a decoder's products: norms, gates, positions.

use pulp::Arch;

use crate::exponential::{erf, exp, sigmoid, tanh};
use crate::pool;

/// Numbers from which on work is spread over the cores.
const SPREAD: usize = 32 * 1024;

/// Each row of `weight.len()` values divided by its root mean square and multiplied by `weight`
/// (Zhang and Sennrich 2019).
pub fn rms_norm(input: &[f32], weight: &[f32], epsilon: f32) -> Vec<f32> {
    let mut output = input.to_vec();
    rms_norm_in_place(&mut output, weight, epsilon);
    output
}

/// [`rms_norm`] where the values are.
pub fn rms_norm_in_place(values: &mut [f32], weight: &[f32], epsilon: f32) {
    rows(values, weight.len(), |row| {
        // Sixteen sums: what one vector adds at a time.
        let mut squares = [0.0f32; 16];
        let (chunks, rest) = row.as_chunks::<16>();
        for chunk in chunks {
            for (square, value) in squares.iter_mut().zip(chunk) {
                *square += value * value;
            }
        }
        let sum = squares.iter().sum::<f32>() + rest.iter().map(|value| value * value).sum::<f32>();
        let scale = 1.0 / (sum / row.len() as f32 + epsilon).sqrt();
        for (value, weight) in row.iter_mut().zip(weight) {
            *value *= scale * weight;
        }
    });
}

/// The function of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    Silu,
    Gelu,
    /// GELU by its approximation with a hyperbolic tangent.
    GeluTanh,
}

/// Puts `function(gate) * up` in place of `gate`.
pub fn gate(function: Gate, gate: &mut [f32], up: &[f32]) {
    let apply = |gate: &mut [f32], up: &[f32]| {
        Arch::new().dispatch(
            #[inline(always)]
            || match function {
                Gate::Silu => each(gate, up, |x| x * sigmoid(x)),
                Gate::Gelu => each(gate, up, |x| 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))),
                Gate::GeluTanh => {
                    // The square root of two over pi.
                    const SLOPE: f32 = 0.797_884_6;
                    each(gate, up, |x| 0.5 * x * (1.0 + tanh(SLOPE * (x + 0.044_715 * x * x * x))));
                }
            },
        );
    };
    if gate.len() >= SPREAD {
        pool::for_each(gate.chunks_mut(SPREAD / 4).zip(up.chunks(SPREAD / 4)), |(gate, up)| apply(gate, up));
    } else {
        apply(gate, up);
    }
}

#[inline(always)]
fn each(gate: &mut [f32], up: &[f32], function: impl Fn(f32) -> f32) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = function(*gate) * up;
    }
}

/// Bends values to stay below `cap`.
pub fn soft_cap(values: &mut [f32], cap: f32) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for value in values {
                *value = tanh(*value / cap) * cap;
            }
        },
    );
}

/// `values + factor * added`, in place.
pub fn add_scaled(values: &mut [f32], added: &[f32], factor: f32) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (value, added) in values.iter_mut().zip(added) {
                *value += factor * added;
            }
        },
    );
}

/// Adds `bias` to each row.
pub fn add_bias(values: &mut [f32], bias: &[f32]) {
    for row in values.chunks_exact_mut(bias.len().max(1)) {
        for (value, bias) in row.iter_mut().zip(bias) {
            *value += bias;
        }
    }
}

/// Rotates pairs of a head's dimensions: the first `cosine.len()` with as many after them
/// (Su et al. 2021, in the half-split layout).
pub fn rotate(head: &mut [f32], cosine: &[f32], sine: &[f32]) {
    let half = cosine.len().min(head.len() / 2);
    let (first, rest) = head.split_at_mut(half);
    for ((first, second), (cosine, sine)) in first.iter_mut().zip(rest).zip(cosine.iter().zip(sine)) {
        let rotated = *first * cosine - *second * sine;
        *second = *second * cosine + *first * sine;
        *first = rotated;
    }
}

/// Turns each row of `size` scores into shares that add up to one.
pub fn softmax(values: &mut [f32], size: usize) {
    rows(values, size, |row| {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for value in row.iter_mut() {
            *value = exp(*value - largest);
        }
        let sum: f32 = row.iter().sum();
        for value in row.iter_mut() {
            *value /= sum;
        }
    });
}

/// Does the same with each row, on all cores where there is much to do.
fn rows(values: &mut [f32], size: usize, change: impl Fn(&mut [f32]) + Sync) {
    let size = size.max(1);
    let change = |rows: &mut [f32]| {
        Arch::new().dispatch(
            #[inline(always)]
            || rows.chunks_exact_mut(size).for_each(&change),
        );
    };
    if values.len() >= SPREAD {
        pool::for_each(values.chunks_mut(size * (SPREAD / 4 / size).max(1)), change);
    } else {
        change(values);
    }
}
