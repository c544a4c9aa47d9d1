//! Keys and values as pages hold them ([`PageShape`]): one, two or four numbers in a word of 32 bits.
//!
//! Numbers of 16 bits are made and read by integers: not every device has such numbers. Bytes stand for what they are
//! less 128, times the scale of their position, whose largest number is 127 of it.

use codriver_kernels::PageFormat;
use cubecl::prelude::*;

use super::weights::{Four, bytes, four, half, number};
use crate::pool::PageShape;

/// 2^23 + 128: a sum with it has a byte in its last bits.
const BYTES: f32 = 8_388_736.0;

/// Where a position of a key-value head is.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Location {
    /// The head's number among those of all pages.
    head: u32,
    /// The position in its page.
    within: u32,
}

#[cube]
impl Location {
    /// That of a position by its number among those of all pages.
    pub(super) fn of_slot(slot: u32, head: u32, #[comptime] shape: PageShape) -> Location {
        let page = comptime!(shape.page as u32);
        Location { head: slot / page * comptime!(shape.heads as u32) + head, within: slot % page }
    }

    /// That of a position in the page of a number.
    pub(super) fn of_page(number: u32, within: u32, head: u32, #[comptime] shape: PageShape) -> Location {
        Location { head: number * comptime!(shape.heads as u32) + head, within }
    }

    /// The first of a key's words; the next are a page's positions further on each, so that neighbouring units read
    /// neighbouring positions.
    pub(super) fn key(&self, #[comptime] shape: PageShape) -> u32 {
        self.head * comptime!(shape.head_keys() as u32) + self.within
    }

    /// The first of a value's words, which are neighbours.
    pub(super) fn value(&self, #[comptime] shape: PageShape) -> u32 {
        self.head * comptime!(shape.head_values() as u32) + self.within * comptime!(shape.value_words() as u32)
    }

    /// The word of a key's scale.
    pub(super) fn key_scale(&self, #[comptime] shape: PageShape) -> u32 {
        self.key(shape) + comptime!((shape.key_words() * shape.page) as u32)
    }

    /// The word of a value's scale.
    pub(super) fn value_scale(&self, #[comptime] shape: PageShape) -> u32 {
        let values = comptime!((shape.value_words() * shape.page) as u32);
        self.head * comptime!(shape.head_values() as u32) + values + self.within
    }
}

/// Four neighbouring dimensions of the key that begins at `start`, before they are scaled.
#[cube]
pub(super) fn key_four(keys: &[u32], start: u32, quarter: u32, #[comptime] shape: PageShape) -> Four {
    let page = comptime!(shape.page);
    let at = (start + quarter * comptime!((4 / shape.dense() * shape.page) as u32)) as usize;
    match comptime!(shape.format) {
        PageFormat::F32 => four(
            f32::reinterpret(keys[at]),
            f32::reinterpret(keys[at + page]),
            f32::reinterpret(keys[at + 2 * page]),
            f32::reinterpret(keys[at + 3 * page]),
        ),
        PageFormat::F16 => {
            let (low, high) = (keys[at], keys[at + page]);
            four(half(low, 0u32), half(low, 1u32), half(high, 0u32), half(high, 1u32))
        }
        PageFormat::Q8 => bytes(keys[at], BYTES),
    }
}

/// A dimension of the value that begins at `start`; `scale` is that of its position.
#[cube]
pub(super) fn value_number(
    values: &[u32],
    start: u32,
    dimension: u32,
    scale: f32,
    #[comptime] shape: PageShape,
) -> f32 {
    let dense = comptime!(shape.dense() as u32);
    let word = values[(start + dimension / dense) as usize];
    match comptime!(shape.format) {
        PageFormat::F32 => f32::reinterpret(word),
        PageFormat::F16 => half(word, dimension % dense),
        PageFormat::Q8 => number((word >> (8 * (dimension % dense))) & 255, BYTES) * scale,
    }
}

/// What a word holds of the numbers from its first dimension on; `inverse` is what bytes are steps of, inverted.
#[cube]
pub(super) fn packed(numbers: &Shared<[f32]>, word: u32, inverse: f32, #[comptime] shape: PageShape) -> u32 {
    let first = word as usize * comptime!(shape.dense());
    match comptime!(shape.format) {
        PageFormat::F32 => u32::reinterpret(numbers[first]),
        PageFormat::F16 => halves(numbers[first], numbers[first + 1]),
        PageFormat::Q8 => {
            let low = byte(numbers[first], inverse) | (byte(numbers[first + 1], inverse) << 8u32);
            let high = byte(numbers[first + 2], inverse) | (byte(numbers[first + 3], inverse) << 8u32);
            low | (high << 16u32)
        }
    }
}

/// The word of two neighbouring dimensions.
#[cube]
pub(super) fn halves(first: f32, second: f32) -> u32 {
    half_bits(first) | (half_bits(second) << 16u32)
}

/// The nearest number of 16 bits, of two the even one.
#[cube]
fn half_bits(number: f32) -> u32 {
    let bits = u32::reinterpret(number);
    let sign = (bits >> 16u32) & 0x8000;
    let size = bits & 0x7fff_ffff;
    // What is rounded up goes on into the exponent, and past the largest number to infinity.
    let normal = (size + 0xfff + ((size >> 13u32) & 1) - 0x3800_0000) >> 13u32;
    // The last bit of 0.5 is worth the smallest number.
    let small = u32::reinterpret(f32::reinterpret(size) + 0.5f32) - 0x3f00_0000;
    let beyond = select(size > 0x7f80_0000, 0x7e00u32, 0x7c00u32);
    sign | select(size < 0x3880_0000, small, select(size >= 0x4780_0000, beyond, normal))
}

/// The nearest byte, of two the even one.
#[cube]
fn byte(number: f32, inverse: f32) -> u32 {
    u32::reinterpret(fma(number, inverse, BYTES)) & 255
}

/// The size of a number, and whether it is none: 1 where it is infinite or not a number, which count as nothing.
#[cube]
pub(super) fn size_and_fault(number: f32) -> (f32, f32) {
    let size = u32::reinterpret(number) & 0x7fff_ffff;
    let fault = size >= 0x7f80_0000;
    (select(fault, 0.0f32, f32::reinterpret(size)), select(fault, 1.0f32, 0.0f32))
}

/// What bytes are multiplied by where the largest number is `largest`, as a word, and its inverse. The fault of one
/// that is no number is the scale's, so that it goes on.
#[cube]
pub(super) fn scale(largest: f32, fault: f32) -> (u32, f32) {
    let scale = largest / 127.0f32;
    let inverse = select(scale >= 1.175_494_4e-38f32, 1.0f32 / scale, 0.0f32);
    (select(fault > 0.0f32, 0x7fc0_0000u32, u32::reinterpret(scale)), inverse)
}
