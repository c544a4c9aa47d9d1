//! Types in blocks of 32: a 16-bit scale (and a minimum), then a few bits for each number. In the
//! 4- and 5-bit types byte `i` holds number `i` in its low half and number `i + 16` in its high half.

use half::f16;

use super::half_at;
use super::scales::{IQ4_VALUES, furthest, iq4_indices, iq4_scale};

pub(super) fn decode_q4_0(block: &[u8; 18], values: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    for (index, byte) in block[2..].iter().enumerate() {
        values[index] = f32::from((byte & 15) as i8 - 8) * scale;
        values[index + 16] = f32::from((byte >> 4) as i8 - 8) * scale;
    }
}

pub(super) fn decode_q4_1(block: &[u8; 20], values: &mut [f32; 32]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    for (index, byte) in block[4..].iter().enumerate() {
        values[index] = f32::from(byte & 15) * scale + minimum;
        values[index + 16] = f32::from(byte >> 4) * scale + minimum;
    }
}

pub(super) fn decode_q5_0(block: &[u8; 22], values: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    let fifth_bits = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    for (index, byte) in block[6..].iter().enumerate() {
        let (low, high) = five_bits(*byte, fifth_bits, index);
        values[index] = f32::from(low as i8 - 16) * scale;
        values[index + 16] = f32::from(high as i8 - 16) * scale;
    }
}

pub(super) fn decode_q5_1(block: &[u8; 24], values: &mut [f32; 32]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    let fifth_bits = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    for (index, byte) in block[8..].iter().enumerate() {
        let (low, high) = five_bits(*byte, fifth_bits, index);
        values[index] = f32::from(low) * scale + minimum;
        values[index + 16] = f32::from(high) * scale + minimum;
    }
}

/// The numbers `index` and `index + 16` of a 5-bit block.
fn five_bits(byte: u8, fifth_bits: u32, index: usize) -> (u8, u8) {
    let fifth = |index: usize| ((fifth_bits >> index) as u8 & 1) << 4;
    (byte & 15 | fifth(index), byte >> 4 | fifth(index + 16))
}

pub(super) fn decode_q8_0(block: &[u8; 34], values: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    for (value, byte) in values.iter_mut().zip(&block[2..]) {
        *value = f32::from(*byte as i8) * scale;
    }
}

pub(super) fn decode_iq4_nl(block: &[u8; 18], values: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    for (index, byte) in block[2..].iter().enumerate() {
        values[index] = scale * f32::from(IQ4_VALUES[usize::from(byte & 15)]);
        values[index + 16] = scale * f32::from(IQ4_VALUES[usize::from(byte >> 4)]);
    }
}

pub(super) fn encode_q4_0(values: &[f32; 32], block: &mut [u8; 18]) {
    let scale = furthest(values) / -8.0;
    let inverse = inverse(scale);
    write_half(block, 0, scale);
    let quantized = |value: f32| ((value * inverse + 8.5) as i8).min(15) as u8;
    for (index, byte) in block[2..].iter_mut().enumerate() {
        *byte = quantized(values[index]) | quantized(values[index + 16]) << 4;
    }
}

pub(super) fn encode_q4_1(values: &[f32; 32], block: &mut [u8; 20]) {
    let (minimum, maximum) = range(values);
    let scale = (maximum - minimum) / 15.0;
    let inverse = inverse(scale);
    write_half(block, 0, scale);
    write_half(block, 2, minimum);
    let quantized = |value: f32| (((value - minimum) * inverse + 0.5) as i8).min(15) as u8;
    for (index, byte) in block[4..].iter_mut().enumerate() {
        *byte = quantized(values[index]) | quantized(values[index + 16]) << 4;
    }
}

pub(super) fn encode_q5_0(values: &[f32; 32], block: &mut [u8; 22]) {
    let scale = furthest(values) / -16.0;
    let inverse = inverse(scale);
    write_half(block, 0, scale);
    let quantized = |value: f32| ((value * inverse + 16.5) as i8).min(31) as u8;
    write_five_bits(&values.map(quantized), &mut block[2..]);
}

pub(super) fn encode_q5_1(values: &[f32; 32], block: &mut [u8; 24]) {
    let (minimum, maximum) = range(values);
    let scale = (maximum - minimum) / 31.0;
    let inverse = inverse(scale);
    write_half(block, 0, scale);
    write_half(block, 2, minimum);
    let quantized = |value: f32| ((value - minimum) * inverse + 0.5) as u8;
    write_five_bits(&values.map(quantized), &mut block[4..]);
}

fn write_five_bits(quantized: &[u8; 32], bytes: &mut [u8]) {
    let fifth = |bits: u32, (index, number): (usize, &u8)| bits | u32::from(number >> 4 & 1) << index;
    let fifth_bits = quantized.iter().enumerate().fold(0, fifth).to_le_bytes();
    let (low, high) = quantized.split_at(16);
    let fours = low.iter().zip(high).map(|(low, high)| low & 15 | (high & 15) << 4);
    for (byte, new) in bytes.iter_mut().zip(fifth_bits.into_iter().chain(fours)) {
        *byte = new;
    }
}

pub(super) fn encode_q8_0(values: &[f32; 32], block: &mut [u8; 34]) {
    let scale = furthest(values).abs() / 127.0;
    let inverse = inverse(scale);
    write_half(block, 0, scale);
    for (byte, value) in block[2..].iter_mut().zip(values) {
        *byte = (value * inverse).round() as i8 as u8;
    }
}

pub(super) fn encode_iq4_nl(values: &[f32; 32], block: &mut [u8; 18]) {
    let scale = iq4_scale(values);
    write_half(block, 0, scale);
    let indices = iq4_indices(values, inverse(scale));
    for (index, byte) in block[2..].iter_mut().enumerate() {
        *byte = indices[index] | indices[index + 16] << 4;
    }
}

fn range(values: &[f32]) -> (f32, f32) {
    let widen = |(minimum, maximum): (f32, f32), value: &f32| {
        (if *value < minimum { *value } else { minimum }, if *value > maximum { *value } else { maximum })
    };
    values.iter().fold((f32::MAX, -f32::MAX), widen)
}

/// `1 / scale`, and zero for zero.
pub(super) fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// Writes a 16-bit float into a block, and returns it as it will be read.
pub(super) fn write_half(block: &mut [u8], position: usize, value: f32) -> f32 {
    let half = f16::from_f32(value);
    if let Some(bytes) = block.get_mut(position..).and_then(<[u8]>::first_chunk_mut) {
        *bytes = half.to_le_bytes();
    }
    half.to_f32()
}
