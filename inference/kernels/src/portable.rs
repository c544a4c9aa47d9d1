//! Products for any processor, and the plainest reading of what is unpacked.

use crate::activations::{BLOCK, Tile};
use crate::format::Format;
use crate::packed::{Group, ROWS};
use crate::product::Part;
use crate::unpack::{self, CHUNK, LINES, Numbers, Unpacked};

/// [`unpack::unpack`] on any processor.
pub(crate) fn unpack(group: &Group<'_>, first: usize, blocks: usize, unpacked: &mut Unpacked) {
    unpack::unpack(group, first, blocks, unpacked, |table, indices, line| {
        for (found, index) in line.iter_mut().zip(indices) {
            *found = table[usize::from(index & 15)];
        }
    });
}

/// A row's numbers.
pub(crate) fn row(group: &Group<'_>, row: usize, values: &mut [f32]) {
    let Some(meaning) = group.format.meaning() else { return };
    let mut unpacked = Unpacked::new();
    for (chunk, values) in values.chunks_mut(CHUNK * BLOCK).enumerate() {
        unpack(group, chunk * CHUNK, values.len() / BLOCK, &mut unpacked);
        let of_scale = if meaning.halves { BLOCK / 2 } else { BLOCK };
        for (column, value) in values.iter_mut().enumerate() {
            let integer = f32::from(unpacked.lines[column / 4][4 * row + column % 4]);
            let scale = unpacked.scales[column / of_scale][row];
            *value = if meaning.minimums {
                scale * integer + unpacked.minimums[column / of_scale][row]
            } else {
                scale * (integer - 128.0)
            };
        }
    }
}

/// Adds the products of a part with a tile's tokens to their totals.
///
/// # Safety
/// The part's blocks are the tile's, too, and there is a total for each token.
pub(crate) unsafe fn add(part: &Part, tile: &Tile<'_>, totals: &mut [Numbers]) {
    let steps = if part.meaning.halves { 2 } else { 1 };
    for block in 0..part.blocks {
        let place = (part.first + block) * tile.width;
        for step in 0..steps {
            let lines = block * LINES + step * LINES / steps;
            // SAFETY: the part has so many lines and scales.
            let (lines, scale, minimum) = unsafe {
                let lines = std::slice::from_raw_parts(part.lines.add(lines), LINES / steps);
                (lines, &*part.scales.add(block * steps + step), &*part.minimums.add(block * steps + step))
            };
            for (token, total) in totals.iter_mut().enumerate().take(tile.width) {
                let half_place = 2 * place + step * tile.width + token;
                let (offset, sum) = if part.meaning.halves {
                    (tile.half_offsets[half_place], tile.half_sums[half_place])
                } else {
                    (tile.offsets[place + token], tile.sums[place + token])
                };
                let input = &tile.quants[(place + token) * BLOCK + step * (BLOCK / 2)..];
                let mut dots = [if part.meaning.minimums { 0 } else { offset }; ROWS];
                for (line, input) in lines.iter().zip(input.as_chunks::<4>().0) {
                    let input = input.map(|byte| i32::from(byte.cast_signed()));
                    for (dot, weights) in dots.iter_mut().zip(line.as_chunks::<4>().0) {
                        *dot += (0..4).map(|column| i32::from(weights[column]) * input[column]).sum::<i32>();
                    }
                }
                let input_scale = tile.scales[place + token];
                for (row, total) in total.iter_mut().enumerate() {
                    *total += dots[row] as f32 * (scale[row] * input_scale);
                    if part.meaning.minimums {
                        *total += minimum[row] * sum;
                    }
                }
            }
        }
    }
}

/// The product of a group of numbers with a token.
pub(crate) fn floats(group: Group<'_>, token: &[f32]) -> [f32; ROWS] {
    match group.format {
        Format::F32 => numbers_times::<4>(group, token, f32::from_le_bytes),
        Format::F16 => numbers_times::<2>(group, token, |bytes| unpack::half(u16::from_le_bytes(bytes))),
        _ => pairs_times(group, token),
    }
}

/// bfloat16 numbers, of which two columns lie beside each other.
fn pairs_times(group: Group<'_>, token: &[f32]) -> [f32; ROWS] {
    let mut total = [0.0; ROWS];
    let number = |bytes: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
    for (line, values) in group.quants.chunks(4 * ROWS).zip(token.chunks(2)) {
        let numbers = line.as_chunks::<2>().0.chunks_exact(values.len());
        for (total, numbers) in total.iter_mut().zip(numbers) {
            for (bytes, value) in numbers.iter().zip(values) {
                *total += number(bytes) * value;
            }
        }
    }
    total
}

fn numbers_times<const SIZE: usize>(
    group: Group<'_>,
    token: &[f32],
    number: impl Fn([u8; SIZE]) -> f32,
) -> [f32; ROWS] {
    let mut total = [0.0; ROWS];
    for (line, value) in group.quants.chunks_exact(SIZE * ROWS).zip(token) {
        for (total, bytes) in total.iter_mut().zip(line.as_chunks::<SIZE>().0) {
            *total += number(*bytes) * value;
        }
    }
    total
}
