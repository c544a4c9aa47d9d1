//! Products of many tokens, in tiles that cubes hold in shared memory.
//!
//! A cube multiplies a tile of tokens with a tile of rows, eight chunks of columns at a time: its
//! units bring each input number and each unpacked weight into shared memory once, while they
//! multiply what they brought before. A unit sums the chunks of one class ([`CLASSES`]) of eight
//! tokens times eight rows in registers, so that every number it reads is used eight times, and the
//! order of sums is that of [`product`](super::product).
//!
//! A prompt's tokens that go through one expert of a mixture are a tile, too, wherever they stand ([`Groups`]).

mod tile;

use cubecl::ir::HardwareProperties;
use cubecl::prelude::*;

use self::tile::Tile;
use super::experts::{Groups, TILE_WORDS};
use super::product::{Choice, Epilogue, Finish, Rows, finished, gated_value};
use super::reading::{CLASSES, part};
use super::weights::{Four, eight};
use crate::device::Gpu;
use crate::matrix::{Encoding, Matrix};

/// Units in a cube: eights that share a square of eight tokens and eight rows.
const UNITS: u32 = 256;
/// Tokens, and rows, of a square.
const SIDE: usize = 8;
/// Squares in a cube.
const SQUARES: usize = UNITS as usize / CLASSES as usize;
/// Tokens of the smallest tile.
pub(super) const SMALLEST: usize = 4 * SIDE;
/// Vectors of four numbers that a token or a row has in a tile.
const VECTORS: usize = 2 * CLASSES as usize;
/// Tokens from which on tiles pay: those of more than three tiles of the other kernel, which unpacks the
/// weights again for each. On Mesa's software device 17 tokens take either the same time, 32 take tiles
/// two thirds of it.
const FEWEST: usize = 25;
/// What of a product its kernel is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    encoding: Encoding,
    /// Squares of a cube along its tokens: 4 or 8. There are [`SQUARES`] in all.
    wide: usize,
    finish: Epilogue,
    /// Whether tokens are in groups, of a matrix each.
    grouped: bool,
}

impl Shape {
    fn of(encoding: Encoding, tokens: usize, finish: Epilogue) -> Self {
        Self { encoding, wide: tile_tokens(tokens) / SIDE, finish, grouped: false }
    }

    fn tokens(self) -> usize {
        SIDE * self.wide
    }

    fn rows(self) -> usize {
        SIDE * (SQUARES / self.wide)
    }

    /// Scales of weights in a tile, and what is added to them.
    fn scales(self) -> usize {
        if self.encoding.is_scaled() { self.rows() * CLASSES as usize } else { 1 }
    }

    fn offsets(self) -> usize {
        if self.encoding.has_offset() { self.rows() * CLASSES as usize } else { 1 }
    }

    /// Vectors of input, and chunks of rows, that a unit brings of each run of chunks.
    fn inputs_a_unit(self) -> usize {
        self.tokens() * VECTORS / UNITS as usize
    }

    fn chunks_a_unit(self) -> usize {
        self.rows() * CLASSES as usize / UNITS as usize
    }
}

/// Tokens of a tile, for so many.
pub(super) fn tile_tokens(tokens: usize) -> usize {
    if tokens <= SMALLEST { SMALLEST } else { 2 * SMALLEST }
}

/// Whether a device has room for tiles.
pub(crate) fn fits(hardware: &HardwareProperties) -> bool {
    // Numbers of twelve squares' sides, and two details a chunk of a row.
    let numbers = 4 * 4 * VECTORS * SIDE * 12;
    let details = 2 * 4 * CLASSES as usize * SIDE * 8;
    hardware.max_shared_memory_size >= numbers + details && hardware.max_units_per_cube >= UNITS
}

/// Whether a product is computed in tiles: where there are tokens to fill them, and tiles enough to
/// keep the whole device busy.
pub(super) fn pays(gpu: &Gpu, matrix: &Matrix, tokens: usize) -> bool {
    if !gpu.tiles || tokens < FEWEST {
        return false;
    }
    let shape = Shape::of(matrix.encoding, tokens, Finish::plain().epilogue());
    let cubes = tokens.div_ceil(shape.tokens()) * matrix.rows.div_ceil(shape.rows());
    let processors = gpu.client.properties().hardware.num_streaming_multiprocessors.unwrap_or(1);
    cubes >= processors as usize
}

