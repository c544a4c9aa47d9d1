//! Products with 512-bit vectors and 8-bit dot products (AVX-512 F, BW, VL and VNNI).
//!
//! A vector holds four columns of sixteen rows; `vpdpbusd` multiplies them with four input values,
//! the same for all rows, and adds each row's four products to its own sum. Weights are unsigned
//! there, so what they are too large by is taken off with the input's sum.

use std::arch::x86_64::*;

use crate::activations::{BLOCK, Token};
use crate::packed::{Format, Group, ROWS};

/// The products of a group with `TOKENS` tokens.
///
/// # Safety
/// The processor has the instructions, the group's slices have the length of their layout, and the
/// tokens have the group's columns.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
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
    for (rows, total) in rows.iter_mut().zip(totals) {
        // SAFETY: sixteen floats fit into sixteen floats.
        unsafe { _mm512_storeu_ps(rows.as_mut_ptr(), total) };
    }
    rows
}

/// Sixteen weights that are numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn numbers<const FORMAT: u8>(group: &Group<'_>, column: usize) -> __m512 {
    // SAFETY: the caller's column is one of the group's.
    unsafe {
        let start = group.quants.as_ptr();
        match FORMAT {
            F32 => _mm512_load_ps(start.add(64 * column).cast()),
            F16 => halves(start.add(32 * column)),
            _ => {
                let wide = _mm512_cvtepu16_epi32(_mm256_load_si256(start.add(32 * column).cast()));
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
            }
        }
    }
}

const F32: u8 = 0;
const F16: u8 = 1;
const BF16: u8 = 2;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn floats<const TOKENS: usize, const FORMAT: u8>(
    group: Group<'_>,
    tokens: &[Token<'_>; TOKENS],
) -> [__m512; TOKENS] {
    // Two sums a token: an addition takes four cycles, and two can start in each.
    let mut even = [_mm512_setzero_ps(); TOKENS];
    let mut odd = [_mm512_setzero_ps(); TOKENS];
    // SAFETY: there are `blocks` columns of weights, and as many values.
    unsafe {
        for column in (0..group.blocks / 2).map(|pair| 2 * pair) {
            let (first, second) = (numbers::<FORMAT>(&group, column), numbers::<FORMAT>(&group, column + 1));
            for token in 0..TOKENS {
                let values = tokens[token].values.as_ptr().add(column);
                even[token] = _mm512_fmadd_ps(first, _mm512_set1_ps(*values), even[token]);
                odd[token] = _mm512_fmadd_ps(second, _mm512_set1_ps(*values.add(1)), odd[token]);
            }
        }
        if group.blocks % 2 == 1 {
            let last = numbers::<FORMAT>(&group, group.blocks - 1);
            for token in 0..TOKENS {
                let value = *tokens[token].values.as_ptr().add(group.blocks - 1);
                even[token] = _mm512_fmadd_ps(last, _mm512_set1_ps(value), even[token]);
            }
        }
    }
    for token in 0..TOKENS {
        even[token] = _mm512_add_ps(even[token], odd[token]);
    }
    even
}

/// Four input values in every lane.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn four(token: &Token<'_>, column: usize) -> __m512i {
    // SAFETY: the caller's column is one of the token's, and three follow it.
    unsafe { _mm512_set1_epi32(token.quants.as_ptr().add(column).cast::<i32>().read_unaligned()) }
}

/// Sixteen half-precision numbers.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn halves(bytes: *const u8) -> __m512 {
    // SAFETY: the caller has 32 bytes there.
    unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(bytes.cast())) }
}

