//! Gated feed-forward blocks and mixtures of them.

use codriver_kernels::{Activations, Gate, add_scaled, gate, softmax};

use super::packed;
use crate::ModelError;
use crate::models::decoder::{Activation, DecoderConfig, FeedForward, GatedLinear, MixtureOfExperts};
use crate::models::projection::PackedLinear;

/// The block's output for `input`, rows of `size` values.
pub(super) fn forward(
    block: &FeedForward,
    input: Vec<f32>,
    size: usize,
    config: &DecoderConfig,
) -> Result<Vec<f32>, ModelError> {
    let function = match config.activation {
        Activation::Silu => Gate::Silu,
        Activation::Gelu => Gate::Gelu,
        Activation::GeluTanh => Gate::GeluTanh,
    };
    match block {
        FeedForward::Dense(dense) => gated(dense, &Activations::new(input, size), function),
        FeedForward::Sparse(sparse) => mixture(sparse, input, size, function),
    }
}

fn gated(block: &GatedLinear, input: &Activations, function: Gate) -> Result<Vec<f32>, ModelError> {
    let layers = [packed(block.gate_proj.as_packed())?, packed(block.up_proj.as_packed())?];
    let [mut gates, up] = PackedLinear::multiply_all(layers, input);
    gate(function, &mut gates, &up);
    let wide = up.len() / input.tokens().max(1);
    Ok(packed(block.down_proj.as_packed())?.multiply(&Activations::new(gates, wide)))
}

/// Only the experts that some token chose are computed, each on its tokens.
fn mixture(block: &MixtureOfExperts, input: Vec<f32>, size: usize, function: Gate) -> Result<Vec<f32>, ModelError> {
    let experts = block.experts.len();
    let all = Activations::new(input.clone(), size);
    let mut shares = packed(block.gate.as_packed())?.multiply(&all);
    softmax(&mut shares, experts);
    let chosen = block.choose_by(&shares);
    if block.config.norm_topk_prob {
        for (shares, chosen) in shares.chunks_exact_mut(experts.max(1)).zip(&chosen) {
            let total: f32 = chosen.iter().filter_map(|expert| shares.get(*expert)).sum();
            shares.iter_mut().for_each(|share| *share /= total);
        }
    }
    let mut output = vec![0.0; input.len()];
    for (index, expert) in block.experts.iter().enumerate() {
        let rows: Vec<usize> =
            chosen.iter().enumerate().filter(|(_, experts)| experts.contains(&index)).map(|(row, _)| row).collect();
        if rows.is_empty() {
            continue;
        }
        let gathered: Vec<f32> =
            rows.iter().flat_map(|row| input.get(row * size..(row + 1) * size).unwrap_or_default()).copied().collect();
        let computed = gated(expert, &Activations::new(gathered, size), function)?;
        for (row, computed) in rows.iter().zip(computed.chunks_exact(size.max(1))) {
            let share = shares.get(row * experts + index).copied().unwrap_or_default();
            if let Some(output) = output.get_mut(row * size..(row + 1) * size) {
                add_scaled(output, computed, share);
            }
        }
    }
    Ok(output)
}
