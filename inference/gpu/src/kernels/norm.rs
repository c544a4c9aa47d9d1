//! Root-mean-square norms (Zhang and Sennrich 2019).

use cubecl::prelude::*;

use super::product::{Input, Rows};
use super::reading::{MOST_NORMED, units};
use super::reduce::cube_sum;
use super::weights::Four;
use crate::device::{Buffer, Gpu};
use crate::matrix::CHUNK;

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

impl<'a> Norm<'a> {
    /// Input of products that is normalized: by those themselves where tokens are few, so that nobody waits for a
    /// launch more; in `room` otherwise.
    pub(crate) fn on_the_way(self, gpu: &Gpu, input: Rows<'a>, room: Rows<'a>, tokens: usize) -> Input<'a> {
        if tokens <= MOST_NORMED && self.size.is_multiple_of(CHUNK) {
            return Input { rows: input, norm: Some(self) };
        }
        self.apply(gpu, input, room, tokens, Target::Written);
        room.into()
    }

    /// Normalizes `rows` rows of `input`, which are padded with zeros to fours, into rows of `output`.
    pub(crate) fn apply(&self, gpu: &Gpu, input: Rows<'_>, output: Rows<'_>, rows: usize, target: Target<'_>) {
        let chosen = if let Target::Chosen(chosen) = target { chosen } else { self.weight };
        let multiplier = if let Target::Added(multiplier) = target { multiplier } else { 1.0 };
        // SAFETY: a cube reads and writes one row, and units past its end do nothing.
        unsafe {
            norm::launch_unchecked(
                &gpu.client,
                CubeCount::Static(rows as u32, 1, 1),
                CubeDim::new_1d(units(gpu)),
                input.buffer.vectors(4),
                self.weight.arg(),
                chosen.arg(),
                output.buffer.arg(),
                self.size as u32,
                (input.stride / 4) as u32,
                output.stride as u32,
                self.epsilon,
                multiplier,
                matches!(target, Target::Chosen(_)),
                matches!(target, Target::Added(_)),
                units(gpu),
                gpu.plane,
            );
        }
    }
}

#[cube(launch_unchecked)]
fn norm(
    input: &[Four],
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
    #[comptime] units: u32,
    #[comptime] plane: Option<u32>,
) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(units as usize));
    let mut row = CUBE_POS_X;
    if comptime!(chooses) {
        row = chosen[CUBE_POS_X as usize];
    }
    let from = row * input_stride;
    let to = CUBE_POS_X * output_stride;
    let factor = row_factor(input, from, size, epsilon, &mut shared, units, plane);
    let mut vector = UNIT_POS;
    while 4 * vector < size {
        let four = input[(from + vector) as usize];
        #[unroll]
        for index in 0..4usize {
            let column = 4 * vector + comptime!(index as u32);
            if column < size {
                let value = four.extract(index) * factor * weight[column as usize];
                let at = (to + column) as usize;
                if comptime!(adds) {
                    output[at] += multiplier * value;
                } else {
                    output[at] = value;
                }
            }
        }
        vector += units;
    }
}

/// What a row of `size` values is multiplied by: one over its root mean square. All `units` of the cube call this
/// together, and meet at a barrier before `shared` is used again. Every rounding is spelled out, for compilers that
/// fuse as they like.
#[cube]
pub(super) fn row_factor(
    input: &[Four],
    from: u32,
    size: u32,
    epsilon: f32,
    shared: &mut Shared<[f32]>,
    #[comptime] units: u32,
    #[comptime] plane: Option<u32>,
) -> f32 {
    let mut squares = 0.0f32;
    let mut vector = UNIT_POS;
    while 4 * vector < size {
        let four = input[(from + vector) as usize];
        #[unroll]
        for index in 0..4usize {
            squares = fma(four.extract(index), four.extract(index), squares);
        }
        vector += units;
    }
    let sum = cube_sum(squares, shared, units, plane);
    1.0f32 / (sum / f32::cast_from(size) + epsilon).sqrt()
}
