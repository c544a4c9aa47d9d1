//! Weights as kernels read them: eight neighbours of a row at a time, in any format.

use cubecl::prelude::*;

use crate::matrix::Encoding;

/// Four numbers, a load of 16 bytes.
pub(crate) type Four = Vector<f32, Const<4>>;

/// Eight weights: `scale * number + offset` each.
#[derive(CubeType)]
pub(crate) struct Eight {
    pub(crate) low: Four,
    pub(crate) high: Four,
    pub(crate) scale: f32,
    pub(crate) offset: f32,
}

/// The weights of columns `8 * chunk` to `8 * chunk + 7` of a row of `chunks` chunks.
///
/// `quants` and `details` are as [`crate::Matrix`] lays them out.
#[cube]
pub(crate) fn eight<W: Size>(
    quants: &[Vector<u32, W>],
    details: &[u32],
    row: usize,
    chunk: usize,
    chunks: usize,
    #[comptime] encoding: Encoding,
) -> Eight {
    let at = row * chunks + chunk;
    match encoding {
        Encoding::F32 => Eight {
            low: Four::reinterpret(quants[2 * at]),
            high: Four::reinterpret(quants[2 * at + 1]),
            scale: 1.0f32,
            offset: 0.0f32,
        },
        Encoding::BF16 => {
            let words = quants[at];
            Eight {
                low: four(
                    bf16_low(words.extract(0usize)),
                    bf16_high(words.extract(0usize)),
                    bf16_low(words.extract(1usize)),
                    bf16_high(words.extract(1usize)),
                ),
                high: four(
                    bf16_low(words.extract(2usize)),
                    bf16_high(words.extract(2usize)),
                    bf16_low(words.extract(3usize)),
                    bf16_high(words.extract(3usize)),
                ),
                scale: 1.0f32,
                offset: 0.0f32,
            }
        }
        Encoding::F16 => {
            let words = quants[at];
            Eight {
                low: four(
                    half(words.extract(0usize), 0u32),
                    half(words.extract(0usize), 1u32),
                    half(words.extract(1usize), 0u32),
                    half(words.extract(1usize), 1u32),
                ),
                high: four(
                    half(words.extract(2usize), 0u32),
                    half(words.extract(2usize), 1u32),
                    half(words.extract(3usize), 0u32),
                    half(words.extract(3usize), 1u32),
                ),
                scale: 1.0f32,
                offset: 0.0f32,
            }
        }
        Encoding::Q8_0 => {
            let words = quants[at];
            let blocks = chunks / 4;
            Eight {
                low: bytes(words.extract(0usize), 8388736.0f32),
                high: bytes(words.extract(1usize), 8388736.0f32),
                scale: scale(details, row * words_of(blocks), chunk / 4),
                offset: 0.0f32,
            }
        }
        Encoding::Q4_0 => {
            let word = quants[at].extract(0usize);
            let blocks = chunks / 4;
            Eight {
                low: nibbles(word, 8388616.0f32),
                high: nibbles(word >> 4u32, 8388616.0f32),
                scale: scale(details, row * words_of(blocks), chunk / 4),
                offset: 0.0f32,
            }
        }
        Encoding::Q4K => {
            let word = quants[at].extract(0usize);
            let start = 4 * (at / 32);
            let part = u32::cast_from((chunk / 4) % 8);
            let low = details[start + 1 + usize::cast_from(part / 4)] >> (8 * (part % 4));
            let high = details[start + 3] >> (4 * part);
            let scales = details[start];
            let step = f32::cast_from((low & 15) | ((high & 3) << 4));
            let minimum = f32::cast_from(((low >> 4) & 15) | (((high >> 2) & 3) << 4));
            Eight {
                low: nibbles(word, 8388608.0f32),
                high: nibbles(word >> 4u32, 8388608.0f32),
                scale: half(scales, 0u32) * step,
                offset: 0.0f32 - half(scales, 1u32) * minimum,
            }
        }
        Encoding::Q6K => {
            let word = quants[at].extract(0usize);
            let super_blocks = chunks / 32;
            // A row: two bits a weight, a scale a sixteenth of a block, and the blocks' own scales.
            let start = row * (20 * super_blocks + words_of(super_blocks));
            let crumbs = details[start + chunk / 2] >> (16 * u32::cast_from(chunk % 2));
            let scales = start + 16 * super_blocks;
            let sixteenth = chunk / 2;
            let byte = (details[scales + sixteenth / 4] >> (8 * u32::cast_from(sixteenth % 4))) & 255;
            // The scale has a sign.
            let step = f32::cast_from(byte ^ 128) - 128.0f32;
            let block = scale(details, start + 20 * super_blocks, chunk / 32);
            Eight {
                low: sextets(word, crumbs),
                high: sextets(word >> 4u32, crumbs >> 8u32),
                scale: block * step,
                offset: 0.0f32,
            }
        }
    }
}

