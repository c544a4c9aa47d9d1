//! Mixtures of experts: which experts a token goes through, and what comes of them.

use cubecl::prelude::*;

use super::product::Rows;
use crate::device::{Buffer, Gpu};

/// Experts that a router can have.
pub(crate) const MOST_EXPERTS: usize = 256;
const UNITS: u32 = 256;

/// The experts of each token by the router's `scores`, best first and of equals the first, and their
/// shares; `[tokens, used]` each.
pub(crate) fn choose(
    gpu: &Gpu,
    scores: Rows<'_>,
    chosen: &Buffer,
    shares: &Buffer,
    tokens: usize,
    experts: usize,
    used: usize,
    normalized: bool,
) {
    // SAFETY: a cube reads and writes one token's, and units past the last expert do nothing.
    unsafe {
        choose_kernel::launch_unchecked(
            &gpu.client,
            CubeCount::Static(tokens as u32, 1, 1),
            CubeDim::new_1d(UNITS),
            scores.buffer.arg(),
            chosen.arg(),
            shares.arg(),
            scores.stride as u32,
            experts as u32,
            used as u32,
            normalized,
        );
    }
}

#[cube(launch_unchecked)]
fn choose_kernel(
    scores: &[f32],
    chosen: &mut [u32],
    shares: &mut [f32],
    stride: u32,
    experts: u32,
    used: u32,
    #[comptime] normalized: bool,
) {
    let expert = UNIT_POS_X;
    let start = CUBE_POS_X * stride;
    let target = CUBE_POS_X * used;
    let mut held = Shared::<[f32]>::new_slice(comptime!(UNITS as usize));
    let mut best = Shared::<[f32]>::new_slice(comptime!(UNITS as usize));
    if expert < experts {
        held[expert as usize] = scores[(start + expert) as usize];
    }
    // Scores that are no numbers have no order; then what is chosen must still be an expert.
    if expert < used {
        best[expert as usize] = 0.0f32;
        chosen[(target + expert) as usize] = expert;
    }
    sync_cube();
    let mut rank = 0u32;
    let mut own = 0.0f32;
    if expert < experts {
        own = held[expert as usize];
        for other in 0..experts {
            let score = held[other as usize];
            if score > own || (score == own && other < expert) {
                rank += 1;
            }
        }
    }
    sync_storage();
    sync_cube();
    if expert < experts && rank < used {
        chosen[(target + rank) as usize] = expert;
        best[rank as usize] = own;
    }
    sync_cube();
    if expert < used {
        let highest = best[0];
        let mut sum = 0.0f32;
        if comptime!(normalized) {
            for other in 0..used {
                sum += (best[other as usize] - highest).exp();
            }
        } else {
            for other in 0..experts {
                sum += (held[other as usize] - highest).exp();
            }
        }
        shares[(target + expert) as usize] = (best[expert as usize] - highest).exp() / sum;
    }
}

/// The experts' outputs, `used` rows a token, each times its share, as the token's row.
pub(crate) fn mix(
    gpu: &Gpu,
    input: Rows<'_>,
    shares: &Buffer,
    output: Rows<'_>,
    size: usize,
    tokens: usize,
    used: usize,
    multiplier: Option<f32>,
) {
    // SAFETY: units past a row's end do nothing, and there is a row of cubes a token.
    unsafe {
        mix_kernel::launch_unchecked(
            &gpu.client,
            CubeCount::Static(size.div_ceil(UNITS as usize) as u32, tokens as u32, 1),
            CubeDim::new_1d(UNITS),
            input.buffer.arg(),
            shares.arg(),
            output.buffer.arg(),
            size as u32,
            used as u32,
            input.stride as u32,
            output.stride as u32,
            multiplier.unwrap_or(1.0),
            multiplier.is_some(),
        );
    }
}

#[cube(launch_unchecked)]
fn mix_kernel(
    input: &[f32],
    shares: &[f32],
    output: &mut [f32],
    size: u32,
    used: u32,
    input_stride: u32,
    output_stride: u32,
    multiplier: f32,
    #[comptime] adds: bool,
) {
    let column = CUBE_POS_X * UNITS + UNIT_POS_X;
    if column < size {
        let first = CUBE_POS_Y * used;
        let mut sum = 0.0f32;
        for index in 0..used {
            let row = first + index;
            sum += shares[row as usize] * input[(row * input_stride + column) as usize];
        }
        let at = (CUBE_POS_Y * output_stride + column) as usize;
        if comptime!(adds) {
            output[at] += multiplier * sum;
        } else {
            output[at] = sum;
        }
    }
}
