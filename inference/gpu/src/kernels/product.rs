//! Input times weights.
//!
//! Decoding multiplies few tokens, so its time is that of reading the weights once: a run of lanes
//! reads a few rows side by side, and every weight meets all tokens of its tile in registers. Of more
//! tokens, cubes side by side take tiles of the same rows, which the device's caches hold by then.
//!
//! Prompts multiply many, so that the time is that of the arithmetic: [`tiled`](super::tiled).
//!
//! A product is summed in the same order by both, whatever the tile ([`CLASSES`](super::reading::CLASSES)): a token's results
//! do not depend on how many others are multiplied with it.

use cubecl::prelude::*;

use super::activation::{Activation, activated};
use super::experts::Groups;
use super::norm::Norm;
use super::reading::{Extent, ROWS, RUNS, Reading, part, row_sums, tile};
use super::tiled;
use super::weights::Four;
use crate::device::{Buffer, Gpu};
use crate::matrix::Matrix;

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
    /// The tokens of each matrix, where there are enough to be multiplied together.
    pub(crate) groups: Option<Groups<'a>>,
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
    /// Of at most [`MOST_NORMED`](super::reading::MOST_NORMED) tokens, and of whole chunks.
    pub(crate) norm: Option<Norm<'a>>,
}

impl<'a> From<Rows<'a>> for Input<'a> {
    fn from(rows: Rows<'a>) -> Self {
        Self { rows, norm: None }
    }
}

/// What of a product its kernel is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    reading: Reading,
    finish: Epilogue,
    chosen: bool,
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
    let grouped = choice.and_then(|choice| Some((choice, choice.groups?)));
    if norm.is_none() && (grouped.is_some() || choice.is_none() && tiled::pays(gpu, matrix, tokens)) {
        return tiled::multiply(gpu, matrix, input, output, tokens, finish, grouped);
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
