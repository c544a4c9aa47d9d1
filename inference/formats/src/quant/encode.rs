//! Quantizes to the types in blocks of 256; [`super::decode`] tells their layouts.

use super::decode::{q3_k_scale, scale_and_minimum};
use super::scales::{Affine, SMALLEST, furthest, iq4_indices, iq4_scale};
use super::small::{inverse, write_half};
use super::{nearest, scales};

pub(super) fn q2_k(values: &[f32; 256], block: &mut [u8; 84]) {
    let mut numbers = [0; 256];
    let mut groups = [Affine::default(); 16];
    each_group(values, &mut numbers, |index, group: &[f32; 16], numbers| {
        let search = scales::Search { levels: 3, first: -0.5, steps: 15, absolute: true };
        groups[index] = scales::affine(&search, group, &group.map(f32::abs), numbers);
    });
    let largest_scale = groups.iter().fold(0.0, |largest: f32, group| largest.max(group.scale));
    let largest_minimum = groups.iter().fold(0.0, |largest: f32, group| largest.max(group.minimum));
    let by_scale = if largest_scale > 0.0 { 15.0 / largest_scale } else { 0.0 };
    let by_minimum = if largest_minimum > 0.0 { 15.0 / largest_minimum } else { 0.0 };
    for (byte, group) in block.iter_mut().zip(&groups) {
        *byte = nearest(by_scale * group.scale) as u8 | (nearest(by_minimum * group.minimum) as u8) << 4;
    }
    let scale = write_half(block, 80, largest_scale / 15.0);
    let minimum = write_half(block, 82, largest_minimum / 15.0);
    each_group(values, &mut numbers, |index, group: &[f32; 16], numbers| {
        let scale = scale * f32::from(block[index] & 15);
        let minimum = minimum * f32::from(block[index] >> 4);
        requantize(group, scale, minimum, 0..=3, numbers);
    });
    write_two_bits(&numbers, &mut block[16..80]);
}

pub(super) fn q3_k(values: &[f32; 256], block: &mut [u8; 110]) {
    let mut numbers = [0; 256];
    let mut groups = [0.0; 16];
    each_group(values, &mut numbers, |index, group: &[f32; 16], numbers| {
        groups[index] = scales::three_bits(group, numbers);
    });
    let largest = furthest(&groups);
    let mut packed = [0; 12];
    if largest != 0.0 {
        let by_scale = -32.0 / largest;
        for (index, scale) in groups.iter().enumerate() {
            let scale = (nearest(by_scale * scale) as i8).clamp(-32, 31) + 32;
            packed[index % 8] |= (scale as u8 & 15) << (index / 8 * 4);
            packed[8 + index % 4] |= (scale as u8 >> 4) << (index / 4 * 2);
        }
        write_half(block, 108, 1.0 / by_scale);
    }
    block[96..108].copy_from_slice(&packed);
    let scale = super::half_at(block, 108);
    each_group(values, &mut numbers, |index, group: &[f32; 16], numbers| {
        let scale = scale * f32::from(q3_k_scale(&packed, index));
        requantize(group, scale, 0.0, -4..=3, numbers);
    });
    for (position, number) in numbers.iter_mut().enumerate() {
        // The third bits come in layers of 32.
        block[position % 32] |= (*number >> 2) << (position / 32);
        *number &= 3;
    }
    write_two_bits(&numbers, &mut block[32..96]);
}

pub(super) fn q4_k(values: &[f32; 256], block: &mut [u8; 144]) {
    let search = scales::Search { levels: 15, first: -1.0, steps: 20, absolute: false };
    let numbers = affine_groups(values, &search, &mut block[..16]);
    write_four_bits(&numbers, &mut block[16..]);
}

pub(super) fn q5_k(values: &[f32; 256], block: &mut [u8; 176]) {
    let search = scales::Search { levels: 31, first: -0.5, steps: 15, absolute: false };
    let numbers = affine_groups(values, &search, &mut block[..16]);
    for (position, number) in numbers.iter().enumerate() {
        block[16 + position % 32] |= (number >> 4) << (position / 32);
    }
    write_four_bits(&numbers.map(|number| number & 15), &mut block[48..]);
}

/// What Q4_K and Q5_K share: eight groups with 6-bit scales and minimums, written into `header`.
fn affine_groups(values: &[f32; 256], search: &scales::Search, header: &mut [u8]) -> [u8; 256] {
    let mut numbers = [0; 256];
    let mut groups = [Affine::default(); 8];
    each_group(values, &mut numbers, |index, group: &[f32; 32], numbers| {
        let squares = group.iter().fold(0.0, |sum, value| sum + value * value);
        let deviation = (squares / 32.0).sqrt();
        let weights = group.map(|value| deviation + value.abs());
        groups[index] = scales::affine(search, group, &weights, numbers);
    });
    let largest_scale = groups.iter().fold(0.0, |largest: f32, group| largest.max(group.scale));
    let largest_minimum = groups.iter().fold(0.0, |largest: f32, group| largest.max(group.minimum));
    let by_scale = if largest_scale > 0.0 { 63.0 / largest_scale } else { 0.0 };
    let by_minimum = if largest_minimum > 0.0 { 63.0 / largest_minimum } else { 0.0 };
    let mut packed = [0; 12];
    for (index, group) in groups.iter().enumerate() {
        let scale = (nearest(by_scale * group.scale) as u8).min(63);
        let minimum = (nearest(by_minimum * group.minimum) as u8).min(63);
        if index < 4 {
            packed[index] = scale;
            packed[index + 4] = minimum;
        } else {
            packed[index + 4] = scale & 15 | (minimum & 15) << 4;
            packed[index - 4] |= scale >> 4 << 6;
            packed[index] |= minimum >> 4 << 6;
        }
    }
    let scale = write_half(header, 0, largest_scale / 63.0);
    let minimum = write_half(header, 2, largest_minimum / 63.0);
    header[4..16].copy_from_slice(&packed);
    each_group(values, &mut numbers, |index, group: &[f32; 32], numbers| {
        let (group_scale, group_minimum) = scale_and_minimum(&packed, index);
        let (scale, minimum) = (scale * f32::from(group_scale), minimum * f32::from(group_minimum));
        requantize(group, scale, minimum, 0..=search.levels, numbers);
    });
    numbers
}