/// Sixteen bytes as numbers.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn unsigned(bytes: *const u8) -> __m512 {
    // SAFETY: the caller has 16 bytes there.
    unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.cast()))) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn q8_0<const TOKENS: usize>(group: Group<'_>, tokens: &[Token<'_>; TOKENS]) -> [__m512; TOKENS] {
    let layout = group.format.layout();
    let mut totals = [_mm512_setzero_ps(); TOKENS];
    for block in 0..group.blocks {
        // SAFETY: the block is one of the group's and of the tokens'.
        unsafe {
            let quants = group.quants.as_ptr().add(block * layout.quants);
            let mut dots = [_mm512_setzero_si512(); TOKENS];
            for (dot, token) in dots.iter_mut().zip(tokens) {
                *dot = _mm512_set1_epi32(-128 * token.block_sum(block));
            }
            for line in 0..8 {
                let weights = _mm512_load_si512(quants.add(64 * line).cast());
                for (dot, token) in dots.iter_mut().zip(tokens) {
                    *dot = _mm512_dpbusd_epi32(*dot, weights, four(token, block * BLOCK + 4 * line));
                }
            }
            let scales = halves(group.scales.as_ptr().add(block * layout.scales));
            add_scaled(&mut totals, &dots, scales, tokens, block);
        }
    }
    totals
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn q4_0<const TOKENS: usize>(group: Group<'_>, tokens: &[Token<'_>; TOKENS]) -> [__m512; TOKENS] {
    let layout = group.format.layout();
    let low_bits = _mm512_set1_epi8(15);
    let mut totals = [_mm512_setzero_ps(); TOKENS];
    for block in 0..group.blocks {
        // SAFETY: the block is one of the group's and of the tokens'.
        unsafe {
            let quants = group.quants.as_ptr().add(block * layout.quants);
            let mut dots = [_mm512_setzero_si512(); TOKENS];
            for (dot, token) in dots.iter_mut().zip(tokens) {
                *dot = _mm512_set1_epi32(-8 * token.block_sum(block));
            }
            for line in 0..4 {
                let both = _mm512_load_si512(quants.add(64 * line).cast());
                let low = _mm512_and_si512(both, low_bits);
                let high = _mm512_and_si512(_mm512_srli_epi16::<4>(both), low_bits);
                for (dot, token) in dots.iter_mut().zip(tokens) {
                    let column = block * BLOCK + 4 * line;
                    *dot = _mm512_dpbusd_epi32(*dot, low, four(token, column));
                    *dot = _mm512_dpbusd_epi32(*dot, high, four(token, column + 16));
                }
            }
            let scales = halves(group.scales.as_ptr().add(block * layout.scales));
            add_scaled(&mut totals, &dots, scales, tokens, block);
        }
    }
    totals
}

