//! Products with 128-bit vectors and 8-bit dot products (NEON with DotProd): a group as four
//! quarters of four rows.

use std::arch::aarch64::*;
use std::arch::asm;

use crate::activations::{BLOCK, Tile};
use crate::packed::Group;
use crate::product::Part;
use crate::unpack::{self, LINES, Numbers, Unpacked};

/// [`unpack::unpack`] with these instructions.
///
/// # Safety
/// The processor has the instructions.
#[target_feature(enable = "neon,dotprod")]
pub(crate) unsafe fn unpack(group: &Group<'_>, first: usize, blocks: usize, unpacked: &mut Unpacked) {
    unpack::unpack(group, first, blocks, unpacked, |table, indices, line| {
        // SAFETY: a table has 16 bytes, and lines have 64.
        unsafe {
            let table = vld1q_u8(table.as_ptr());
            for quarter in 0..4 {
                let found = vqtbl1q_u8(table, vld1q_u8(indices.as_ptr().add(16 * quarter)));
                vst1q_u8(line.as_mut_ptr().add(16 * quarter), found);
            }
        }
    });
}

/// Adds the products of a part with a tile's tokens to their totals.
///
/// # Safety
/// The processor has the instructions; the part's blocks are the tile's, too, and there is a total
/// for each token.
#[target_feature(enable = "neon,dotprod")]
pub(crate) unsafe fn add(part: &Part, tile: &Tile<'_>, totals: &mut [Numbers]) {
    let mut token = 0;
    // SAFETY: the caller's promises are these functions' too.
    unsafe {
        while token + 4 <= tile.width {
            some::<4>(part, tile, token, totals);
            token += 4;
        }
        while token < tile.width {
            some::<1>(part, tile, token, totals);
            token += 1;
        }
    }
}

/// Adds the products with `TOKENS` of the tile's tokens from `first` on.
#[target_feature(enable = "neon,dotprod")]
unsafe fn some<const TOKENS: usize>(part: &Part, tile: &Tile<'_>, first: usize, totals: &mut [Numbers]) {
    let steps = if part.meaning.halves { 2 } else { 1 };
    // Weights have a sign here, and need no offset: 128 is taken off those that have no minimum.
    let sign = vdupq_n_u8(if part.meaning.minimums { 0 } else { 0x80 });
    // SAFETY: the caller's blocks, tokens and totals, and the instructions.
    unsafe {
        for block in 0..part.blocks {
            let place = (part.first + block) * tile.width;
            let quants = tile.quants.as_ptr().add((place + first) * BLOCK);
            for step in 0..steps {
                let mut dots = [[vdupq_n_s32(0); 4]; TOKENS];
                for line in step * LINES / steps..(step + 1) * LINES / steps {
                    let lines: *const u8 = part.lines.add(block * LINES + line).cast();
                    let weights: [int8x16_t; 4] = [
                        vreinterpretq_s8_u8(veorq_u8(vld1q_u8(lines), sign)),
                        vreinterpretq_s8_u8(veorq_u8(vld1q_u8(lines.add(16)), sign)),
                        vreinterpretq_s8_u8(veorq_u8(vld1q_u8(lines.add(32)), sign)),
                        vreinterpretq_s8_u8(veorq_u8(vld1q_u8(lines.add(48)), sign)),
                    ];
                    for (token, dots) in dots.iter_mut().enumerate() {
                        let input: *const i32 = quants.add(token * BLOCK + 4 * line).cast();
                        let four = vreinterpretq_s8_s32(vdupq_n_s32(input.read_unaligned()));
                        for (dot, weights) in dots.iter_mut().zip(weights) {
                            *dot = add_products(*dot, weights, four);
                        }
                    }
                }
                let scales: *const f32 = part.scales.add(block * steps + step).cast();
                let minimums: *const f32 = part.minimums.add(block * steps + step).cast();
                for (token, dots) in dots.iter().enumerate() {
                    let input_scale = vdupq_n_f32(*tile.scales.as_ptr().add(place + first + token));
                    let input_sum = if part.meaning.halves {
                        *tile.half_sums.as_ptr().add(2 * place + step * tile.width + first + token)
                    } else {
                        *tile.sums.as_ptr().add(place + first + token)
                    };
                    let total: *mut f32 = totals.as_mut_ptr().add(first + token).cast();
                    for (quarter, dot) in dots.iter().enumerate() {
                        let worth = vmulq_f32(vld1q_f32(scales.add(4 * quarter)), input_scale);
                        let mut sum = vld1q_f32(total.add(4 * quarter));
                        sum = vfmaq_f32(sum, vcvtq_f32_s32(*dot), worth);
                        if part.meaning.minimums {
                            sum = vfmaq_f32(sum, vld1q_f32(minimums.add(4 * quarter)), vdupq_n_f32(input_sum));
                        }
                        vst1q_f32(total.add(4 * quarter), sum);
                    }
                }
            }
        }
    }
}

/// Adds the products of four columns, each row's to its own sum.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add_products(sum: int32x4_t, weights: int8x16_t, input: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // The intrinsic is not stable yet.
    // SAFETY: the instruction exists, and changes nothing but the sum.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {weights:v}.16b, {input:v}.16b",
            sum = inout(vreg) sum,
            weights = in(vreg) weights,
            input = in(vreg) input,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
