//! Queries, keys and values of few tokens in one launch: hidden states are normalized on the way in, and on the way out
//! queries and keys are rotated, keys and values put into their pages.
//!
//! The same numbers to the last bit as by a [norm](super::norm), a [product](super::product) and
//! [positions](super::positions) one after the other.

#[cfg(test)]
mod tests;

use codriver_kernels::PageFormat;
use cubecl::prelude::*;

use super::norm::Norm;
use super::pages::{Location, halves};
use super::positions::{Config, Positions, rotated};
use super::product::Rows;
use super::reading::{Extent, MOST_NORMED, ROWS, RUNS, Reading, part, row_sums, tile};
use super::weights::Four;
use crate::device::{Buffer, Gpu};
use crate::matrix::{CHUNK, Matrix};
use crate::pool::LayerPages;

/// Pairs of a head's dimensions that a run of lanes computes.
const PAIRS: usize = ROWS / 2;

/// What is computed of hidden states.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Projection<'a> {
    pub(crate) norm: Norm<'a>,
    /// Queries' rows, then keys' and values'.
    pub(crate) matrix: &'a Matrix,
    pub(crate) bias: Option<&'a Buffer>,
    pub(crate) positions: Positions<'a>,
}

impl Projection<'_> {
    /// Whether so many tokens are projected at once. Where heads are normalized, or scaled as bytes are, a cube would
    /// need whole ones; and neighbours that share a word have to turn with neighbours.
    pub(crate) fn fits(&self, tokens: usize) -> bool {
        let positions = &self.positions;
        tokens <= MOST_NORMED
            && self.norm.size.is_multiple_of(CHUNK)
            && positions.norms.is_none()
            && positions.shape.head_dim.is_multiple_of(4)
            && match positions.shape.format {
                PageFormat::F32 => true,
                PageFormat::F16 => positions.turn.is_none_or(|turn| turn.pairs.is_multiple_of(PAIRS)),
                PageFormat::Q8 => false,
            }
    }

    /// Puts queries into rows of `projected`, keys and values into the layer's pages.
    pub(crate) fn apply(&self, gpu: &Gpu, hidden: Rows<'_>, projected: Rows<'_>, pages: &LayerPages, tokens: usize) {
        let Self { norm, matrix, bias, positions } = self;
        let (cosines, sines) =
            positions.turn.map_or((positions.slots, positions.slots), |turn| (turn.cosines, turn.sines));
        let cubes = matrix.rows.div_ceil(ROWS * RUNS as usize);
        // SAFETY: rows and tokens past the last are not written, and reads of them are reads of the last; chunks past
        // the last are not read; slots lie in the pool.
        unsafe {
            project::launch_unchecked(
                &gpu.client,
                CubeCount::Static(1, cubes as u32, 1),
                CubeDim::new_2d(gpu.lanes(), RUNS),
                matrix.encoding.vector(),
                matrix.quants.vectors(matrix.encoding.vector()),
                matrix.details.arg(),
                hidden.buffer.vectors(4),
                norm.weight.vectors(4),
                bias.unwrap_or(&matrix.details).arg(),
                cosines.arg(),
                sines.arg(),
                positions.slots.arg(),
                projected.buffer.arg(),
                pages.keys.arg(),
                pages.values.arg(),
                matrix.rows as u32,
                matrix.chunks() as u32,
                part(gpu, matrix),
                tokens as u32,
                (hidden.stride / 4) as u32,
                projected.stride as u32,
                norm.epsilon,
                bias.is_some(),
                positions.config(),
                Reading::of(gpu, matrix.encoding, tile(tokens), true),
            );
        }
    }
}

