//! Products with 256-bit vectors (AVX2, FMA, F16C): a group as two halves of eight rows.

use std::arch::x86_64::*;

use crate::activations::{BLOCK, Token};
use crate::packed::{Format, Group, ROWS};

/// Eight rows, and the eight after them.
type Both<T> = [T; 2];

/// The products of a group with `TOKENS` tokens.
///
/// # Safety
/// The processor has the instructions, the group's slices have the length of their layout, and the
/// tokens have the group's columns.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn multiply<const TOKENS: usize>(
    group: Group<'_>,
    tokens: &[Token<'_>; TOKENS],
) -> [[f32; ROWS]; TOKENS] {
    // SAFETY: the caller's promises are these functions' too.
    let totals = unsafe {
        match group.format {
            Format::F32 => floats::<TOKENS, F32>(group, tokens),
            Format::F16 => floats::<TOKENS, F16>(group, tokens),
            Format::BF16 => floats::<TOKENS, BF16>(group, tokens),
            Format::Q8_0 => q8_0(group, tokens),
            Format::Q4_0 => q4_0(group, tokens),
            Format::Q4K => q4_k(group, tokens),
            Format::Q6K => q6_k(group, tokens),
        }
    };
    let mut rows = [[0.0; ROWS]; TOKENS];
    for (rows, [first, second]) in rows.iter_mut().zip(totals) {
        // SAFETY: twice eight floats fit into sixteen floats.
        unsafe {
            _mm256_storeu_ps(rows.as_mut_ptr(), first);
            _mm256_storeu_ps(rows.as_mut_ptr().add(8), second);
        }
    }
    rows
}

/// Sixteen weights that are numbers.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn numbers<const FORMAT: u8>(group: &Group<'_>, column: usize) -> Both<__m256> {
    // SAFETY: the caller's column is one of the group's.
    unsafe {
        let start = group.quants.as_ptr();
        match FORMAT {
            F32 => {
                let line: *const f32 = start.add(64 * column).cast();
                [_mm256_load_ps(line), _mm256_load_ps(line.add(8))]
            }
            F16 => halves(start.add(32 * column)),
            _ => {
                let line: *const __m128i = start.add(32 * column).cast();
                let first = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_load_si128(line)));
                let second = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_load_si128(line.add(1))));
                [_mm256_castsi256_ps(first), _mm256_castsi256_ps(second)]
            }
        }
    }
}

const F32: u8 = 0;
const F16: u8 = 1;
const BF16: u8 = 2;

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn floats<const TOKENS: usize, const FORMAT: u8>(
    group: Group<'_>,
    tokens: &[Token<'_>; TOKENS],
) -> [Both<__m256>; TOKENS] {
    let mut totals = [[_mm256_setzero_ps(); 2]; TOKENS];
    for column in 0..group.blocks {
        // SAFETY: there are `blocks` columns of sixteen weights, and as many values.
        unsafe {
            let weights = numbers::<FORMAT>(&group, column);
            for (total, token) in totals.iter_mut().zip(tokens) {
                let value = _mm256_set1_ps(*token.values.as_ptr().add(column));
                for half in 0..2 {
                    total[half] = _mm256_fmadd_ps(weights[half], value, total[half]);
                }
            }
        }
    }
    totals
}

/// Four input values in every lane.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn four(token: &Token<'_>, column: usize) -> __m256i {
    // SAFETY: the caller's column is one of the token's, and three follow it.
    unsafe { _mm256_set1_epi32(token.quants.as_ptr().add(column).cast::<i32>().read_unaligned()) }
}

/// Adds each row's four products to its sum. `weights` are unsigned and at most 63, so that two
/// products fit into the 16 bits that they are added in.
#[inline]
#[target_feature(enable = "avx2")]
fn add_products(sum: __m256i, weights: __m256i, input: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(weights, input);
    _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

/// The same for signed weights: their sign goes over to the input, which is never -128.
#[inline]
#[target_feature(enable = "avx2")]
fn add_signed_products(sum: __m256i, weights: __m256i, input: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(input, weights));
    _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

/// The half-precision numbers of sixteen rows.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn halves(bytes: *const u8) -> Both<__m256> {
    // SAFETY: the caller has 32 bytes there.
    unsafe { [_mm256_cvtph_ps(_mm_loadu_si128(bytes.cast())), _mm256_cvtph_ps(_mm_loadu_si128(bytes.add(16).cast()))] }
}

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn lines(bytes: *const u8) -> Both<__m256i> {
    // SAFETY: the caller has a cache line there.
    unsafe { [_mm256_load_si256(bytes.cast()), _mm256_load_si256(bytes.add(32).cast())] }
}

/// The sixteen unsigned bytes of sixteen rows as numbers.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn unsigned(bytes: *const u8) -> Both<__m256> {
    // SAFETY: the caller has 16 bytes there.
    unsafe {
        [
            _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(bytes.cast()))),
            _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(bytes.add(8).cast()))),
        ]
    }
}