/// Adds each token's dots, which are worth the weights' scales times the token's.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn add_scaled<const TOKENS: usize>(
    totals: &mut [__m512; TOKENS],
    dots: &[__m512i; TOKENS],
    scales: __m512,
    tokens: &[Token<'_>; TOKENS],
    block: usize,
) {
    for ((total, dot), token) in totals.iter_mut().zip(dots).zip(tokens) {
        // SAFETY: the block is one of the token's.
        let scale = unsafe { _mm512_mul_ps(scales, _mm512_set1_ps(*token.scales.as_ptr().add(block))) };
        *total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(*dot), scale, *total);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn q4_k<const TOKENS: usize>(group: Group<'_>, tokens: &[Token<'_>; TOKENS]) -> [__m512; TOKENS] {
    let layout = group.format.layout();
    let low_bits = _mm512_set1_epi8(15);
    let mut totals = [_mm512_setzero_ps(); TOKENS];
    for block in 0..group.blocks {
        // SAFETY: the block is one of the group's, and eight of the tokens'.
        unsafe {
            let quants = group.quants.as_ptr().add(block * layout.quants);
            let scales = group.scales.as_ptr().add(block * layout.scales);
            let mut inner = [_mm512_setzero_ps(); TOKENS];
            let mut below = [_mm512_setzero_ps(); TOKENS];
            for pair in 0..4 {
                let first = block * 8 + 2 * pair;
                let mut dots = [[_mm512_setzero_si512(); 2]; TOKENS];
                for line in 0..8 {
                    let both = _mm512_load_si512(quants.add(pair * 512 + 64 * line).cast());
                    let low = _mm512_and_si512(both, low_bits);
                    let high = _mm512_and_si512(_mm512_srli_epi16::<4>(both), low_bits);
                    for (dots, token) in dots.iter_mut().zip(tokens) {
                        let column = first * BLOCK + 4 * line;
                        dots[0] = _mm512_dpbusd_epi32(dots[0], low, four(token, column));
                        dots[1] = _mm512_dpbusd_epi32(dots[1], high, four(token, column + BLOCK));
                    }
                }
                for part in 0..2 {
                    let of_part = scales.add(4 * ROWS + 2 * ROWS * (2 * pair + part));
                    let (scale, minimum) = (unsigned(of_part), unsigned(of_part.add(ROWS)));
                    for (index, token) in tokens.iter().enumerate() {
                        let of_input = *token.scales.as_ptr().add(first + part);
                        let sum = of_input * token.block_sum(first + part) as f32;
                        let dot = _mm512_mul_ps(_mm512_cvtepi32_ps(dots[index][part]), _mm512_set1_ps(of_input));
                        inner[index] = _mm512_fmadd_ps(dot, scale, inner[index]);
                        below[index] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(sum), below[index]);
                    }
                }
            }
            let (scale, minimum) = (halves(scales), halves(scales.add(2 * ROWS)));
            for (index, total) in totals.iter_mut().enumerate() {
                *total = _mm512_fmadd_ps(inner[index], scale, *total);
                *total = _mm512_fnmadd_ps(below[index], minimum, *total);
            }
        }
    }
    totals
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn q6_k<const TOKENS: usize>(group: Group<'_>, tokens: &[Token<'_>; TOKENS]) -> [__m512; TOKENS] {
    let layout = group.format.layout();
    let (low_bits, high_bits) = (_mm512_set1_epi8(15), _mm512_set1_epi8(0x30));
    let mut totals = [_mm512_setzero_ps(); TOKENS];
    for block in 0..group.blocks {
        // SAFETY: the block is one of the group's, and eight of the tokens'.
        unsafe {
            let scales = group.scales.as_ptr().add(block * layout.scales);
            let mut inner = [_mm512_setzero_ps(); TOKENS];
            // A half has four quarters of 32 columns, each of two parts with scales of their own.
            for half in 0..2 {
                let low = group.quants.as_ptr().add(block * layout.quants + half * 96 * ROWS);
                let high = low.add(64 * ROWS);
                for part in 0..2 {
                    let first = |quarter: usize| (block * 8 + half * 4 + quarter) * BLOCK + 16 * part;
                    let mut dots = [[_mm512_setzero_si512(); 4]; TOKENS];
                    for (dots, token) in dots.iter_mut().zip(tokens) {
                        for (quarter, dot) in dots.iter_mut().enumerate() {
                            *dot = _mm512_set1_epi32(-32 * *token.sums.as_ptr().add(first(quarter) / 16));
                        }
                    }
                    for line in 0..4 {
                        let of_line = (4 * part + line) * 64;
                        let lower = _mm512_load_si512(low.add(of_line).cast());
                        let upper = _mm512_load_si512(low.add(32 * ROWS + of_line).cast());
                        let bits = _mm512_load_si512(high.add(of_line).cast());
                        let weights = [
                            _mm512_or_si512(
                                _mm512_and_si512(lower, low_bits),
                                _mm512_and_si512(_mm512_slli_epi16::<4>(bits), high_bits),
                            ),
                            _mm512_or_si512(
                                _mm512_and_si512(upper, low_bits),
                                _mm512_and_si512(_mm512_slli_epi16::<2>(bits), high_bits),
                            ),
                            _mm512_or_si512(
                                _mm512_and_si512(_mm512_srli_epi16::<4>(lower), low_bits),
                                _mm512_and_si512(bits, high_bits),
                            ),
                            _mm512_or_si512(
                                _mm512_and_si512(_mm512_srli_epi16::<4>(upper), low_bits),
                                _mm512_and_si512(_mm512_srli_epi16::<2>(bits), high_bits),
                            ),
                        ];
                        for (dots, token) in dots.iter_mut().zip(tokens) {
                            for quarter in 0..4 {
                                let input = four(token, first(quarter) + 4 * line);
                                dots[quarter] = _mm512_dpbusd_epi32(dots[quarter], weights[quarter], input);
                            }
                        }
                    }
                    for quarter in 0..4 {
                        let of_part = scales.add(2 * ROWS + ROWS * (8 * half + 2 * quarter + part));
                        let scale = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(of_part.cast())));
                        for (index, token) in tokens.iter().enumerate() {
                            let of_input = _mm512_set1_ps(*token.scales.as_ptr().add(first(quarter) / BLOCK));
                            let dot = _mm512_mul_ps(_mm512_cvtepi32_ps(dots[index][quarter]), of_input);
                            inner[index] = _mm512_fmadd_ps(dot, scale, inner[index]);
                        }
                    }
                }
            }
            let scale = halves(scales);
            for (total, inner) in totals.iter_mut().zip(inner) {
                *total = _mm512_fmadd_ps(inner, scale, *total);
            }
        }
    }
    totals
}
