//! Products for any processor, and the plainest reading of each layout.

use half::{bf16, f16};

use crate::activations::{BLOCK, Token};
use crate::packed::{Format, Group, ROWS};

/// The product of a group with a token.
pub(crate) fn multiply(group: Group<'_>, token: Token<'_>) -> [f32; ROWS] {
    match group.format {
        Format::F32 => floats::<4>(group, token, f32::from_le_bytes),
        Format::F16 => floats::<2>(group, token, |bytes| f16::from_le_bytes(bytes).to_f32()),
        Format::BF16 => floats::<2>(group, token, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        Format::Q8_0 => blocks(group, token, |quants, row, column| i32::from(quants[at(row, column)]) - 128),
        Format::Q4_0 => blocks(group, token, |quants, row, column| {
            let (column, shift) = (column % 16, column / 16 * 4);
            i32::from(quants[at(row, column)] >> shift & 15) - 8
        }),
        Format::Q4K => q4_k(group, token),
        Format::Q6K => q6_k(group, token),
    }
}

/// Where a row's byte lies among lines of four columns.
fn at(row: usize, column: usize) -> usize {
    column / 4 * (4 * ROWS) + 4 * row + column % 4
}

fn half(bytes: &[u8], index: usize) -> f32 {
    f16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]]).to_f32()
}

fn floats<const SIZE: usize>(group: Group<'_>, token: Token<'_>, number: impl Fn([u8; SIZE]) -> f32) -> [f32; ROWS] {
    let mut total = [0.0; ROWS];
    for (line, value) in group.quants.chunks_exact(SIZE * ROWS).zip(token.values) {
        for (total, bytes) in total.iter_mut().zip(line.as_chunks::<SIZE>().0) {
            *total += number(*bytes) * value;
        }
    }
    total
}

/// Formats of one scale for a block of 32.
fn blocks(group: Group<'_>, token: Token<'_>, weight: impl Fn(&[u8], usize, usize) -> i32) -> [f32; ROWS] {
    let layout = group.format.layout();
    let mut total = [0.0; ROWS];
    for block in 0..group.blocks {
        let scales = &group.scales[block * layout.scales..][..layout.scales];
        let quants = &group.quants[block * layout.quants..][..layout.quants];
        let input = &token.quants[block * BLOCK..][..BLOCK];
        for (row, total) in total.iter_mut().enumerate() {
            let dot: i32 =
                input.iter().enumerate().map(|(column, value)| weight(quants, row, column) * i32::from(*value)).sum();
            *total += half(scales, row) * token.scales[block] * dot as f32;
        }
    }
    total
}

fn q4_k(group: Group<'_>, token: Token<'_>) -> [f32; ROWS] {
    let layout = group.format.layout();
    let mut total = [0.0; ROWS];
    for block in 0..group.blocks {
        let scales = &group.scales[block * layout.scales..][..layout.scales];
        let quants = &group.quants[block * layout.quants..][..layout.quants];
        for (row, total) in total.iter_mut().enumerate() {
            let (mut inner, mut below) = (0.0, 0.0);
            for part in 0..8 {
                let of_input = block * 8 + part;
                let input = &token.quants[of_input * BLOCK..][..BLOCK];
                let lines = &quants[part / 2 * (BLOCK * ROWS)..][..BLOCK * ROWS];
                let shift = part % 2 * 4;
                let dot: i32 = input
                    .iter()
                    .enumerate()
                    .map(|(column, value)| i32::from(lines[at(row, column)] >> shift & 15) * i32::from(*value))
                    .sum();
                let of_part = &scales[4 * ROWS + 2 * ROWS * part..][..2 * ROWS];
                let sum = token.sums[2 * of_input] + token.sums[2 * of_input + 1];
                inner += token.scales[of_input] * f32::from(of_part[row]) * dot as f32;
                below += token.scales[of_input] * f32::from(of_part[ROWS + row]) * sum as f32;
            }
            *total += half(scales, row) * inner - half(scales, ROWS + row) * below;
        }
    }
    total
}

fn q6_k(group: Group<'_>, token: Token<'_>) -> [f32; ROWS] {
    let layout = group.format.layout();
    let mut total = [0.0; ROWS];
    for block in 0..group.blocks {
        let scales = &group.scales[block * layout.scales..][..layout.scales];
        let quants = &group.quants[block * layout.quants..][..layout.quants];
        for (row, total) in total.iter_mut().enumerate() {
            let mut inner = 0.0;
            // Sixteen parts of sixteen columns.
            for part in 0..16 {
                let (lines, quarter) = (&quants[part / 8 * (96 * ROWS)..][..96 * ROWS], part % 8 / 2);
                let of_input = block * 8 + part / 2;
                let input = &token.quants[of_input * BLOCK + part % 2 * 16..][..16];
                let dot: i32 = input
                    .iter()
                    .enumerate()
                    .map(|(column, value)| {
                        let column = part % 2 * 16 + column;
                        let low = lines[at(row, quarter % 2 * 32 + column)] >> (quarter / 2 * 4) & 15;
                        let high = lines[64 * ROWS + at(row, column)] >> (2 * quarter) & 3;
                        (i32::from(low | high << 4) - 32) * i32::from(*value)
                    })
                    .sum();
                let scale = scales[2 * ROWS + ROWS * part + row].cast_signed();
                inner += token.scales[of_input] * f32::from(scale) * dot as f32;
            }
            *total += half(scales, row) * inner;
        }
    }
    total
}