/// Adds each token's dots, which are worth the weights' scales times the token's.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn add_scaled<const TOKENS: usize>(
    totals: &mut [Both<__m256>; TOKENS],
    dots: &[Both<__m256i>; TOKENS],
    scales: Both<__m256>,
    tokens: &[Token<'_>; TOKENS],
    block: usize,
) {
    for ((total, dot), token) in totals.iter_mut().zip(dots).zip(tokens) {
        // SAFETY: the block is one of the token's.
        let of_input = unsafe { _mm256_set1_ps(*token.scales.as_ptr().add(block)) };
        for half in 0..2 {
            let scale = _mm256_mul_ps(scales[half], of_input);
            total[half] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[half]), scale, total[half]);
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q8_0<const TOKENS: usize>(group: Group<'_>, tokens: &[Token<'_>; TOKENS]) -> [Both<__m256>; TOKENS] {
    let layout = group.format.layout();
    let sign = _mm256_set1_epi8(-128);
    let mut totals = [[_mm256_setzero_ps(); 2]; TOKENS];
    for block in 0..group.blocks {
        // SAFETY: the block is one of the group's and of the tokens'.
        unsafe {
            let quants = group.quants.as_ptr().add(block * layout.quants);
            let mut dots = [[_mm256_setzero_si256(); 2]; TOKENS];
            for line in 0..8 {
                let [first, second] = lines(quants.add(64 * line));
                let weights = [_mm256_xor_si256(first, sign), _mm256_xor_si256(second, sign)];
                for (dots, token) in dots.iter_mut().zip(tokens) {
                    let input = four(token, block * BLOCK + 4 * line);
                    for (dot, weights) in dots.iter_mut().zip(weights) {
                        *dot = add_signed_products(*dot, weights, input);
                    }
                }
            }
            let scales = halves(group.scales.as_ptr().add(block * layout.scales));
            add_scaled(&mut totals, &dots, scales, tokens, block);
        }
    }
    totals
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q4_0<const TOKENS: usize>(group: Group<'_>, tokens: &[Token<'_>; TOKENS]) -> [Both<__m256>; TOKENS] {
    let layout = group.format.layout();
    let low_bits = _mm256_set1_epi8(15);
    let mut totals = [[_mm256_setzero_ps(); 2]; TOKENS];
    for block in 0..group.blocks {
        // SAFETY: the block is one of the group's and of the tokens'.
        unsafe {
            let quants = group.quants.as_ptr().add(block * layout.quants);
            let mut dots = [[_mm256_setzero_si256(); 2]; TOKENS];
            for (dots, token) in dots.iter_mut().zip(tokens) {
                *dots = [_mm256_set1_epi32(-8 * token.block_sum(block)); 2];
            }
            for line in 0..4 {
                let both = lines(quants.add(64 * line));
                let low = [_mm256_and_si256(both[0], low_bits), _mm256_and_si256(both[1], low_bits)];
                let high = [
                    _mm256_and_si256(_mm256_srli_epi16::<4>(both[0]), low_bits),
                    _mm256_and_si256(_mm256_srli_epi16::<4>(both[1]), low_bits),
                ];
                for (dots, token) in dots.iter_mut().zip(tokens) {
                    let column = block * BLOCK + 4 * line;
                    let (for_low, for_high) = (four(token, column), four(token, column + 16));
                    for half in 0..2 {
                        dots[half] = add_products(dots[half], low[half], for_low);
                        dots[half] = add_products(dots[half], high[half], for_high);
                    }
                }
            }
            let scales = halves(group.scales.as_ptr().add(block * layout.scales));
            add_scaled(&mut totals, &dots, scales, tokens, block);
        }
    }
    totals
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q4_k<const TOKENS: usize>(group: Group<'_>, tokens: &[Token<'_>; TOKENS]) -> [Both<__m256>; TOKENS] {
    let layout = group.format.layout();
    let low_bits = _mm256_set1_epi8(15);
    let mut totals = [[_mm256_setzero_ps(); 2]; TOKENS];
    for block in 0..group.blocks {
        // SAFETY: the block is one of the group's, and eight of the tokens'.
        unsafe {
            let quants = group.quants.as_ptr().add(block * layout.quants);
            let scales = group.scales.as_ptr().add(block * layout.scales);
            let mut inner = [[_mm256_setzero_ps(); 2]; TOKENS];
            let mut below = [[_mm256_setzero_ps(); 2]; TOKENS];
            for part in 0..8 {
                let of_input = block * 8 + part;
                let mut dots = [[_mm256_setzero_si256(); 2]; TOKENS];
                for line in 0..8 {
                    let mut weights = lines(quants.add(part / 2 * 512 + 64 * line));
                    for weights in &mut weights {
                        let bits = if part % 2 == 0 { *weights } else { _mm256_srli_epi16::<4>(*weights) };
                        *weights = _mm256_and_si256(bits, low_bits);
                    }
                    for (dots, token) in dots.iter_mut().zip(tokens) {
                        let input = four(token, of_input * BLOCK + 4 * line);
                        for (dot, weights) in dots.iter_mut().zip(weights) {
                            *dot = add_products(*dot, weights, input);
                        }
                    }
                }
                let of_part = scales.add(4 * ROWS + 2 * ROWS * part);
                let (scale, minimum) = (unsigned(of_part), unsigned(of_part.add(ROWS)));
                for (index, token) in tokens.iter().enumerate() {
                    let input_scale = *token.scales.as_ptr().add(of_input);
                    let sum = _mm256_set1_ps(input_scale * token.block_sum(of_input) as f32);
                    for half in 0..2 {
                        let dot = _mm256_cvtepi32_ps(dots[index][half]);
                        let dot = _mm256_mul_ps(dot, _mm256_set1_ps(input_scale));
                        inner[index][half] = _mm256_fmadd_ps(dot, scale[half], inner[index][half]);
                        below[index][half] = _mm256_fmadd_ps(minimum[half], sum, below[index][half]);
                    }
                }
            }
            let (scale, minimum) = (halves(scales), halves(scales.add(2 * ROWS)));
            for (index, total) in totals.iter_mut().enumerate() {
                for half in 0..2 {
                    total[half] = _mm256_fmadd_ps(inner[index][half], scale[half], total[half]);
                    total[half] = _mm256_fnmadd_ps(below[index][half], minimum[half], total[half]);
                }
            }
        }
    }
    totals
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q6_k<const TOKENS: usize>(group: Group<'_>, tokens: &[Token<'_>; TOKENS]) -> [Both<__m256>; TOKENS] {
    let layout = group.format.layout();
    let (low_bits, high_bits) = (_mm256_set1_epi8(15), _mm256_set1_epi8(0x30));
    let mut totals = [[_mm256_setzero_ps(); 2]; TOKENS];
    for block in 0..group.blocks {
        // SAFETY: the block is one of the group's, and eight of the tokens'.
        unsafe {
            let scales = group.scales.as_ptr().add(block * layout.scales);
            let mut inner = [[_mm256_setzero_ps(); 2]; TOKENS];
            // Sixteen parts of sixteen columns: two to each quarter of a half.
            for part in 0..16 {
                let (half_block, quarter) = (part / 8, part % 8 / 2);
                let low = group.quants.as_ptr().add(block * layout.quants + half_block * 96 * ROWS);
                let first = block * 256 + part * 16;
                let mut dots = [[_mm256_setzero_si256(); 2]; TOKENS];
                for (dots, token) in dots.iter_mut().zip(tokens) {
                    *dots = [_mm256_set1_epi32(-32 * *token.sums.as_ptr().add(first / 16)); 2];
                }
                for line in 0..4 {
                    let of_line = (4 * (part % 2) + line) * 64;
                    let four_bits = lines(low.add(quarter % 2 * 32 * ROWS + of_line));
                    let two_bits = lines(low.add(64 * ROWS + of_line));
                    let mut weights = [_mm256_setzero_si256(); 2];
                    for half in 0..2 {
                        let (four_bits, two_bits) = (four_bits[half], two_bits[half]);
                        let (four_bits, two_bits) = match quarter {
                            0 => (four_bits, _mm256_slli_epi16::<4>(two_bits)),
                            1 => (four_bits, _mm256_slli_epi16::<2>(two_bits)),
                            2 => (_mm256_srli_epi16::<4>(four_bits), two_bits),
                            _ => (_mm256_srli_epi16::<4>(four_bits), _mm256_srli_epi16::<2>(two_bits)),
                        };
                        let four_bits = _mm256_and_si256(four_bits, low_bits);
                        weights[half] = _mm256_or_si256(four_bits, _mm256_and_si256(two_bits, high_bits));
                    }
                    for (dots, token) in dots.iter_mut().zip(tokens) {
                        let input = four(token, first + 4 * line);
                        for (dot, weights) in dots.iter_mut().zip(weights) {
                            *dot = add_products(*dot, weights, input);
                        }
                    }
                }
                let of_part = scales.add(2 * ROWS + ROWS * part);
                let scale = [
                    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(of_part.cast()))),
                    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(of_part.add(8).cast()))),
                ];
                for (index, token) in tokens.iter().enumerate() {
                    let of_input = _mm256_set1_ps(*token.scales.as_ptr().add(first / BLOCK));
                    for half in 0..2 {
                        let dot = _mm256_mul_ps(_mm256_cvtepi32_ps(dots[index][half]), of_input);
                        inner[index][half] = _mm256_fmadd_ps(dot, scale[half], inner[index][half]);
                    }
                }
            }
            let scale = halves(scales);
            for (index, total) in totals.iter_mut().enumerate() {
                for half in 0..2 {
                    total[half] = _mm256_fmadd_ps(inner[index][half], scale[half], total[half]);
                }
            }
        }
    }
    totals
}
