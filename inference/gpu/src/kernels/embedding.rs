//! Rows of the vocabulary's table.

use cubecl::prelude::*;

use super::product::Rows;
use super::weights::{Four, eight};
use crate::device::{Buffer, Gpu};
use crate::matrix::{Encoding, Matrix};

/// Units in a cube.
const UNITS: u32 = 128;

/// The rows of `tokens`, each value times `multiplier`.
pub(crate) fn look_up(gpu: &Gpu, table: &Matrix, tokens: &Buffer, output: Rows<'_>, count: usize, multiplier: f32) {
    let width = table.encoding.vector();
    // SAFETY: tokens were checked to be rows of the table; units past a row's end do nothing.
    unsafe {
        rows::launch_unchecked(
            &gpu.client,
            CubeCount::Static(table.chunks().div_ceil(UNITS as usize) as u32, count as u32, 1),
            CubeDim::new_1d(UNITS),
            width,
            table.quants.vectors(width),
            table.details.arg(),
            tokens.arg(),
            output.buffer.arg(),
            table.columns as u32,
            table.chunks() as u32,
            output.stride as u32,
            multiplier,
            table.encoding,
        );
    }
}

#[cube(launch_unchecked)]
fn rows<W: Size>(
    quants: &[Vector<u32, W>],
    details: &[u32],
    tokens: &[u32],
    output: &mut [f32],
    columns: u32,
    chunks: u32,
    output_stride: u32,
    multiplier: f32,
    #[comptime] encoding: Encoding,
) {
    let chunk = CUBE_POS_X * UNITS + UNIT_POS_X;
    if chunk < chunks {
        let row = tokens[CUBE_POS_Y as usize] as usize;
        let weights = eight::<W>(quants, details, row, chunk as usize, chunks as usize, encoding);
        let scale = Four::new(weights.scale * multiplier);
        let offset = Four::new(weights.offset * multiplier);
        let low = weights.low * scale + offset;
        let high = weights.high * scale + offset;
        let start = CUBE_POS_Y * output_stride;
        #[unroll]
        for index in 0..4usize {
            let column = 8 * chunk + comptime!(index as u32);
            if column < columns {
                output[(start + column) as usize] = low.extract(index);
            }
            if column + 4 < columns {
                output[(start + column + 4) as usize] = high.extract(index);
            }
        }
    }
}
