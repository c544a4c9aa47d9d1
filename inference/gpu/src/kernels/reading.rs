//! Rows of weights times the tokens of a tile: what a cube of few tokens reads, and in which order it adds up.

use cubecl::prelude::*;

use super::norm::row_factor;
use super::reduce::ordered_sums;
use super::weights::{Eight, Four, eight};
use crate::device::Gpu;
use crate::matrix::{Encoding, Matrix};

/// Tokens that a tile takes at most.
const TILE: usize = 8;
/// Tokens of which a product normalizes its input itself: one tile.
pub(crate) const MOST_NORMED: usize = TILE;
/// Rows of weights that a run of lanes reads side by side. Without planes, the sums of a cube's units
/// are 16 KiB of shared memory, which is all that some devices have.
pub(super) const ROWS: usize = 4;
/// Runs of lanes in a cube.
pub(super) const RUNS: u32 = 4;
/// The order of sums. A row's chunks are cut into as many parts as runs have this many lanes. In a
/// part, each chunk belongs to the class of its number modulo this: chunks of a class are added one
/// after the other, classes by halves, and parts from the first to the last.
pub(crate) const CLASSES: u32 = 8;

/// Units of a cube.
pub(crate) fn units(gpu: &Gpu) -> u32 {
    gpu.lanes() * RUNS
}

/// How runs of lanes read weights and input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Reading {
    pub(super) encoding: Encoding,
    /// Of a tile.
    pub(super) tokens: usize,
    pub(super) lanes: u32,
    pub(super) planes: bool,
    pub(super) normed: bool,
}

impl Reading {
    pub(super) fn of(gpu: &Gpu, encoding: Encoding, tokens: usize, normed: bool) -> Self {
        Self { encoding, tokens, lanes: gpu.lanes(), planes: gpu.plane.is_some(), normed }
    }

    fn plane(self) -> Option<u32> {
        self.planes.then_some(self.lanes)
    }

    fn units(self) -> u32 {
        self.lanes * RUNS
    }

    /// Sums of a unit.
    pub(super) fn sums(self) -> usize {
        ROWS * self.tokens
    }

    /// Numbers in shared memory.
    pub(super) fn shared(self) -> usize {
        match (self.planes, self.normed) {
            (true, false) => 1,
            (true, true) => self.units() as usize,
            (false, _) => self.sums() * self.units() as usize,
        }
    }
}

/// Tokens of a tile, for so many.
pub(super) fn tile(tokens: usize) -> usize {
    tokens.next_power_of_two().min(TILE)
}

/// Chunks in a part of a row.
pub(super) fn part(gpu: &Gpu, matrix: &Matrix) -> u32 {
    (matrix.chunks() as u32).div_ceil(gpu.lanes()) * CLASSES
}

/// Where a cube reads.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Extent {
    /// Of a row, and of a part of it.
    pub(super) chunks: u32,
    pub(super) part: u32,
    pub(super) first_token: u32,
    pub(super) tokens: u32,
    /// Vectors from a row of input to the next.
    pub(super) stride: u32,
    /// So many neighbouring outputs have one input.
    pub(super) share: u32,
}

/// The products of a run's rows with the tokens of a tile, token by token and row by row, in the first lane of the run
/// at least. All units of the cube call this together, once.
#[cube]
pub(super) fn row_sums<W: Size>(
    quants: &[Vector<u32, W>],
    details: &[u32],
    input: &[Four],
    norm: &[Four],
    matrix_rows: &Array<u32>,
    totals: &mut Array<f32>,
    extent: Extent,
    epsilon: f32,
    #[comptime] reading: Reading,
) {
    let lane = UNIT_POS_X;
    let tile = comptime!(reading.tokens);
    let count = comptime!(reading.sums());
    let mut shared = Shared::<[f32]>::new_slice(comptime!(reading.shared()));
    let mut input_rows = Array::<u32>::new(tile);
    let mut factors = Array::<f32>::new(tile);
    #[unroll]
    for token in 0..tile {
        let row = min(extent.first_token + comptime!(token as u32), extent.tokens - 1) / extent.share;
        input_rows[token] = row * extent.stride;
        if comptime!(reading.normed) {
            let size = 8 * extent.chunks;
            let (units, plane) = comptime!((reading.units(), reading.plane()));
            factors[token] = row_factor(input, input_rows[token], size, epsilon, &mut shared, units, plane);
            sync_cube();
        }
    }
    #[unroll]
    for index in 0..count {
        totals[index] = 0.0f32;
    }
    let of_part = lane / CLASSES;
    let end = min((of_part + 1) * extent.part, extent.chunks);
    let mut chunk = of_part * extent.part + lane % CLASSES;
    while chunk < end {
        let mut lows = Array::<Four>::new(tile);
        let mut highs = Array::<Four>::new(tile);
        // Of what offsets are multiplied by.
        let mut wholes = Array::<f32>::new(tile);
        #[unroll]
        for token in 0..tile {
            let at = (input_rows[token] + 2 * chunk) as usize;
            lows[token] = input[at];
            highs[token] = input[at + 1];
            if comptime!(reading.normed) {
                let factor = Four::new(factors[token]);
                lows[token] = lows[token] * factor * norm[(2 * chunk) as usize];
                highs[token] = highs[token] * factor * norm[(2 * chunk + 1) as usize];
            }
            if comptime!(reading.encoding.has_offset()) {
                wholes[token] = whole(lows[token], highs[token]);
            }
        }
        #[unroll]
        for index in 0..comptime!(ROWS) {
            let row = matrix_rows[index] as usize;
            let weights = eight::<W>(quants, details, row, chunk as usize, extent.chunks as usize, reading.encoding);
            #[unroll]
            for token in 0..tile {
                let at = comptime!(index * tile + token);
                let of_token = Pair { low: lows[token], high: highs[token] };
                totals[at] = added(totals[at], &weights, &of_token, wholes[token], reading.encoding);
            }
        }
        chunk += CLASSES;
    }
    ordered_sums(totals, &mut shared, count, comptime!(reading.units()), reading.lanes, reading.planes);
}

/// Eight numbers of an input's row.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Pair {
    pub(super) low: Four,
    pub(super) high: Four,
}

/// A sum with a chunk's products added, where `whole` is that of the input's numbers. Every rounding
/// is spelled out, for compilers that fuse as they like.
#[cube]
pub(super) fn added(total: f32, weights: &Eight, input: &Pair, whole: f32, #[comptime] encoding: Encoding) -> f32 {
    if comptime!(encoding.is_scaled()) {
        let product = chained(chained(0.0f32, weights.low, input.low), weights.high, input.high);
        let scaled = fma(product, weights.scale, total);
        if comptime!(encoding.has_offset()) { fma(whole, weights.offset, scaled) } else { scaled }
    } else {
        chained(chained(total, weights.low, input.low), weights.high, input.high)
    }
}

#[cube]
fn chained(start: f32, left: Four, right: Four) -> f32 {
    let mut sum = start;
    #[unroll]
    for index in 0..4usize {
        sum = fma(left.extract(index), right.extract(index), sum);
    }
    sum
}

/// The sum of eight numbers.
#[cube]
pub(super) fn whole(low: Four, high: Four) -> f32 {
    let four = low + high;
    (four.extract(0usize) + four.extract(1usize)) + (four.extract(2usize) + four.extract(3usize))
}
