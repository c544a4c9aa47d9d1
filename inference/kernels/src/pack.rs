//! From a file's order of bytes, row by row, to that of [`PackedMatrix`](crate::PackedMatrix).

use crate::format::Format;
use crate::packed::ROWS;
use crate::unpack::LINE;

/// Packs up to sixteen rows of `blocks` blocks. Block by block, so that what is written lies in
/// the nearest cache while the sixteen rows come to it.
pub(crate) fn pack_group(format: Format, blocks: usize, bytes: &[u8], scales: &mut [u8], quants: &mut [u8]) {
    let layout = format.layout();
    let row_bytes = blocks * layout.file;
    let rows = bytes.len() / row_bytes.max(1);
    for (block, quants) in quants.chunks_exact_mut(layout.quants).enumerate() {
        let scales = scales.get_mut(block * layout.scales..(block + 1) * layout.scales).unwrap_or_default();
        for row in 0..rows {
            if let Some(bytes) = bytes.get(row * row_bytes + block * layout.file..).and_then(|rest| rest.get(..layout.file)) {
                pack_block(format, row, bytes, scales, quants);
            }
        }
    }
}

/// Puts a row's block where the group's block has room for it.
#[inline(always)]
fn pack_block(format: Format, row: usize, bytes: &[u8], scales: &mut [u8], quants: &mut [u8]) {
    match format {
        Format::F32 => quants[4 * row..][..4].copy_from_slice(bytes),
        Format::F16 | Format::BF16 => quants[2 * row..][..2].copy_from_slice(bytes),
        Format::Q8_0 => {
            half(&bytes[..2], row, scales, 0);
            // Without a sign: the instruction multiplies unsigned by signed.
            spread(&bytes[2..34], row, quants, |four| four ^ 0x8080_8080);
        }
        Format::Q4_0 | Format::IQ4NL => {
            half(&bytes[..2], row, scales, 0);
            spread(&bytes[2..18], row, quants, |four| four);
        }
        Format::Q4_1 => {
            half(&bytes[..2], row, scales, 0);
            half(&bytes[2..4], row, scales, 1);
            spread(&bytes[4..20], row, quants, |four| four);
        }
        Format::Q5_0 => {
            half(&bytes[..2], row, scales, 0);
            let (fifth, rest) = quants.split_at_mut(LINE);
            fifth[4 * row..][..4].copy_from_slice(&fifth_bits(&bytes[2..6]));
            spread(&bytes[6..22], row, rest, |four| four);
        }
        Format::Q5_1 => {
            half(&bytes[..2], row, scales, 0);
            half(&bytes[2..4], row, scales, 1);
            let (fifth, rest) = quants.split_at_mut(LINE);
            fifth[4 * row..][..4].copy_from_slice(&fifth_bits(&bytes[4..8]));
            spread(&bytes[8..24], row, rest, |four| four);
        }
        Format::IQ4XS => {
            half(&bytes[..2], row, scales, 0);
            let high_bits = u16::from_le_bytes([bytes[2], bytes[3]]);
            for part in 0..8 {
                let low = bytes[4 + part / 2] >> (part % 2 * 4) & 15;
                let high = (high_bits >> (2 * part)) as u8 & 3;
                scales[(2 + part) * ROWS + row] = (low | high << 4).wrapping_sub(32);
            }
            spread(&bytes[8..136], row, quants, |four| four);
        }
        Format::Q2K => {
            half(&bytes[80..82], row, scales, 0);
            half(&bytes[82..84], row, scales, 1);
            for (part, byte) in bytes[..16].iter().enumerate() {
                scales[(4 + part) * ROWS + row] = *byte;
            }
            spread(&bytes[16..80], row, quants, |four| four);
        }
        Format::Q3K => {
            half(&bytes[108..110], row, scales, 0);
            for part in 0..16 {
                let low = bytes[96 + part % 8] >> (part / 8 * 4) & 15;
                let high = bytes[104 + part % 4] >> (part / 4 * 2) & 3;
                scales[(2 + part) * ROWS + row] = (low | high << 4).wrapping_sub(32);
            }
            // The third bits, then the other two.
            spread(&bytes[..96], row, quants, |four| four);
        }
        Format::Q4K => {
            scales_and_minimums(bytes, row, scales);
            spread(&bytes[16..144], row, quants, |four| four);
        }
        Format::Q5K => {
            scales_and_minimums(bytes, row, scales);
            spread(&bytes[16..176], row, quants, |four| four);
        }
        Format::Q6K => {
            half(&bytes[208..210], row, scales, 0);
            for (part, scale) in bytes[192..208].iter().enumerate() {
                scales[(2 + part) * ROWS + row] = *scale;
            }
            // A half: 64 bytes of low bits and 32 of high ones.
            let (first, second) = quants.split_at_mut(96 * ROWS);
            for (half, quants) in [first, second].into_iter().enumerate() {
                let (low, high) = quants.split_at_mut(64 * ROWS);
                spread(&bytes[64 * half..][..64], row, low, |four| four);
                spread(&bytes[128 + 32 * half..][..32], row, high, |four| four);
            }
        }
    }
}

/// A half-precision number into the `index`th sixteen.
#[inline(always)]
fn half(bytes: &[u8], row: usize, scales: &mut [u8], index: usize) {
    scales[2 * (index * ROWS + row)..][..2].copy_from_slice(bytes);
}

/// Four bytes of this row into each cache line.
#[inline(always)]
fn spread(bytes: &[u8], row: usize, lines: &mut [u8], change: impl Fn(u32) -> u32) {
    for (four, line) in bytes.as_chunks::<4>().0.iter().zip(lines.as_chunks_mut::<LINE>().0) {
        line[4 * row..][..4].copy_from_slice(&change(u32::from_le_bytes(*four)).to_le_bytes());
    }
}

/// A block's fifth bits, of column `4 l + k` in bit `l` of byte `k`: lines are made of them by shifts.
fn fifth_bits(bytes: &[u8]) -> [u8; 4] {
    let bits = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    std::array::from_fn(|k| (0..8).fold(0, |byte, l| byte | ((bits >> (4 * l + k)) as u8 & 1) << l))
}

fn scales_and_minimums(bytes: &[u8], row: usize, scales: &mut [u8]) {
    half(&bytes[..2], row, scales, 0);
    half(&bytes[2..4], row, scales, 1);
    for part in 0..8 {
        let (scale, minimum) = scale_and_minimum(&bytes[4..16], part);
        scales[(4 + 2 * part) * ROWS + row] = scale;
        scales[(5 + 2 * part) * ROWS + row] = minimum;
    }
}

/// The six-bit scale and minimum of an eighth of a Q4_K block (ggml's `get_scale_min_k4`).
fn scale_and_minimum(packed: &[u8], part: usize) -> (u8, u8) {
    if part < 4 {
        (packed[part] & 63, packed[part + 4] & 63)
    } else {
        let low = packed[part + 4];
        (low & 15 | packed[part - 4] >> 6 << 4, low >> 4 | packed[part] >> 6 << 4)
    }
}
