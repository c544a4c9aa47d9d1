//! Products with matrix registers (AMX-INT8): sixteen tokens times sixteen rows at once.
//!
//! Lines of unpacked weights are what a tile of the second operand is. Only the sums of 32 (or 16)
//! columns are taken there, exactly; scales are applied as with AVX-512, in the same order, so
//! that the results are the same.

use std::arch::asm;
use std::arch::x86_64::*;
use std::sync::OnceLock;

use crate::activations::{BLOCK, TILE, Tile};
use crate::format::Meaning;
use crate::packed::ROWS;
use crate::product::Part;
use crate::unpack::{LINES, Numbers};

/// Whether the processor has the instructions and the operating system lets this process use them.
pub(crate) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        const TILE_AND_INT8: u32 = 1 << 24 | 1 << 25;
        __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & TILE_AND_INT8 == TILE_AND_INT8 && is_permitted()
    })
}

/// Asks for the registers' room in every thread's saved state (arch_prctl(2)).
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // SAFETY: the call has no effect on memory.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// This thread's matrix registers while they have the shapes of a product.
pub(crate) struct Tiles(());

impl Tiles {
    /// Shapes for sums of 32 columns, or of 16: 0 and 1 are sums, 2 and 3 input, 4 and 5 weights.
    /// The level must be available.
    pub(crate) fn configured(meaning: Meaning) -> Self {
        #[repr(C, align(64))]
        struct Configuration {
            palette: u8,
            start: u8,
            reserved: [u8; 14],
            bytes: [u16; 16],
            rows: [u8; 16],
        }
        let columns = if meaning.halves { BLOCK / 2 } else { BLOCK };
        let mut configuration =
            Configuration { palette: 1, start: 0, reserved: [0; 14], bytes: [0; 16], rows: [0; 16] };
        for (tile, (bytes, rows)) in [(64, TILE), (columns, TILE), (64, columns / 4)].into_iter().enumerate() {
            for copy in 0..2 {
                configuration.bytes[2 * tile + copy] = bytes as u16;
                configuration.rows[2 * tile + copy] = rows as u8;
            }
        }
        // SAFETY: a valid configuration for palette 1, and the instruction exists.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &configuration, options(nostack, readonly)) };
        Self(())
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // Threads without configured tiles are cheaper to switch between.
        // SAFETY: the instruction exists, as tiles were configured.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
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
