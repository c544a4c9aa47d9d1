//! Input times weights.
//!
//! Decoding multiplies few tokens, so its time is that of reading the weights once: a run of lanes
//! reads a few rows side by side, and every weight meets all tokens of its tile in registers. Of more
//! tokens, cubes side by side take tiles of the same rows, which the device's caches hold by then.
//!
//! Prompts multiply many, so that the time is that of the arithmetic: [`tiled`](super::tiled).
//!
//! A product is summed in the same order by both, whatever the tile ([`CLASSES`]): a token's results
//! do not depend on how many others are multiplied with it.

use cubecl::prelude::*;

use super::activation::{Activation, activated};
use super::norm::{Norm, row_factor};
use super::reduce::ordered_sums;
use super::tiled;
use super::weights::{Eight, Four, eight};
use crate::device::{Buffer, Gpu};
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

/// What becomes of a product.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Finish<'a> {
    /// Added to each product, a value a row.
    pub(crate) bias: Option<&'a Buffer>,
    /// The rows are two halves, of which the first gates the second: so many rows come out.
    pub(crate) gate: Option<Activation>,
    /// Added to what the output holds instead of written over it.
    pub(crate) adds: bool,
    /// What the product, or what is added, is multiplied by.
    pub(crate) multiplier: f32,
    /// Values are bent to stay below this.
    pub(crate) cap: Option<f32>,
}

/// One of several matrices below each other for each token: an expert.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice<'a> {
    /// The number of each token's matrix.
    pub(crate) chosen: &'a Buffer,
    /// Rows of one of the matrices.
    pub(crate) rows: usize,
    /// So many neighbouring outputs have one input.
    pub(crate) share: usize,
}

/// Where a product's input or output lies: rows of `stride` values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) buffer: &'a Buffer,
    pub(crate) stride: usize,
    /// Where in a row its values begin.
    pub(crate) start: usize,
}

/// A product's input: rows as they are, or normalized on the way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) rows: Rows<'a>,
    /// Of at most [`MOST_NORMED`] tokens, and of whole chunks.
    pub(crate) norm: Option<Norm<'a>>,
}

impl<'a> From<Rows<'a>> for Input<'a> {
    fn from(rows: Rows<'a>) -> Self {
        Self { rows, norm: None }
    }
}

/// Units of a cube.
pub(crate) fn units(gpu: &Gpu) -> u32 {
    gpu.lanes() * RUNS
}

/// What of a product its kernel is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    reading: Reading,
    finish: Epilogue,
    chosen: bool,
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

/// [`Finish`], as kernels are told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Epilogue {
    pub(super) bias: bool,
    pub(super) gate: Option<Activation>,
    pub(super) adds: bool,
    pub(super) capped: bool,
}

impl Finish<'_> {
    pub(crate) fn plain() -> Self {
        Self { multiplier: 1.0, ..Self::default() }
    }

    pub(super) fn epilogue(&self) -> Epilogue {
        Epilogue { bias: self.bias.is_some(), gate: self.gate, adds: self.adds, capped: self.cap.is_some() }
    }
}

