//! Products of many tokens: tiles of weights and of input in shared memory, each number of which
//! meets a row or a column of the other tile.

use cubecl::prelude::*;

use super::product::{Epilogue, Finish, Rows, finished};
use super::weights::{Four, eight, four};
use crate::device::Gpu;
use crate::matrix::{Encoding, Matrix};

/// Tokens, rows of weights and columns in a tile; a unit holds four by four products.
const TOKENS: u32 = 64;
const ROWS: u32 = 64;
const COLUMNS: u32 = 32;
/// Units in a cube, along each of its two sides.
const SIDE: u32 = 16;

/// [`super::product::multiply`] for more tokens than one of its tiles.
pub(crate) fn multiply(
    gpu: &Gpu,
    matrix: &Matrix,
    input: Rows<'_>,
    output: Rows<'_>,
    tokens: usize,
    finish: &Finish<'_>,
) {
    let width = matrix.encoding.vector();
    // SAFETY: rows and tokens past the last are not written, and reads of them are reads of the
    // last; chunks past the last are taken for zeros.
    unsafe {
        tile::launch_unchecked(
            &gpu.client,
            CubeCount::Static(
                matrix.rows.div_ceil(ROWS as usize) as u32,
                tokens.div_ceil(TOKENS as usize) as u32,
                1,
            ),
            CubeDim::new_2d(SIDE, SIDE),
            width,
            matrix.quants.vectors(width),
            matrix.details.arg(),
            input.buffer.vectors(4),
            finish.bias.unwrap_or(&matrix.details).arg(),
            output.buffer.arg(),
            matrix.rows as u32,
            matrix.chunks() as u32,
            tokens as u32,
            (input.stride / 4) as u32,
            output.stride as u32,
            output.start as u32,
            finish.multiplier,
            finish.cap.unwrap_or(1.0),
            matrix.encoding,
            finish.epilogue(),
        );
    }
}

#[cube(launch_unchecked)]
fn tile<W: Size>(
    quants: &[Vector<u32, W>],
    details: &[u32],
    input: &[Vector<f32, Const<4>>],
    bias: &[f32],
    output: &mut [f32],
    rows: u32,
    chunks: u32,
    tokens: u32,
    input_stride: u32,
    output_stride: u32,
    output_start: u32,
    multiplier: f32,
    cap: f32,
    #[comptime] encoding: Encoding,
    #[comptime] finish: Epilogue,
) {
    let unit = UNIT_POS_Y * SIDE + UNIT_POS_X;
    let first_row = CUBE_POS_X * ROWS;
    let first_token = CUBE_POS_Y * TOKENS;
    // Both by column, and by four rows or tokens in it.
    let mut weights_tile = Shared::<[f32]>::new_slice(comptime!((COLUMNS * ROWS) as usize));
    let mut input_tile = Shared::<[f32]>::new_slice(comptime!((COLUMNS * TOKENS) as usize));
    // Four rows for each of four tokens.
    let mut sums = Array::<Four>::new(4usize);
    #[unroll]
    for token in 0..4usize {
        sums[token] = Four::new(0.0f32);
    }
    // A unit reads a chunk of a row and of a token.
    let own = unit / 4;
    let own_chunk = unit % 4;
    let row = min(first_row + own, rows - 1);
    let token = min(first_token + own, tokens - 1);
    let mut first_chunk = 0u32;
    while first_chunk < chunks {
        let chunk = first_chunk + own_chunk;
        sync_cube();
        if chunk < chunks {
            let weights = eight::<W>(quants, details, row as usize, chunk as usize, chunks as usize, encoding);
            let scale = Four::new(weights.scale);
            let offset = Four::new(weights.offset);
            spread(weights.low * scale + offset, &mut weights_tile, own_chunk * 8, own);
            spread(weights.high * scale + offset, &mut weights_tile, own_chunk * 8 + 4, own);
            let at = (token * input_stride + 2 * chunk) as usize;
            spread(input[at], &mut input_tile, own_chunk * 8, own);
            spread(input[at + 1], &mut input_tile, own_chunk * 8 + 4, own);
        } else {
            let zero = Four::new(0.0f32);
            spread(zero, &mut weights_tile, own_chunk * 8, own);
            spread(zero, &mut weights_tile, own_chunk * 8 + 4, own);
            spread(zero, &mut input_tile, own_chunk * 8, own);
            spread(zero, &mut input_tile, own_chunk * 8 + 4, own);
        }
        sync_cube();
        for column in 0..COLUMNS {
            let of_rows = (column * ROWS + 4 * UNIT_POS_X) as usize;
            let of_tokens = (column * TOKENS + 4 * UNIT_POS_Y) as usize;
            let weights = four(
                weights_tile[of_rows],
                weights_tile[of_rows + 1],
                weights_tile[of_rows + 2],
                weights_tile[of_rows + 3],
            );
            #[unroll]
            for token in 0..4usize {
                sums[token] += weights * Four::new(input_tile[of_tokens + token]);
            }
        }
        first_chunk += 4;
    }
    #[unroll]
    for index in 0..4usize {
        let token = first_token + 4 * UNIT_POS_Y + comptime!(index as u32);
        #[unroll]
        for lane in 0..4usize {
            let row = first_row + 4 * UNIT_POS_X + comptime!(lane as u32);
            if token < tokens && row < rows {
                let at = (token * output_stride + output_start + row) as usize;
                let total = sums[index].extract(lane);
                output[at] = finished(total, row, output[at], bias, multiplier, cap, finish);
            }
        }
    }
}

/// Puts four neighbouring columns of a row into a tile.
#[cube]
fn spread(values: Four, tile: &mut Shared<[f32]>, column: u32, row: u32) {
    #[unroll]
    for index in 0..4usize {
        tile[((column + comptime!(index as u32)) * ROWS + row) as usize] = values.extract(index);
    }
}