pub(super) fn q6_k(values: &[f32; 256], block: &mut [u8; 210]) {
    let mut numbers = [0; 256];
    let mut groups = [0.0; 16];
    each_group(values, &mut numbers, |index, group: &[f32; 16], numbers| {
        groups[index] = scales::linear(32, group, numbers);
    });
    let largest = furthest(&groups);
    if largest.abs() < SMALLEST {
        block.fill(0);
        return;
    }
    let by_scale = -128.0 / largest;
    let scale = write_half(block, 208, 1.0 / by_scale);
    for (byte, group) in block[192..208].iter_mut().zip(&groups) {
        *byte = nearest(by_scale * group).min(127) as i8 as u8;
    }
    each_group(values, &mut numbers, |index, group: &[f32; 16], numbers| {
        let scale = scale * f32::from(block[192 + index] as i8);
        requantize(group, scale, 0.0, -32..=31, numbers);
    });
    for (half, numbers) in numbers.as_chunks::<128>().0.iter().enumerate() {
        for (position, number) in numbers.iter().enumerate() {
            block[half * 64 + position % 64] |= (number & 15) << (position / 64 * 4);
            block[128 + half * 32 + position % 32] |= (number >> 4) << (position / 32 * 2);
        }
    }
}

pub(super) fn iq4_xs(values: &[f32; 256], block: &mut [u8; 136]) {
    let groups = values.as_chunks::<32>().0;
    let mut group_scales = [0.0; 8];
    for (scale, group) in group_scales.iter_mut().zip(groups) {
        *scale = iq4_scale(group);
    }
    let scale = -furthest(&group_scales) / 32.0;
    write_half(block, 0, scale);
    let mut high_bits: u16 = 0;
    for (index, group) in groups.iter().enumerate() {
        let quantized = nearest(inverse(scale) * group_scales[index]).clamp(-32, 31);
        let indices = iq4_indices(group, inverse(scale * quantized as f32));
        for position in 0..16 {
            block[8 + index * 16 + position] = indices[position] | indices[position + 16] << 4;
        }
        let quantized = (quantized + 32) as u8;
        block[4 + index / 2] |= (quantized & 15) << (index % 2 * 4);
        high_bits |= u16::from(quantized >> 4) << (2 * index);
    }
    block[2..4].copy_from_slice(&high_bits.to_le_bytes());
}

/// Calls `quantize` with each group, its index and where its numbers go.
fn each_group<const SIZE: usize>(
    values: &[f32; 256],
    numbers: &mut [u8; 256],
    mut quantize: impl FnMut(usize, &[f32; SIZE], &mut [u8; SIZE]),
) {
    let groups = values.as_chunks().0.iter().zip(numbers.as_chunks_mut().0);
    for (index, (group, numbers)) in groups.enumerate() {
        quantize(index, group, numbers);
    }
}

/// The numbers of a group under its final scale, counted from the least level. Under a scale of
/// zero they stay: they count for nothing.
fn requantize<const SIZE: usize>(
    group: &[f32; SIZE],
    scale: f32,
    minimum: f32,
    levels: std::ops::RangeInclusive<i32>,
    numbers: &mut [u8; SIZE],
) {
    if scale == 0.0 {
        return;
    }
    for (number, value) in numbers.iter_mut().zip(group) {
        let level = nearest((value + minimum) / scale).clamp(*levels.start(), *levels.end());
        *number = (level - levels.start()) as u8;
    }
}

/// Two-bit numbers: 128 in 32 bytes, in four layers.
fn write_two_bits(numbers: &[u8; 256], bytes: &mut [u8]) {
    for (bytes, numbers) in bytes.as_chunks_mut::<32>().0.iter_mut().zip(numbers.as_chunks::<128>().0) {
        for (position, byte) in bytes.iter_mut().enumerate() {
            let layer = |layer: usize| numbers[position + 32 * layer] << (2 * layer);
            *byte = layer(0) | layer(1) | layer(2) | layer(3);
        }
    }
}

/// Four-bit numbers: 64 in 32 bytes, in two layers.
fn write_four_bits(numbers: &[u8; 256], bytes: &mut [u8]) {
    for (bytes, numbers) in bytes.as_chunks_mut::<32>().0.iter_mut().zip(numbers.as_chunks::<64>().0) {
        for (position, byte) in bytes.iter_mut().enumerate() {
            *byte = numbers[position] | numbers[position + 32] << 4;
        }
    }
}
