//! Root-mean-square norms (Zhang and Sennrich 2019).

use cubecl::prelude::*;

use super::product::Rows;
use super::reduce::cube_sum;
use crate::device::{Buffer, Gpu};

/// Units in a cube, which normalizes a row.
const UNITS: u32 = 256;

/// A norm of rows of so many values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norm<'a> {
    pub(crate) weight: &'a Buffer,
    pub(crate) epsilon: f32,
    pub(crate) size: usize,
}

/// What the normalized rows are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'a> {
    /// The output.
    Written,
    /// The output, of those rows whose numbers are listed.
    Chosen(&'a Buffer),
    /// Added to the output, multiplied by this.
    Added(f32),
}

impl Norm<'_> {
    /// Normalizes `rows` rows of `input` into rows of `output`.
    pub(crate) fn apply(&self, gpu: &Gpu, input: Rows<'_>, output: Rows<'_>, rows: usize, target: Target<'_>) {
        let chosen = if let Target::Chosen(chosen) = target { chosen } else { self.weight };
        let multiplier = if let Target::Added(multiplier) = target { multiplier } else { 1.0 };
        // SAFETY: a cube reads and writes one row, and units past its end do nothing.
        unsafe {
            norm::launch_unchecked(
                &gpu.client,
                CubeCount::Static(rows as u32, 1, 1),
                CubeDim::new_1d(UNITS),
                input.buffer.arg(),
                self.weight.arg(),
                chosen.arg(),
                output.buffer.arg(),
                self.size as u32,
                input.stride as u32,
                output.stride as u32,
                self.epsilon,
                multiplier,
                matches!(target, Target::Chosen(_)),
                matches!(target, Target::Added(_)),
                gpu.plane,
            );
        }
    }
}

#[cube(launch_unchecked)]
fn norm(
    input: &[f32],
    weight: &[f32],
    chosen: &[u32],
    output: &mut [f32],
    size: u32,
    input_stride: u32,
    output_stride: u32,
    epsilon: f32,
    multiplier: f32,
    #[comptime] chooses: bool,
    #[comptime] adds: bool,
    #[comptime] plane: Option<u32>,
) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(UNITS as usize));
    let mut row = CUBE_POS_X;
    if comptime!(chooses) {
        row = chosen[CUBE_POS_X as usize];
    }
    let from = row * input_stride;
    let to = CUBE_POS_X * output_stride;
    let mut squares = 0.0f32;
    let mut column = UNIT_POS_X;
    while column < size {
        let value = input[(from + column) as usize];
        squares += value * value;
        column += UNITS;
    }
    let sum = cube_sum(squares, &mut shared, UNITS, plane);
    let factor = 1.0f32 / (sum / f32::cast_from(size) + epsilon).sqrt();
    let mut column = UNIT_POS_X;
    while column < size {
        let value = input[(from + column) as usize] * factor * weight[column as usize];
        let at = (to + column) as usize;
        if comptime!(adds) {
            output[at] += multiplier * value;
        } else {
            output[at] = value;
        }
        column += UNITS;
    }
}
