//! Packed weights as integers of a byte, and what these are worth.
//!
//! Every format comes down to the same: for each 32 columns of sixteen rows, eight lines of 64 bytes
//! (four columns of row 0, the same four of row 1, and so on), and for each 32 or 16 columns a
//! scale a row and perhaps a minimum. The loops are over bytes and without branches, so that a
//! compiler makes vectors of them: they are compiled for each set of instructions.

use crate::activations::BLOCK;
use crate::format::{Format, SUPER_BLOCK};
use crate::packed::{Group, ROWS};

/// Four columns of sixteen rows.
pub(crate) const LINE: usize = 4 * ROWS;
pub(crate) type Line = [u8; LINE];
/// A number for each row.
pub(crate) type Numbers = [f32; ROWS];

/// Blocks of 32 columns that are unpacked together at most: 24 KiB, half of the nearest cache.
pub(crate) const CHUNK: usize = 32;
/// The same where few tokens share what is unpacked.
pub(crate) const SHORT_CHUNK: usize = 8;
/// Lines of a block of 32 columns.
pub(crate) const LINES: usize = BLOCK / 4;

/// Some columns of a group.
#[repr(C, align(64))]
pub(crate) struct Unpacked {
    pub(crate) lines: [Line; CHUNK * LINES],
    /// For each 32 columns, or for each 16.
    pub(crate) scales: [Numbers; 2 * CHUNK],
    pub(crate) minimums: [Numbers; 2 * CHUNK],
}

impl Unpacked {
    pub(crate) fn new() -> Self {
        Self { lines: [[0; LINE]; CHUNK * LINES], scales: [[0.0; ROWS]; 2 * CHUNK], minimums: [[0.0; ROWS]; 2 * CHUNK] }
    }
}

