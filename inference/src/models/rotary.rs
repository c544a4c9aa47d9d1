//! Rotary position embeddings in the half-split layout of the Llama family.

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// How the rotation frequencies are stretched for contexts longer than the pretraining ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum RopeScaling {
    /// Every frequency divided by the factor.
    Linear { factor: f32 },
    /// Llama 3.1: low frequencies divided, high ones kept, a ramp between.
    Llama3 {
        factor: f32,
        low_frequency_factor: f32,
        high_frequency_factor: f32,
        original_positions: f32,
    },
}

/// The cosines and sines of a run of positions, each `[1, 1, positions, head_dim / 2]`.
#[derive(Debug, Clone)]
pub struct Rotation {
    cosine: Tensor<4>,
    sine: Tensor<4>,
}

impl Rotation {
    /// The rotation of `length` positions from `start` on.
    pub fn new(frequencies: &[f32], start: usize, length: usize, device: &Device) -> Self {
        let shape = [1, 1, length, frequencies.len()];
        let angles: Vec<f32> = (start..start + length)
            .flat_map(|position| {
                frequencies
                    .iter()
                    .map(move |frequency| position as f32 * frequency)
            })
            .collect();
        let cosine = angles.iter().map(|angle| angle.cos()).collect();
        let sine = angles.iter().map(|angle| angle.sin()).collect();
        let upload = |values: Vec<f32>| Tensor::from_data(TensorData::new(values, shape), device);
        Self {
            cosine: upload(cosine),
            sine: upload(sine),
        }
    }

    /// Rotates queries or keys, `[batch, heads, positions, head_dim]`.
    pub fn apply(&self, input: Tensor<4>) -> Tensor<4> {
        let half = input.dims()[3] / 2;
        let first = input.clone().narrow(3, 0, half);
        let second = input.narrow(3, half, half);
        let rotated_first =
            first.clone() * self.cosine.clone() - second.clone() * self.sine.clone();
        let rotated_second = second * self.cosine.clone() + first * self.sine.clone();
        Tensor::cat(vec![rotated_first, rotated_second], 3)
    }
}

/// The rotation frequency of each pair of a head's dimensions.
pub fn frequencies(head_dim: usize, theta: f32, scaling: Option<RopeScaling>) -> Vec<f32> {
    (0..head_dim / 2)
        .map(|pair| 1.0 / theta.powf(2.0 * pair as f32 / head_dim as f32))
        .map(|frequency| scaling.map_or(frequency, |scaling| scaling.apply(frequency)))
        .collect()
}

impl RopeScaling {
    fn apply(self, frequency: f32) -> f32 {
        match self {
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 {
                factor,
                low_frequency_factor,
                high_frequency_factor,
                original_positions,
            } => {
                let wavelength = 2.0 * std::f32::consts::PI / frequency;
                if wavelength < original_positions / high_frequency_factor {
                    frequency
                } else if wavelength > original_positions / low_frequency_factor {
                    frequency / factor
                } else {
                    let smooth = (original_positions / wavelength - low_frequency_factor)
                        / (high_frequency_factor - low_frequency_factor);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                }
            }
        }
    }
}