/// [`multiply`](super::product::multiply), in tiles; with groups, of what chooses among matrices below each other.
pub(super) fn multiply(
    gpu: &Gpu,
    matrix: &Matrix,
    input: Rows<'_>,
    output: Rows<'_>,
    tokens: usize,
    finish: &Finish<'_>,
    grouped: Option<(Choice<'_>, Groups<'_>)>,
) {
    let plain = Shape::of(matrix.encoding, tokens, finish.epilogue());
    let (shape, tiles, rows, order, table) = match grouped {
        None => (plain, tokens.div_ceil(plain.tokens()), matrix.rows, &matrix.details, &matrix.details),
        Some((choice, groups)) => {
            let shape = Shape { wide: groups.tokens / SIDE, grouped: true, ..plain };
            (shape, groups.tiles, choice.rows, groups.order, groups.table)
        }
    };
    // SAFETY: rows and tokens past the last are not written, and reads of them are reads of the last,
    // as are reads of chunks past the last; groups are of tokens that there are.
    unsafe {
        product::launch_unchecked(
            &gpu.client,
            CubeCount::Static(tiles as u32, rows.div_ceil(shape.rows()) as u32, 1),
            CubeDim::new_1d(UNITS),
            matrix.encoding.vector(),
            matrix.quants.vectors(matrix.encoding.vector()),
            matrix.details.arg(),
            input.buffer.vectors(4),
            finish.bias.unwrap_or(&matrix.details).arg(),
            order.arg(),
            table.arg(),
            output.buffer.arg(),
            rows as u32,
            matrix.chunks() as u32,
            part(gpu, matrix) / CLASSES,
            tokens as u32,
            (input.stride / 4) as u32,
            output.stride as u32,
            output.start as u32,
            grouped.map_or(1, |(choice, _)| choice.share) as u32,
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
    bias: &[f32],
    order: &[u32],
    table: &[u32],
    output: &mut [f32],
    rows: u32,
    chunks: u32,
    // Runs of eight chunks in a part of a row.
    part: u32,
    tokens: u32,
    input_stride: u32,
    output_stride: u32,
    output_start: u32,
    share: u32,
    multiplier: f32,
    cap: f32,
    #[comptime] shape: Shape,
) {
    let unit = UNIT_POS_X;
    let class = unit % CLASSES;
    // A plane's units are four squares, two by two, which read the same few numbers.
    let square = unit / CLASSES;
    let half_wide = comptime!((shape.wide / 2) as u32);
    let across = 2 * ((square / 4) % half_wide) + square % 2;
    let down = 2 * ((square / 4) / half_wide) + (square / 2) % 2;
    let gated = comptime!(shape.finish.gate.is_some());
    let outputs = if gated { rows / 2 } else { rows };
    let outputs_a_square = comptime!((if gated { SIDE / 2 } else { SIDE }) as u32);
    let mut first_token = CUBE_POS_X * comptime!(shape.tokens() as u32);
    let mut end_token = tokens;
    let mut first_row = 0u32;
    if comptime!(shape.grouped) {
        // A tile of an expert's tokens, by their places in the order.
        let of_tile = CUBE_POS_X as usize * comptime!(TILE_WORDS);
        first_row = table[of_tile] * rows;
        first_token = table[of_tile + 1];
        end_token = table[of_tile + 2];
    }
    let first_output = CUBE_POS_Y * comptime!((SQUARES / shape.wide) as u32) * outputs_a_square;

    let mut tile = Tile {
        inputs: Shared::<[Four]>::new_slice(comptime!(shape.tokens() * VECTORS)),
        weights: Shared::<[Four]>::new_slice(comptime!(shape.rows() * VECTORS)),
        scales: Shared::<[f32]>::new_slice(comptime!(shape.scales())),
        offsets: Shared::<[f32]>::new_slice(comptime!(shape.offsets())),
    };
    let mut next = Array::<Four>::new(comptime!(shape.inputs_a_unit()));
    let mut next_lows = Array::<Four>::new(comptime!(shape.chunks_a_unit()));
    let mut next_highs = Array::<Four>::new(comptime!(shape.chunks_a_unit()));
    let mut next_scales = Array::<f32>::new(comptime!(shape.chunks_a_unit()));
    let mut next_offsets = Array::<f32>::new(comptime!(shape.chunks_a_unit()));
    let mut sums = Array::<f32>::new(comptime!(SIDE * SIDE));
    #[unroll]
    for index in 0..comptime!(SIDE * SIDE) {
        sums[index] = 0.0f32;
    }
    // Of the token of the square whose number is the unit's class, by rows.
    let mut totals = Array::<Four>::new(2usize);
    totals[0] = Four::new(0.0f32);
    totals[1] = Four::new(0.0f32);

    let mut runs = chunks.div_ceil(CLASSES);
    if comptime!(shape.grouped) {
        runs = select(first_token < end_token, runs, 0u32);
    }
    // One run more: what a pass brings, the next one multiplies.
    for pass in 0..runs + 1 {
        if pass > 0 {
            #[unroll]
            for index in 0..comptime!(shape.inputs_a_unit()) {
                tile.inputs[(unit + comptime!(index as u32 * UNITS)) as usize] = next[index];
            }
            #[unroll]
            for index in 0..comptime!(shape.chunks_a_unit()) {
                let at = unit + comptime!(index as u32 * UNITS);
                let vector = (at / CLASSES * comptime!(VECTORS as u32) + class) as usize;
                tile.weights[vector] = next_lows[index];
                tile.weights[vector + comptime!(CLASSES as usize)] = next_highs[index];
                if comptime!(shape.encoding.is_scaled()) {
                    tile.scales[at as usize] = next_scales[index];
                }
                if comptime!(shape.encoding.has_offset()) {
                    tile.offsets[at as usize] = next_offsets[index];
                }
            }
        }
        sync_cube();
        if pass < runs {
            #[unroll]
            for index in 0..comptime!(shape.inputs_a_unit()) {
                let at = unit + comptime!(index as u32 * UNITS);
                let mut token = min(first_token + at / comptime!(VECTORS as u32), end_token - 1);
                if comptime!(shape.grouped) {
                    token = order[token as usize] / share;
                }
                // A token's first halves of chunks, then the second ones: the units of a plane read all
                // of the chunks, and neighbours write to different banks of the shared memory.
                let vector = at % comptime!(VECTORS as u32);
                let chunk = min(pass * CLASSES + vector % CLASSES, chunks - 1);
                next[index] = input[(token * input_stride + 2 * chunk + vector / CLASSES) as usize];
            }
            #[unroll]
            for index in 0..comptime!(shape.chunks_a_unit()) {
                let of_tile = unit / CLASSES + comptime!(index as u32 * UNITS / CLASSES);
                let mut row = min(first_output + of_tile, rows - 1);
                if gated {
                    // A gate and what it gates, in turn.
                    row = min(first_output + of_tile / 2, outputs - 1) + of_tile % 2 * outputs;
                }
                let chunk = min(pass * CLASSES + class, chunks - 1);
                let row = first_row + row;
                let brought =
                    eight::<W>(quants, details, row as usize, chunk as usize, chunks as usize, shape.encoding);
                next_lows[index] = brought.low;
                next_highs[index] = brought.high;
                next_scales[index] = brought.scale;
                next_offsets[index] = brought.offset;
            }
        }
        if pass > 0 {
            if (pass - 1) * CLASSES + class < chunks {
                tile.multiply(&mut sums, across, down, class, shape);
            }
            sync_cube();
            if pass % part == 0 || pass == runs {
                tile.fold(&mut sums, &mut totals, shape);
            }
        }
    }

    let mut token = first_token + across * comptime!(SIDE as u32) + class;
    let is_token = token < end_token;
    if comptime!(shape.grouped) {
        token = order[select(is_token, token, 0u32) as usize];
    }
    #[unroll]
    for index in 0..comptime!(outputs_a_square as usize) {
        let row = first_output + down * outputs_a_square + comptime!(index as u32);
        if is_token && row < outputs {
            let at = (token * output_stride + output_start + row) as usize;
            if gated {
                let gate = totals[comptime!(2 * index / 4)].extract(comptime!(2 * index % 4));
                let value = totals[comptime!((2 * index + 1) / 4)].extract(comptime!((2 * index + 1) % 4));
                output[at] = gated_value(gate, value, row, outputs, bias, shape.finish);
            } else {
                let mut held = 0.0f32;
                if comptime!(shape.finish.adds) {
                    held = output[at];
                }
                let total = totals[comptime!(index / 4)].extract(comptime!(index % 4));
                output[at] = finished(total, row, held, bias, multiplier, cap, shape.finish);
            }
        }
    }
}