/// Unpacks `blocks` blocks of 32 columns from `first` on; both are whole blocks of the format, and
/// no more than [`CHUNK`]. `look_up` replaces each index in a line by the table's byte.
#[inline(always)]
pub(crate) fn unpack(
    group: &Group<'_>,
    first: usize,
    blocks: usize,
    unpacked: &mut Unpacked,
    look_up: impl Fn(&[u8; 16], &Line, &mut Line),
) {
    let layout = group.format.layout();
    let (from, count) = (first * BLOCK / layout.columns, blocks * BLOCK / layout.columns);
    let held_scales = group.scales[from * layout.scales..].chunks_exact(layout.scales);
    let held = group.quants[from * layout.quants..].chunks_exact(layout.quants);
    let held = held_scales.zip(held).take(count);
    let lines_a_block = layout.columns / 4;
    let parts = layout.columns / if group.format.meaning().is_some_and(|meaning| meaning.halves) { 16 } else { BLOCK };
    let lines = unpacked.lines.chunks_exact_mut(lines_a_block);
    let scales = unpacked.scales.chunks_exact_mut(parts);
    let minimums = unpacked.minimums.chunks_exact_mut(parts);
    let blocks = held.zip(lines).zip(scales.zip(minimums));
    /// Unpacks each block by a function of one.
    macro_rules! each {
        (|$held:ident, $quants:ident, $lines:ident, $scales:ident, $minimums:ident| $body:block) => {
            for ((($held, $quants), $lines), ($scales, $minimums)) in blocks $body
        };
    }
    match group.format {
        Format::F32 | Format::F16 | Format::BF16 => {}
        Format::Q8_0 => each!(|held, quants, lines, scales, _minimums| {
            scales[0] = halves(held, 0);
            for (line, quants) in lines.iter_mut().zip(quants.as_chunks::<LINE>().0) {
                *line = *quants;
            }
        }),
        Format::Q4_0 => each!(|held, quants, lines, scales, _minimums| {
            scales[0] = halves(held, 0);
            nibbles(quants, lines, 120);
        }),
        Format::Q4_1 => each!(|held, quants, lines, scales, minimums| {
            scales[0] = halves(held, 0);
            minimums[0] = halves(held, 1);
            nibbles(quants, lines, 0);
        }),
        Format::Q5_0 => each!(|held, quants, lines, scales, _minimums| {
            scales[0] = halves(held, 0);
            five_bits(quants, lines, 112);
        }),
        Format::Q5_1 => each!(|held, quants, lines, scales, minimums| {
            scales[0] = halves(held, 0);
            minimums[0] = halves(held, 1);
            five_bits(quants, lines, 0);
        }),
        Format::IQ4NL => each!(|held, quants, lines, scales, _minimums| {
            scales[0] = halves(held, 0);
            nibbles(quants, lines, 0);
            lines.iter_mut().for_each(|line| look_up(&IQ4_LEVELS, &{ *line }, line));
        }),
        Format::IQ4XS => each!(|held, quants, lines, scales, _minimums| {
            let scale = halves(held, 0);
            for (part, scales) in scales.iter_mut().enumerate() {
                *scales = multiplied(&scale, bytes(held, 2 * ROWS + ROWS * part), |byte| byte.cast_signed() as f32);
            }
            for (quants, lines) in quants.chunks_exact(LINE * LINES / 2).zip(lines.chunks_exact_mut(LINES)) {
                nibbles(quants, lines, 0);
            }
            lines.iter_mut().for_each(|line| look_up(&IQ4_LEVELS, &{ *line }, line));
        }),
        Format::Q2K => each!(|held, quants, lines, scales, minimums| {
            let (scale, minimum) = (halves(held, 0), halves(held, 1).map(|minimum| -minimum));
            for (part, (scales, minimums)) in scales.iter_mut().zip(minimums).enumerate() {
                // Opaque, or a compiler takes a row of all parts for a vector, which lies scattered.
                let of_part = bytes(held, 4 * ROWS + ROWS * std::hint::black_box(part));
                *scales = multiplied(&scale, of_part, |byte| f32::from(byte & 15));
                *minimums = multiplied(&minimum, of_part, |byte| f32::from(byte >> 4));
            }
            for (quarter, lines) in lines.chunks_exact_mut(LINES).enumerate() {
                let (half, shift) = (quarter / 4, quarter % 4 * 2);
                for (index, line) in lines.iter_mut().enumerate() {
                    let low = at(quants, half * LINES + index);
                    each_word(line, |word| low[word] >> shift & all(3));
                }
            }
        }),
        Format::Q3K => each!(|held, quants, lines, scales, _minimums| {
            let scale = halves(held, 0);
            for (part, scales) in scales.iter_mut().enumerate() {
                *scales = multiplied(&scale, bytes(held, 2 * ROWS + ROWS * part), |byte| byte.cast_signed() as f32);
            }
            for (quarter, lines) in lines.chunks_exact_mut(LINES).enumerate() {
                let (half, shift) = (quarter / 4, quarter % 4 * 2);
                for (index, line) in lines.iter_mut().enumerate() {
                    let (low, third) = (at(quants, LINES + half * LINES + index), at(quants, index));
                    each_word(line, |word| {
                        (low[word] >> shift & all(3) | (third[word] >> quarter & all(1)) << 2) + all(124)
                    });
                }
            }
        }),
        Format::Q4K => each!(|held, quants, lines, scales, minimums| {
            scales_and_minimums(held, scales, minimums);
            for (pair, lines) in lines.chunks_exact_mut(2 * LINES).enumerate() {
                let (first, second) = lines.split_at_mut(LINES);
                for (index, (first, second)) in first.iter_mut().zip(second).enumerate() {
                    let both = at(quants, pair * LINES + index);
                    each_word(first, |word| both[word] & all(15));
                    each_word(second, |word| both[word] >> 4 & all(15));
                }
            }
        }),
        Format::Q5K => each!(|held, quants, lines, scales, minimums| {
            scales_and_minimums(held, scales, minimums);
            for (pair, lines) in lines.chunks_exact_mut(2 * LINES).enumerate() {
                let (first, second) = lines.split_at_mut(LINES);
                for (index, (first, second)) in first.iter_mut().zip(second).enumerate() {
                    let (both, fifth) = (at(quants, LINES + pair * LINES + index), at(quants, index));
                    each_word(first, |word| both[word] & all(15) | (fifth[word] >> (2 * pair) & all(1)) << 4);
                    each_word(second, |word| both[word] >> 4 & all(15) | (fifth[word] >> (2 * pair + 1) & all(1)) << 4);
                }
            }
        }),
        Format::Q6K => each!(|held, quants, lines, scales, _minimums| {
            let scale = halves(held, 0);
            for (part, scales) in scales.iter_mut().enumerate() {
                *scales = multiplied(&scale, bytes(held, 2 * ROWS + ROWS * part), |byte| byte.cast_signed() as f32);
            }
            // A half: 64 columns' worth of low bits, twice, then the high bits of all.
            for (quarter, lines) in lines.chunks_exact_mut(LINES).enumerate() {
                let (half, quarter) = (quarter / 4 * 3 * LINES, quarter % 4);
                for (index, line) in lines.iter_mut().enumerate() {
                    let low = at(quants, half + quarter % 2 * LINES + index);
                    let high = at(quants, half + 2 * LINES + index);
                    let (low_shift, high_shift) = (quarter / 2 * 4, 2 * quarter);
                    each_word(line, |word| {
                        (low[word] >> low_shift & all(15) | (high[word] >> high_shift & all(3)) << 4) + all(96)
                    });
                }
            }
        }),
    }
}

/// The sixteen numbers of ggml's IQ4 types, and 128.
const IQ4_LEVELS: [u8; 16] = [1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241];

