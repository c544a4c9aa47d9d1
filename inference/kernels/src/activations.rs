//! A product's input, as it is and rounded to 8 bits.

use std::ops::Range;
use std::sync::OnceLock;

use pulp::Arch;

use crate::aligned::AlignedBytes;
use crate::pool;
#[cfg(target_arch = "x86_64")]
use crate::split::Split;

/// Values that share a scale.
pub(crate) const BLOCK: usize = 32;
/// Tokens that a product takes at a time at most.
pub(crate) const TILE: usize = 16;
/// Values from which on all cores round them.
const SPREAD: usize = 32 * 1024;

/// Rows of input, for products with weights of any format.
///
/// Weights that are integers are multiplied with each block of 32 values as 8-bit integers and a scale: what llama.cpp
/// calls Q8_1.
pub struct Activations {
    pub(crate) tokens: usize,
    pub(crate) columns: usize,
    /// As they came, `[tokens, columns]`: weights that are floats are multiplied with these.
    values: Vec<f32>,
    /// The values for products with integers, once there is one.
    rounded: OnceLock<Rounded>,
    /// The same for bfloat16.
    #[cfg(target_arch = "x86_64")]
    split: OnceLock<Split>,
}

impl Activations {
    /// The input of `values`, `[tokens, columns]`. What lies beyond the last whole row is left out, and so are the
    /// integers of a last block that is not whole.
    pub fn new(values: Vec<f32>, columns: usize) -> Self {
        let tokens = values.len().checked_div(columns).unwrap_or(0);
        Self {
            tokens,
            columns,
            values,
            rounded: OnceLock::new(),
            #[cfg(target_arch = "x86_64")]
            split: OnceLock::new(),
        }
    }

    /// Rows of input.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// A token's values as they came.
    pub(crate) fn values(&self, token: usize) -> &[f32] {
        self.values.get(token * self.columns..(token + 1) * self.columns).unwrap_or_default()
    }

    /// The values as integers; on all cores the first time.
    pub(crate) fn rounded(&self) -> &Rounded {
        self.rounded.get_or_init(|| Rounded::new(&self.values, self.tokens, self.columns))
    }

    /// The values as bfloat16 numbers, where blocks are whole; on all cores the first time.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn split(&self) -> Option<&Split> {
        let is_whole = self.columns.is_multiple_of(BLOCK);
        is_whole.then(|| self.split.get_or_init(|| Split::new(&self.values, self.columns)))
    }
}

/// Rows of input as integers.
///
/// Tokens are held in tiles of 16, the last ones in tiles of 8, 4, 2 and 1. A tile lies block by
/// block, and in a block token by token: a product walks through it from one end to the other.
pub(crate) struct Rounded {
    blocks: usize,
    /// `[tile][block][token][32]`.
    quants: AlignedBytes,
    /// `[tile][block][token]`: what one step of a block is worth.
    scales: Vec<f32>,
    /// `[tile][block][token]`: the sum of a block, and of its halves as `[tile][block][half][token]`.
    sums: Vec<f32>,
    half_sums: Vec<f32>,
    /// The sums of the integers in the same order, times -128: what takes 128 off each weight.
    offsets: Vec<i32>,
    half_offsets: Vec<i32>,
}

impl Rounded {
    fn new(values: &[f32], tokens: usize, columns: usize) -> Self {
        let blocks = columns / BLOCK;
        let numbers = tokens * blocks;
        let mut quants = AlignedBytes::zeroed(numbers * BLOCK);
        let (mut scales, mut sums, mut half_sums) = (vec![0.0; numbers], vec![0.0; numbers], vec![0.0; 2 * numbers]);
        let (mut offsets, mut half_offsets) = (vec![0; numbers], vec![0; 2 * numbers]);
        // Sixteen tokens, which are a tile or the small ones at the end.
        let some = TILE * blocks;
        if some > 0 {
            let integers = quants.as_mut_slice().chunks_mut(some * BLOCK).zip(scales.chunks_mut(some));
            let sums = sums.chunks_mut(some).zip(half_sums.chunks_mut(2 * some));
            let offsets = offsets.chunks_mut(some).zip(half_offsets.chunks_mut(2 * some));
            let rows = values.chunks(TILE * columns);
            let tasks = rows.zip(integers).zip(sums.zip(offsets)).map(
                |((rows, (quants, scales)), ((sums, half_sums), (offsets, half_offsets)))| Rounding {
                    rows,
                    columns,
                    quants,
                    scales,
                    sums,
                    half_sums,
                    offsets,
                    half_offsets,
                },
            );
            if tokens * columns >= SPREAD {
                pool::for_each(tasks, Rounding::run);
            } else {
                tasks.for_each(Rounding::run);
            }
        }
        Self { blocks, quants, scales, sums, half_sums, offsets, half_offsets }
    }