#[cube(launch_unchecked)]
fn project<W: Size>(
    quants: &[Vector<u32, W>],
    details: &[u32],
    hidden: &[Four],
    norm: &[Four],
    bias: &[f32],
    cosines: &[f32],
    sines: &[f32],
    slots: &[u32],
    projected: &mut [f32],
    keys: &mut [u32],
    values: &mut [u32],
    rows: u32,
    chunks: u32,
    part: u32,
    tokens: u32,
    hidden_stride: u32,
    projected_stride: u32,
    epsilon: f32,
    #[comptime] biased: bool,
    #[comptime] config: Config,
    #[comptime] reading: Reading,
) {
    let tile = comptime!(reading.tokens);
    let half = comptime!(config.head_dim() / 2);
    let pairs = comptime!(config.pairs);
    let first_pair = (CUBE_POS_Y * CUBE_DIM_Y + UNIT_POS_Y) * comptime!(PAIRS as u32);
    // What turns together, or what is left of a head.
    let mut heads = Array::<u32>::new(comptime!(PAIRS));
    let mut firsts = Array::<u32>::new(comptime!(PAIRS));
    let mut seconds = Array::<u32>::new(comptime!(PAIRS));
    let mut matrix_rows = Array::<u32>::new(comptime!(ROWS));
    #[unroll]
    for index in 0..comptime!(PAIRS) {
        let pair = min(first_pair + comptime!(index as u32), rows / 2 - 1);
        let within = pair % half;
        heads[index] = pair / half;
        if within < pairs {
            firsts[index] = within;
            seconds[index] = within + pairs;
        } else {
            firsts[index] = 2 * within;
            seconds[index] = 2 * within + 1;
        }
        let start = heads[index] * comptime!(config.head_dim());
        matrix_rows[comptime!(2 * index)] = start + firsts[index];
        matrix_rows[comptime!(2 * index + 1)] = start + seconds[index];
    }
    let extent = Extent { chunks, part, first_token: 0u32, tokens, stride: hidden_stride, share: 1u32 };
    let mut totals = Array::<f32>::new(comptime!(reading.sums()));
    row_sums::<W>(quants, details, hidden, norm, &matrix_rows, &mut totals, extent, epsilon, reading);
    if UNIT_POS_X == 0 {
        #[unroll]
        for token in 0..tile {
            let of_token = comptime!(token as u32).runtime();
            if of_token < tokens {
                let slot = slots[of_token as usize];
                let mut numbers = Array::<f32>::new(comptime!(ROWS));
                #[unroll]
                for index in 0..comptime!(PAIRS) {
                    let mut first = totals[comptime!(2 * index * tile + token)];
                    let mut second = totals[comptime!((2 * index + 1) * tile + token)];
                    if comptime!(biased) {
                        first += bias[matrix_rows[comptime!(2 * index)] as usize];
                        second += bias[matrix_rows[comptime!(2 * index + 1)] as usize];
                    }
                    let head = heads[index];
                    if comptime!(pairs > 0) {
                        if head < comptime!(config.first_value()) && firsts[index] < pairs {
                            let at = (of_token * pairs + firsts[index]) as usize;
                            let turned = rotated(first, 0.0f32 - second, cosines[at], sines[at]);
                            second = rotated(second, first, cosines[at], sines[at]);
                            first = turned;
                        }
                    }
                    if first_pair + comptime!(index as u32) < rows / 2 {
                        let row = of_token * projected_stride;
                        put(projected, keys, values, first, row, slot, head, firsts[index], config);
                        put(projected, keys, values, second, row, slot, head, seconds[index], config);
                    }
                    numbers[comptime!(2 * index)] = first;
                    numbers[comptime!(2 * index + 1)] = second;
                }
                if comptime!(config.shape.format == PageFormat::F16) {
                    // Both pairs are of one head, of which an even number turns.
                    if first_pair < rows / 2 {
                        if firsts[0] < pairs {
                            put_halves(keys, values, numbers[0], numbers[2], slot, heads[0], firsts[0], config);
                            put_halves(keys, values, numbers[1], numbers[3], slot, heads[0], seconds[0], config);
                        } else {
                            put_halves(keys, values, numbers[0], numbers[1], slot, heads[0], firsts[0], config);
                            put_halves(keys, values, numbers[2], numbers[3], slot, heads[0], firsts[1], config);
                        }
                    }
                }
            }
        }
    }
}

/// Writes a number of a head where it belongs: a query's into its row; a key's or a value's, where it has a word of its
/// own, into the page of its slot.
#[cube]
fn put(
    projected: &mut [f32],
    keys: &mut [u32],
    values: &mut [u32],
    number: f32,
    row: u32,
    slot: u32,
    head: u32,
    dimension: u32,
    #[comptime] config: Config,
) {
    if head < comptime!(config.first_key()) {
        projected[(row + head * comptime!(config.head_dim()) + dimension) as usize] = number;
    } else if comptime!(config.shape.format == PageFormat::F32) {
        put_word(keys, values, u32::reinterpret(number), slot, head, dimension, config);
    }
}

/// Writes the neighbours from `dimension` on of a key or value, numbers of 16 bits, into the page of their slot.
#[cube]
fn put_halves(
    keys: &mut [u32],
    values: &mut [u32],
    first: f32,
    second: f32,
    slot: u32,
    head: u32,
    dimension: u32,
    #[comptime] config: Config,
) {
    if head >= comptime!(config.first_key()) {
        put_word(keys, values, halves(first, second), slot, head, dimension / 2, config);
    }
}

/// Writes a word of a key or value into the page of its slot.
#[cube]
fn put_word(
    keys: &mut [u32],
    values: &mut [u32],
    word: u32,
    slot: u32,
    head: u32,
    number: u32,
    #[comptime] config: Config,
) {
    let shape = comptime!(config.shape);
    if head < comptime!(config.first_value()) {
        let place = Location::of_slot(slot, head - comptime!(config.first_key()), shape);
        keys[(place.key(shape) + number * comptime!(shape.page as u32)) as usize] = word;
    } else {
        let place = Location::of_slot(slot, head - comptime!(config.first_value()), shape);
        values[(place.value(shape) + number) as usize] = word;
    }
}