/// How many words hold so many numbers of 16 bits.
#[cube]
fn words_of(halves: usize) -> usize {
    halves.div_ceil(2)
}

/// The scale of a block, of those that begin at a word.
#[cube]
fn scale(details: &[u32], start: usize, block: usize) -> f32 {
    half(details[start + block / 2], u32::cast_from(block % 2))
}

#[cube]
pub(crate) fn four(a: f32, b: f32, c: f32, d: f32) -> Four {
    let mut vector = Four::empty();
    vector.insert(0usize, a);
    vector.insert(1usize, b);
    vector.insert(2usize, c);
    vector.insert(3usize, d);
    vector
}

#[cube]
fn bf16_low(word: u32) -> f32 {
    f32::reinterpret(word << 16u32)
}

#[cube]
fn bf16_high(word: u32) -> f32 {
    f32::reinterpret(word & 0xffff_0000u32)
}

/// The lower or the upper 16 bits as a number, by integers: not every device has such numbers, and
/// one that takes the smallest for zero would lose scales of K-quants.
#[cube]
pub(super) fn half(word: u32, upper: u32) -> f32 {
    let bits = (word >> (16 * upper)) & 0xffff;
    let sign = (bits & 0x8000) << 16u32;
    let exponent = (bits >> 10u32) & 31;
    let fraction = bits & 0x3ff;
    // 2^-24 a unit, where there is no exponent.
    let small = f32::reinterpret(u32::reinterpret(f32::cast_from(fraction) * 5.960_464_5e-8f32) | sign);
    let normal = f32::reinterpret(sign | ((exponent + 112) << 23u32) | (fraction << 13u32));
    let special = f32::reinterpret(sign | 0x7f80_0000u32 | (fraction << 13u32));
    select(exponent == 0, small, select(exponent == 31, special, normal))
}

/// A small integer in the last bits of 2^23, less what `bias` has beyond that.
#[cube]
pub(super) fn number(bits: u32, bias: f32) -> f32 {
    f32::reinterpret(bits | 0x4b00_0000u32) - bias
}

/// The word's bytes.
#[cube]
pub(super) fn bytes(word: u32, #[comptime] bias: f32) -> Four {
    four(
        number(word & 255, bias),
        number((word >> 8u32) & 255, bias),
        number((word >> 16u32) & 255, bias),
        number(word >> 24u32, bias),
    )
}

/// The lower halves of the word's bytes.
#[cube]
fn nibbles(word: u32, #[comptime] bias: f32) -> Four {
    four(
        number(word & 15, bias),
        number((word >> 8u32) & 15, bias),
        number((word >> 16u32) & 15, bias),
        number((word >> 24u32) & 15, bias),
    )
}

/// The lower halves of the word's bytes, each with two bits above them; -32 to 31.
#[cube]
fn sextets(word: u32, crumbs: u32) -> Four {
    four(
        number((word & 15) | ((crumbs & 3) << 4u32), 8388640.0f32),
        number(((word >> 8u32) & 15) | (((crumbs >> 2u32) & 3) << 4u32), 8388640.0f32),
        number(((word >> 16u32) & 15) | (((crumbs >> 4u32) & 3) << 4u32), 8388640.0f32),
        number(((word >> 24u32) & 15) | (((crumbs >> 6u32) & 3) << 4u32), 8388640.0f32),
    )
}
