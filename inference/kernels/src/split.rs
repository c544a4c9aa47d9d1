//! A product's input as sums of two bfloat16 numbers, for matrix registers that multiply those.
//!
//! The first has the value's upper eight significant bits, the second the next eight of what is left: with weights in
//! bfloat16, which are what they are, a product is off by no more than 2^-17 of each value.

use pulp::Arch;

use crate::activations::{BLOCK, TILE};
use crate::aligned::AlignedBytes;
use crate::pool;

/// Rows of input in tiles of 16 tokens, the last one with those that are left.
///
/// A tile lies block by block of 32 columns: the first parts token by token, then the second ones.
pub(crate) struct Split {
    pub(crate) tokens: usize,
    columns: usize,
    parts: AlignedBytes,
}

impl Split {
    /// Splits `values`, `[tokens, columns]`, of which there are whole blocks.
    pub(crate) fn new(values: &[f32], columns: usize) -> Self {
        let tokens = values.len().checked_div(columns).unwrap_or(0);
        let mut parts = AlignedBytes::zeroed(tokens * columns * 2 * size_of::<u16>());
        let rows = values[..tokens * columns].chunks(TILE * columns);
        let tiles = rows.zip(parts.as_mut_slice().chunks_mut(TILE * columns * 2 * size_of::<u16>()));
        let split = |(rows, tile): (&[f32], &mut [u8])| {
            Arch::new().dispatch(
                #[inline(always)]
                || split(rows, columns, tile),
            );
        };
        if tokens > TILE {
            pool::for_each(tiles, split);
        } else {
            tiles.for_each(split);
        }
        Self { tokens, columns, parts }
    }

    pub(crate) fn tiles(&self) -> usize {
        self.tokens.div_ceil(TILE)
    }

    /// Tokens of a tile.
    pub(crate) fn width(&self, tile: usize) -> usize {
        (self.tokens - tile * TILE).min(TILE)
    }

    /// Where a tile's columns from a block on begin.
    pub(crate) fn tile(&self, tile: usize, block: usize) -> &[u8] {
        let numbers = tile * TILE * self.columns + block * BLOCK * self.width(tile);
        &self.parts.as_slice()[numbers * 2 * size_of::<u16>()..]
    }
}

/// Splits the rows of one tile.
#[inline(always)]
fn split(rows: &[f32], columns: usize, tile: &mut [u8]) {
    let width = rows.len() / columns;
    let tile = tile.as_chunks_mut::<{ BLOCK * size_of::<u16>() }>().0;
    for (token, row) in rows.chunks_exact(columns).enumerate() {
        for (block, values) in row.as_chunks::<BLOCK>().0.iter().enumerate() {
            let mut rest = *values;
            for part in 0..2 {
                let line = tile[(2 * block + part) * width + token].as_chunks_mut::<2>().0;
                for (rest, number) in rest.iter_mut().zip(line) {
                    let rounded = rounded(*rest);
                    *number = ((rounded.to_bits() >> 16) as u16).to_le_bytes();
                    // Nothing is left of an infinity.
                    *rest = if rest.is_infinite() { 0.0 } else { *rest - rounded };
                }
            }
        }
    }
}

/// The nearest number whose lower sixteen bits are zeros, ties to even; of finite ones a finite one.
#[inline(always)]
fn rounded(value: f32) -> f32 {
    const UPPER: u32 = 0xffff_0000;
    const EXPONENT: u32 = 0x7f80_0000;
    let bits = value.to_bits();
    let cut = bits & UPPER;
    let near = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & UPPER;
    let kept = if near & EXPONENT == EXPONENT || bits & EXPONENT == EXPONENT { cut } else { near };
    // Of a NaN, those bits may be what makes it one.
    f32::from_bits(if value.is_nan() { kept | 0x0040_0000 } else { kept })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_the_values() {
        let (tokens, columns) = (21, 64);
        let mut values: Vec<f32> = (0..tokens * columns).map(|_| f32::from_bits(rand::random())).collect();
        values[..6].copy_from_slice(&[f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY, 0.0, 1.5]);
        values[6] = f32::from_bits(0x7f80_0001);
        let split = Split::new(&values, columns);
        for (index, value) in values.iter().enumerate() {
            let (token, column) = (index / columns, index % columns);
            let (tile, width) = (token / TILE, split.width(token / TILE));
            let lines = split.tile(tile, column / BLOCK).as_chunks::<2>().0;
            let [first, second] = [0, 1].map(|part| {
                let number = lines[(part * width + token % TILE) * BLOCK + column % BLOCK];
                f32::from_bits(u32::from(u16::from_le_bytes(number)) << 16)
            });
            let (sum, allowed) = (f64::from(first) + f64::from(second), f64::from(value.abs()) / 2.0f64.powi(17));
            match value {
                value if value.is_nan() => assert!(first.is_nan()),
                value if value.is_infinite() => assert_eq!((first, second), (*value, 0.0)),
                // The smallest numbers have fewer bits.
                value => assert!((sum - f64::from(*value)).abs() <= allowed + 1e-40, "{value}: {first} + {second}"),
            }
        }
    }
}
