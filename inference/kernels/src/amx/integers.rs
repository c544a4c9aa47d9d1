//! Products of integers with matrix registers (AMX-INT8).
//!
//! Lines of unpacked weights are what a tile of the second operand is. Only the sums of 32 (or 16)
//! columns are taken there, exactly; scales are applied as with AVX-512, in the same order, so
//! that the results are the same.

use std::arch::asm;
use std::arch::x86_64::*;

use super::Tiles;
use crate::activations::{BLOCK, TILE, Tile};
use crate::format::Meaning;
use crate::packed::ROWS;
use crate::product::Part;
use crate::unpack::{LINES, Numbers};

impl Tiles {
    /// Shapes for sums of 32 columns, or of 16: 0 and 1 are sums, 2 and 3 input, 4 and 5 weights.
    /// The level must be available.
    pub(crate) fn of_integers(meaning: Meaning) -> Self {
        let columns = if meaning.halves { BLOCK / 2 } else { BLOCK };
        let [sums, input, weights] = [(TILE, 4 * ROWS), (TILE, columns), (columns / 4, 4 * ROWS)];
        Self::configured([sums, sums, input, input, weights, weights, (0, 0), (0, 0)])
    }
}

/// The sums of four steps on their way from matrix registers to vectors.
#[repr(C, align(64))]
struct Sums([[[i32; ROWS]; TILE]; STEPS]);

const STEPS: usize = 4;

/// Adds the products of a part with a tile of sixteen tokens to their totals. Integers of the part
/// are signed.
///
/// # Safety
/// The processor has the instructions and [`Tiles`] of the part's meaning are configured; the
/// part's blocks are the tile's, too, and there is a total for each token.
pub(crate) unsafe fn add(part: &Part, tile: &Tile<'_>, totals: &mut [Numbers]) {
    // SAFETY: the caller's promises are these functions' too.
    unsafe {
        match (part.meaning.halves, part.meaning.minimums) {
            (false, false) => some::<false, false>(part, tile, totals),
            (false, true) => some::<false, true>(part, tile, totals),
            (true, false) => some::<true, false>(part, tile, totals),
            (true, true) => some::<true, true>(part, tile, totals),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn some<const HALVES: bool, const MINIMUMS: bool>(part: &Part, tile: &Tile<'_>, totals: &mut [Numbers]) {
    let steps = if HALVES { 2 } else { 1 };
    let count = part.blocks * steps;
    let mut buffer = std::mem::MaybeUninit::<Sums>::uninit();
    let buffer: *mut [[i32; ROWS]; TILE] = buffer.as_mut_ptr().cast();
    // SAFETY: the caller's blocks, tokens and totals; the buffer is written before it is read.
    unsafe {
        let quants = tile.quants.as_ptr().add(part.first * TILE * BLOCK);
        let lines = part.lines;
        let lines_a_step = LINES / steps;
        let take = |step: usize| {
            let input = quants.add(step / steps * (TILE * BLOCK) + step % steps * (BLOCK / 2));
            let weights = lines.add(step * lines_a_step);
            let sums = buffer.add(step % STEPS);
            asm!(
                "tilezero tmm0",
                "tileloadd tmm2, [{input} + {narrow}]",
                "tileloadd tmm4, [{weights} + {wide}]",
                "tdpbssd tmm0, tmm2, tmm4",
                "tilestored [{sums} + {wide}], tmm0",
                input = in(reg) input,
                weights = in(reg) weights,
                sums = in(reg) sums,
                narrow = in(reg) BLOCK,
                wide = in(reg) 64_usize,
                out("tmm0") _, out("tmm2") _, out("tmm4") _,
                options(nostack),
            );
        };
        let mut sums = [_mm512_setzero_ps(); TILE];
        for (token, sum) in sums.iter_mut().enumerate() {
            *sum = _mm512_loadu_ps(totals.as_ptr().add(token).cast());
        }
        take(0);
        for step in 0..count {
            // The next sums are on their way while these are scaled.
            if step + 1 < count {
                take(step + 1);
            }
            let place = (part.first + step / steps) * TILE;
            let input_scales = tile.scales.as_ptr().add(place);
            let input_sums = if HALVES {
                tile.half_sums.as_ptr().add(2 * place + step % steps * TILE)
            } else {
                tile.sums.as_ptr().add(place)
            };
            let scale = _mm512_loadu_ps(part.scales.add(step).cast());
            let minimum = _mm512_loadu_ps(part.minimums.add(step).cast());
            let dots = buffer.add(step % STEPS).cast::<[i32; ROWS]>();
            for token in 0..TILE {
                let dot = _mm512_cvtepi32_ps(_mm512_load_si512(dots.add(token).cast()));
                let worth = _mm512_mul_ps(scale, _mm512_set1_ps(*input_scales.add(token)));
                sums[token] = _mm512_fmadd_ps(dot, worth, sums[token]);
                if MINIMUMS {
                    sums[token] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(*input_sums.add(token)), sums[token]);
                }
            }
        }
        for (token, sum) in sums.iter().enumerate() {
            _mm512_storeu_ps(totals.as_mut_ptr().add(token).cast(), *sum);
        }
    }
}
