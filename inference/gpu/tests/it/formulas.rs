//! What decoders are made of, in 64 bits.

use codriver_formats::quant;
use codriver_gpu::{Activation, Format, PageFormat};

pub fn softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shares: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
    let sum: f64 = shares.iter().sum();
    shares.into_iter().map(|share| share / sum).collect()
}

pub fn capped(score: f64, cap: Option<f32>) -> f64 {
    cap.map_or(score, |cap| (score / f64::from(cap)).tanh() * f64::from(cap))
}

pub fn rotate(head: &mut [f64], frequencies: &[f32], position: usize) {
    let pairs = frequencies.len();
    for (pair, frequency) in frequencies.iter().enumerate() {
        let (sine, cosine) = f64::from(position as f32 * frequency).sin_cos();
        let (first, second) = (head[pair], head[pair + pairs]);
        head[pair] = first * cosine - second * sine;
        head[pair + pairs] = second * cosine + first * sine;
    }
}

pub fn activated(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        Activation::Gelu => {
            // The error function by its series, and beyond 3, where that cancels, by the asymptotic one.
            let z = x * std::f64::consts::FRAC_1_SQRT_2;
            let erf = if z.abs() > 3.0 {
                let y = 1.0 / (2.0 * z * z);
                let rest = (-z * z).exp() / (z.abs() * std::f64::consts::PI.sqrt());
                z.signum() * (1.0 - rest * (1.0 - y + 3.0 * y * y - 15.0 * y.powi(3)))
            } else {
                let (mut term, mut sum) = (z, z);
                for n in 1..200 {
                    term *= -z * z / f64::from(n);
                    sum += term / f64::from(2 * n + 1);
                }
                sum * 2.0 / std::f64::consts::PI.sqrt()
            };
            0.5 * x * (1.0 + erf)
        }
    }
}

/// A head of a position's key or value as it is after it was held in `format`.
pub fn held(head: &mut [f64], format: PageFormat) {
    match format {
        PageFormat::F32 => {}
        PageFormat::F16 => {
            let numbers: Vec<f32> = head.iter().map(|number| *number as f32).collect();
            let halves = quant::quantize(Format::F16.tensor_type(), &numbers).unwrap();
            let mut rounded = vec![0.0; numbers.len()];
            quant::dequantize(Format::F16.tensor_type(), &halves, &mut rounded).unwrap();
            head.iter_mut().zip(rounded).for_each(|(number, rounded)| *number = f64::from(rounded));
        }
        PageFormat::Q8 => {
            let step = head.iter().fold(0.0_f64, |largest, number| largest.max(number.abs())) / 127.0;
            if step > 0.0 {
                head.iter_mut().for_each(|number| *number = (*number / step).round_ties_even() * step);
            }
        }
    }
}
