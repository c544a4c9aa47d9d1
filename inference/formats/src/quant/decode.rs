//! Types in blocks of 256, whose groups of 16 or 32 have scales that are quantized themselves.

use super::half_at;
use super::scales::IQ4_VALUES;

/// 16 bytes of a 4-bit scale and a 4-bit minimum, 64 of numbers, the scales of both.
pub(super) fn q2_k(block: &[u8; 84], values: &mut [f32; 256]) {
    let (scale, minimum) = (half_at(block, 80), half_at(block, 82));
    for (index, group) in values.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = scale * f32::from(block[index] & 15);
        let minimum = minimum * f32::from(block[index] >> 4);
        let (start, shift) = two_bits(index);
        for (value, byte) in group.iter_mut().zip(&block[16 + start..]) {
            *value = scale * f32::from(byte >> shift & 3) - minimum;
        }
    }
}

/// 32 bytes of third bits, 64 of the lower two bits, 12 of 6-bit scales, the scale of those.
pub(super) fn q3_k(block: &[u8; 110], values: &mut [f32; 256]) {
    let scale = half_at(block, 108);
    for (index, group) in values.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = scale * f32::from(q3_k_scale(&block[96..108], index));
        let (start, shift) = two_bits(index);
        let third_bits = &block[index % 2 * 16..];
        for ((value, byte), third) in group.iter_mut().zip(&block[32 + start..]).zip(third_bits) {
            let low = (byte >> shift & 3) as i8;
            let below = if third >> (index / 2) & 1 == 1 { 0 } else { 4 };
            *value = scale * f32::from(low - below);
        }
    }
}

/// The scale of a group: its four low bits in the first eight bytes, the two high bits after them.
pub(super) fn q3_k_scale(scales: &[u8], group: usize) -> i8 {
    let low = scales[group % 8] >> (group / 8 * 4) & 15;
    let high = scales[8 + group % 4] >> (group / 4 * 2) & 3;
    (low | high << 4) as i8 - 32
}

/// Where the two-bit numbers of a group of 16 are: 32 bytes hold 128 of them, in four layers.
fn two_bits(group: usize) -> (usize, usize) {
    (group / 8 * 32 + group % 2 * 16, group % 8 / 2 * 2)
}

/// The scales of scales and minimums, 12 bytes of both, 128 of numbers.
pub(super) fn q4_k(block: &[u8; 144], values: &mut [f32; 256]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    for (index, group) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (group_scale, group_minimum) = scale_and_minimum(&block[4..16], index);
        let scale = scale * f32::from(group_scale);
        let minimum = minimum * f32::from(group_minimum);
        let (start, shift) = (16 + index / 2 * 32, index % 2 * 4);
        for (value, byte) in group.iter_mut().zip(&block[start..start + 32]) {
            *value = scale * f32::from(byte >> shift & 15) - minimum;
        }
    }
}

/// As [`q4_k`], with 32 bytes of fifth bits before the numbers.
pub(super) fn q5_k(block: &[u8; 176], values: &mut [f32; 256]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    for (index, group) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (group_scale, group_minimum) = scale_and_minimum(&block[4..16], index);
        let scale = scale * f32::from(group_scale);
        let minimum = minimum * f32::from(group_minimum);
        let (start, shift) = (48 + index / 2 * 32, index % 2 * 4);
        let bytes = block[start..start + 32].iter().zip(&block[16..48]);
        for (value, (byte, fifth)) in group.iter_mut().zip(bytes) {
            let number = (byte >> shift & 15) + (fifth >> index & 1) * 16;
            *value = scale * f32::from(number) - minimum;
        }
    }
}

/// The 6-bit scale and minimum of a group: the first four of each are the low bits of the first
/// eight bytes, whose high bits complete the other four, in the last four bytes.
pub(super) fn scale_and_minimum(scales: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        return (scales[group] & 63, scales[group + 4] & 63);
    }
    let low = scales[group + 4];
    (low & 15 | scales[group - 4] >> 6 << 4, low >> 4 | scales[group] >> 6 << 4)
}

/// 128 bytes of the lower four bits, 64 of the upper two, 16 scales of a byte, the scale of those.
pub(super) fn q6_k(block: &[u8; 210], values: &mut [f32; 256]) {
    let scale = half_at(block, 208);
    for (index, group) in values.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = scale * f32::from(block[192 + index] as i8);
        let (high_start, high_shift) = two_bits(index);
        let (low_start, low_shift) = (index / 8 * 64 + index % 4 * 16, index % 8 / 4 * 4);
        let bytes = block[low_start..].iter().zip(&block[128 + high_start..]);
        for (value, (low, high)) in group.iter_mut().zip(bytes) {
            let number = low >> low_shift & 15 | (high >> high_shift & 3) << 4;
            *value = scale * f32::from(number as i8 - 32);
        }
    }
}

/// A scale, 6 bytes of 6-bit scales by 32, 128 of indices into [`IQ4_VALUES`].
pub(super) fn iq4_xs(block: &[u8; 136], values: &mut [f32; 256]) {
    let scale = half_at(block, 0);
    let high_bits = u16::from_le_bytes([block[2], block[3]]);
    for (index, group) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let low = block[4 + index / 2] >> (index % 2 * 4) & 15;
        let high = (high_bits >> (2 * index)) as u8 & 3;
        let scale = scale * f32::from((low | high << 4) as i8 - 32);
        for (position, byte) in block[8 + index * 16..][..16].iter().enumerate() {
            group[position] = scale * f32::from(IQ4_VALUES[usize::from(byte & 15)]);
            group[position + 16] = scale * f32::from(IQ4_VALUES[usize::from(byte >> 4)]);
        }
    }
}
