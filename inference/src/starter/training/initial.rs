//! Attention that starts out copying.
//!
//! Trockman and Kolter 2023, "Mimetic initialization of self-attention layers": trained attention has
//! value times output projections near a multiple of the identity, and query times key
//! projections, too. Started like that, what a head looks at is at once what it says, and it looks at
//! tokens like its own; a small model on little data need not find that out.

use burn::module::Param;
use burn::tensor::{Device, Distribution, Tensor};

use crate::models::decoder::Decoder;
use crate::models::projection::Projection;

/// How strongly a head repeats what it looks at.
const COPY: f32 = 0.3;
/// How strongly heads look at tokens like their own.
const LIKENESS: f32 = 0.25;

/// Sets the attention projections of every layer.
pub(super) fn mimetic(decoder: &mut Decoder, device: &Device) {
    let width = decoder.config.hidden_size;
    for layer in &mut decoder.layers {
        let basis = orthogonal(width, device);
        let attention = &mut layer.self_attn;
        set(&mut attention.v_proj, basis.clone() * COPY.sqrt());
        set(&mut attention.o_proj, basis.transpose() * COPY.sqrt());
        let alike = orthogonal(width, device) * LIKENESS.sqrt();
        let noise = || Tensor::<2>::random([width, width], Distribution::Normal(0.0, 0.03), device);
        set(&mut attention.q_proj, alike.clone() + noise());
        set(&mut attention.k_proj, alike + noise());
    }
}

fn set(projection: &mut Projection, weight: Tensor<2>) {
    if let Some(linear) = projection.dense_mut() {
        linear.weight = Param::from_tensor(weight.detach());
    }
}

/// A random orthogonal matrix, by the Newton-Schulz iteration on a random one.
fn orthogonal(size: usize, device: &Device) -> Tensor<2> {
    const STEPS: usize = 40;
    let mut matrix = Tensor::<2>::random([size, size], Distribution::Normal(0.0, 1.0), device).detach();
    // All singular values below one: a square random matrix's largest is near twice the root of its size.
    matrix = matrix / (2.2 * (size as f64).sqrt());
    for _ in 0..STEPS {
        let product = matrix.clone().matmul(matrix.clone().transpose());
        matrix = matrix.clone() * 1.5 - product.matmul(matrix) * 0.5;
    }
    matrix
}