/// Blocks of 32 whose low halves of a byte are the first sixteen columns, plus `base`.
#[inline(always)]
fn nibbles(quants: &[u8], lines: &mut [Line], base: u8) {
    let base = all(base);
    let (first, second) = lines.split_at_mut(LINES / 2);
    for (index, (first, second)) in first.iter_mut().zip(second).enumerate() {
        let both = at(quants, index);
        each_word(first, |word| (both[word] & all(15)) + base);
        each_word(second, |word| (both[word] >> 4 & all(15)) + base);
    }
}

/// The same with a line of fifth bits before: bit `l` is that of line `l`.
#[inline(always)]
fn five_bits(quants: &[u8], lines: &mut [Line], base: u8) {
    let base = all(base);
    let fifth = at(quants, 0);
    let (first, second) = lines.split_at_mut(LINES / 2);
    for (index, (first, second)) in first.iter_mut().zip(second).enumerate() {
        let both = at(quants, 1 + index);
        each_word(first, |word| (both[word] & all(15) | (fifth[word] >> index & all(1)) << 4) + base);
        each_word(second, |word| (both[word] >> 4 & all(15) | (fifth[word] >> (index + 4) & all(1)) << 4) + base);
    }
}

/// Scales and minimums of Q4_K and Q5_K: for each 32 columns sixteen of each.
#[inline(always)]
fn scales_and_minimums(held: &[u8], scales: &mut [Numbers], minimums: &mut [Numbers]) {
    let (scale, minimum) = (halves(held, 0), halves(held, 1));
    for (part, (scales, minimums)) in scales.iter_mut().zip(minimums).enumerate() {
        let of_part = 4 * ROWS + 2 * ROWS * part;
        *scales = multiplied(&scale, bytes(held, of_part), f32::from);
        *minimums = multiplied(&minimum, bytes(held, of_part + ROWS), |byte| -f32::from(byte));
    }
}

/// Eight bytes at a time, since processors shift words. What a shift brings in from a neighbour is
/// masked out, and additions stay within their byte.
#[inline(always)]
fn each_word(line: &mut Line, value: impl Fn(usize) -> u64) {
    for (word, room) in line.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *room = value(word).to_le_bytes();
    }
}

/// The same byte in each of a word's.
const fn all(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

#[inline(always)]
fn at(quants: &[u8], line: usize) -> [u64; LINE / 8] {
    let mut words = [0; LINE / 8];
    if let Some(line) = quants.as_chunks::<LINE>().0.get(line) {
        for (word, bytes) in words.iter_mut().zip(line.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
    }
    words
}

#[inline(always)]
fn bytes(held: &[u8], start: usize) -> &[u8; ROWS] {
    const NONE: &[u8; ROWS] = &[0; ROWS];
    held.get(start..).and_then(|rest| rest.first_chunk()).unwrap_or(NONE)
}

#[inline(always)]
fn multiplied(scale: &Numbers, bytes: &[u8; ROWS], number: impl Fn(u8) -> f32) -> Numbers {
    let mut product = [0.0; ROWS];
    for (row, product) in product.iter_mut().enumerate() {
        *product = scale[row] * number(bytes[row]);
    }
    product
}

/// The `index`th sixteen half-precision numbers.
#[inline(always)]
fn halves(held: &[u8], index: usize) -> Numbers {
    let mut numbers = [0.0; ROWS];
    let held = held.get(2 * ROWS * index..).and_then(|rest| rest.first_chunk::<{ 2 * ROWS }>());
    let Some(held) = held else { return numbers };
    for (number, bytes) in numbers.iter_mut().zip(held.as_chunks::<2>().0) {
        *number = half(u16::from_le_bytes(*bytes));
    }
    numbers
}

/// A half-precision number, without branches.
#[inline(always)]
pub(crate) fn half(bits: u16) -> f32 {
    let bits = u32::from(bits);
    let size = (bits & 0x7fff) << 13;
    // The exponent counts from another number: 2^112 makes up for it, for subnormals too.
    let finite = f32::from_bits(size) * f32::from_bits((112 + 127) << 23);
    let special = f32::from_bits(size | 0x7f80_0000);
    let number = if size < 0x7c00 << 13 { finite } else { special };
    f32::from_bits(number.to_bits() | (bits & 0x8000) << 16)
}

const _: () = assert!((CHUNK * BLOCK).is_multiple_of(SUPER_BLOCK) && (SHORT_CHUNK * BLOCK).is_multiple_of(SUPER_BLOCK));

#[cfg(test)]
mod tests {
    #[test]
    fn every_half_precision_number() {
        for bits in 0..=u16::MAX {
            let (found, expected) = (super::half(bits), half::f16::from_bits(bits).to_f32());
            assert!(found == expected || found.is_nan() && expected.is_nan(), "{bits:x}: {found}, not {expected}");
        }
    }
}