    /// The tiles of some tokens, which begin at a multiple of 16.
    pub(crate) fn tiles(&self, tokens: Range<usize>) -> impl Iterator<Item = Tile<'_>> {
        let blocks = self.blocks;
        widths(tokens.len()).map(move |(start, width)| {
            let first = tokens.start + start;
            let part = |values: usize| first * blocks * values..(first + width) * blocks * values;
            Tile {
                first,
                width,
                quants: self.quants.as_slice().get(part(BLOCK)).unwrap_or_default(),
                scales: self.scales.get(part(1)).unwrap_or_default(),
                sums: self.sums.get(part(1)).unwrap_or_default(),
                half_sums: self.half_sums.get(part(2)).unwrap_or_default(),
                offsets: self.offsets.get(part(1)).unwrap_or_default(),
                half_offsets: self.half_offsets.get(part(2)).unwrap_or_default(),
            }
        })
    }
}

/// The first tokens and the widths of the tiles that so many tokens make.
fn widths(tokens: usize) -> impl Iterator<Item = (usize, usize)> {
    let whole = tokens / TILE;
    let rest = [8, 4, 2, 1].into_iter().scan(whole * TILE, move |first, width| {
        let tile = (tokens - *first >= width).then_some((*first, width));
        *first += tile.map_or(0, |(_, width)| width);
        Some(tile)
    });
    (0..whole).map(|tile| (tile * TILE, TILE)).chain(rest.flatten())
}

/// Some tokens beside each other.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a> {
    pub(crate) first: usize,
    pub(crate) width: usize,
    /// Signed bytes.
    pub(crate) quants: &'a [u8],
    pub(crate) scales: &'a [f32],
    pub(crate) sums: &'a [f32],
    pub(crate) half_sums: &'a [f32],
    pub(crate) offsets: &'a [i32],
    pub(crate) half_offsets: &'a [i32],
}

/// The rounding of up to sixteen tokens.
struct Rounding<'a> {
    rows: &'a [f32],
    columns: usize,
    quants: &'a mut [u8],
    scales: &'a mut [f32],
    sums: &'a mut [f32],
    half_sums: &'a mut [f32],
    offsets: &'a mut [i32],
    half_offsets: &'a mut [i32],
}

impl Rounding<'_> {
    fn run(mut self) {
        Arch::new().dispatch(
            #[inline(always)]
            || self.every_tile(),
        );
    }

    #[inline(always)]
    fn every_tile(&mut self) {
        let blocks = self.columns / BLOCK;
        for (first, width) in widths(self.rows.len() / self.columns) {
            for token in 0..width {
                let row = &self.rows[(first + token) * self.columns..][..self.columns];
                for (block, values) in row.as_chunks::<BLOCK>().0.iter().enumerate() {
                    let place = (first * blocks + block * width) + token;
                    let half_place = 2 * (first * blocks + block * width) + token;
                    let quants = self.quants.as_chunks_mut::<BLOCK>().0;
                    let (scale, half_sums) = round(values, &mut quants[place]);
                    let sum = half_sums[0] + half_sums[1];
                    self.scales[place] = scale;
                    self.sums[place] = scale * sum as f32;
                    self.offsets[place] = -128 * sum;
                    for (half, sum) in half_sums.into_iter().enumerate() {
                        self.half_sums[half_place + half * width] = scale * sum as f32;
                        self.half_offsets[half_place + half * width] = -128 * sum;
                    }
                }
            }
        }
    }
}

/// Rounds a block to signed bytes; its scale and the sums of its halves.
#[inline(always)]
fn round(block: &[f32; BLOCK], rounded: &mut [u8; BLOCK]) -> (f32, [i32; 2]) {
    // Sizes of floats are in the order of their bits.
    let largest = block.iter().fold(0, |largest, value| (value.to_bits() & 0x7fff_ffff).max(largest));
    let finite = largest < f32::INFINITY.to_bits();
    let scale = f32::from_bits(largest) / 127.0;
    let inverse = if finite && scale >= f32::MIN_POSITIVE { scale.recip() } else { 0.0 };
    // Adding 1.5 * 2^23 rounds to whole numbers, ties to even, and leaves them in the lowest bits.
    const SHIFT: f32 = 12_582_912.0;
    let mut sums = [0; 2];
    for (index, (value, rounded)) in block.iter().zip(rounded).enumerate() {
        let byte = (value * inverse + SHIFT).to_bits() as i8;
        *rounded = byte.cast_unsigned();
        sums[index / (BLOCK / 2)] += i32::from(byte);
    }
    // A block with an infinity or a NaN has no integers; its scale carries the fault on.
    (if finite { scale } else { f32::NAN }, sums)
}