/// `input` times the transposed `matrix`, for `tokens` rows of input. The input's rows are padded
/// with finite numbers to eights of columns.
pub(crate) fn multiply<'a>(
    gpu: &Gpu,
    matrix: &Matrix,
    input: impl Into<Input<'a>>,
    output: Rows<'_>,
    tokens: usize,
    finish: &Finish<'_>,
    choice: Option<Choice<'_>>,
) {
    let Input { rows: input, norm } = input.into();
    if choice.is_none() && norm.is_none() && tiled::pays(gpu, matrix, tokens) {
        return tiled::multiply(gpu, matrix, input, output, tokens, finish);
    }
    let of_matrix = choice.map_or(matrix.rows, |choice| choice.rows);
    let tokens_a_tile = if choice.is_some() { 1 } else { tile(tokens) };
    let outputs = if finish.gate.is_some() { of_matrix / 2 } else { of_matrix };
    let outputs_a_run = if finish.gate.is_some() { ROWS / 2 } else { ROWS };
    let shape = Shape {
        reading: Reading::of(gpu, matrix.encoding, tokens_a_tile, norm.is_some()),
        finish: finish.epilogue(),
        chosen: choice.is_some(),
    };
    let cubes = outputs.div_ceil(outputs_a_run * RUNS as usize);
    // SAFETY: rows and tokens past the last are not written, and reads of them are reads of the
    // last; chunks past the last are not read; chosen matrices are those of the router.
    unsafe {
        product::launch_unchecked(
            &gpu.client,
            CubeCount::Static(tokens.div_ceil(tokens_a_tile) as u32, cubes as u32, 1),
            CubeDim::new_2d(gpu.lanes(), RUNS),
            matrix.encoding.vector(),
            matrix.quants.vectors(matrix.encoding.vector()),
            matrix.details.arg(),
            input.buffer.vectors(4),
            norm.map_or(input.buffer, |norm| norm.weight).vectors(4),
            finish.bias.unwrap_or(&matrix.details).arg(),
            choice.map_or(&matrix.details, |choice| choice.chosen).arg(),
            output.buffer.arg(),
            of_matrix as u32,
            matrix.chunks() as u32,
            part(gpu, matrix),
            tokens as u32,
            (input.stride / 4) as u32,
            output.stride as u32,
            output.start as u32,
            choice.map_or(1, |choice| choice.share) as u32,
            norm.map_or(1.0, |norm| norm.epsilon),
            finish.multiplier,
            finish.cap.unwrap_or(1.0),
            shape,
        );
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

#[cube(launch_unchecked)]
fn product<W: Size>(
    quants: &[Vector<u32, W>],
    details: &[u32],
    input: &[Four],
    norm: &[Four],
    bias: &[f32],
    chosen: &[u32],
    output: &mut [f32],
    rows: u32,
    chunks: u32,
    part: u32,
    tokens: u32,
    input_stride: u32,
    output_stride: u32,
    output_start: u32,
    share: u32,
    epsilon: f32,
    multiplier: f32,
    cap: f32,
    #[comptime] shape: Shape,
) {
    let run = CUBE_POS_Y * CUBE_DIM_Y + UNIT_POS_Y;
    let gated = comptime!(shape.finish.gate.is_some());
    let side_by_side = comptime!(ROWS);
    let tile = comptime!(shape.reading.tokens);
    let outputs_a_run = comptime!((if gated { ROWS / 2 } else { ROWS }) as u32);
    let outputs = if gated { rows / 2 } else { rows };
    let first_output = run * outputs_a_run;
    let first_token = CUBE_POS_X * comptime!(tile as u32);

    let mut first_row = 0u32;
    if comptime!(shape.chosen) {
        first_row = chosen[first_token as usize] * rows;
    }
    let mut matrix_rows = Array::<u32>::new(side_by_side);
    #[unroll]
    for index in 0..side_by_side {
        if gated {
            // A gate and what it gates, in turn.
            let row = min(first_output + comptime!((index / 2) as u32), outputs - 1);
            matrix_rows[index] = first_row + row + comptime!((index % 2) as u32) * outputs;
        } else {
            matrix_rows[index] = first_row + min(first_output + comptime!(index as u32), rows - 1);
        }
    }
    let extent = Extent { chunks, part, first_token, tokens, stride: input_stride, share };
    let mut totals = Array::<f32>::new(comptime!(shape.reading.sums()));
    row_sums::<W>(quants, details, input, norm, &matrix_rows, &mut totals, extent, epsilon, shape.reading);
    if UNIT_POS_X == 0 {
        #[unroll]
        for token in 0..tile {
            let of_token = first_token + comptime!(token as u32);
            #[unroll]
            for index in 0..comptime!(outputs_a_run as usize) {
                let row = first_output + comptime!(index as u32);
                if of_token < tokens && row < outputs {
                    let at = (of_token * output_stride + output_start + row) as usize;
                    if gated {
                        let gate = totals[comptime!(2 * index * tile + token)];
                        let value = totals[comptime!((2 * index + 1) * tile + token)];
                        output[at] = gated_value(gate, value, row, outputs, bias, shape.finish);
                    } else {
                        let total = totals[comptime!(index * tile + token)];
                        let mut held = 0.0f32;
                        if comptime!(shape.finish.adds) {
                            held = output[at];
                        }
                        output[at] = finished(total, row, held, bias, multiplier, cap, shape.finish);
                    }
                }
            }
        }
    }
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

/// What is written for a gate and what it gates.
#[cube]
pub(super) fn gated_value(
    gate: f32,
    value: f32,
    row: u32,
    outputs: u32,
    bias: &[f32],
    #[comptime] finish: Epilogue,
) -> f32 {
    let mut gate = gate;
    let mut value = value;
    if comptime!(finish.bias) {
        gate += bias[row as usize];
        value += bias[(row + outputs) as usize];
    }
    activated(gate, finish.gate) * value
}

/// What is written for a product where the output holds `held`.
#[cube]
pub(super) fn finished(
    total: f32,
    row: u32,
    held: f32,
    bias: &[f32],
    multiplier: f32,
    cap: f32,
    #[comptime] finish: Epilogue,
) -> f32 {
    let mut value = total;
    if comptime!(finish.bias) {
        value += bias[row as usize];
    }
    value *= multiplier;
    if comptime!(finish.capped) {
        value = (value / cap).tanh() * cap;
    }
    if comptime!(finish.adds) {
        value += held;
    }
    value
}
