//! Products with 512-bit vectors and 8-bit dot products (AVX-512 F, BW, VL and VNNI).
//!
//! A vector holds four columns of sixteen rows; `vpdpbusd` multiplies them with four input values,
//! the same for all rows, and adds each row's four products to its own sum. Weights are unsigned
//! there, so what they are too large by is taken off with the input's sum.

use std::arch::x86_64::*;

use crate::activations::{BLOCK, Tile};
use crate::format::Format;
use crate::packed::{Group, ROWS};
use crate::product::Part;
use crate::unpack::{self, LINES, Numbers, Unpacked};

/// [`unpack::unpack`] with these instructions.
///
/// # Safety
/// The processor has the instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(crate) unsafe fn unpack(group: &Group<'_>, first: usize, blocks: usize, unpacked: &mut Unpacked) {
    unpack::unpack(group, first, blocks, unpacked, |table, indices, line| {
        // SAFETY: a table has 16 bytes, and lines have 64.
        unsafe {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            let found = _mm512_shuffle_epi8(table, _mm512_loadu_si512(indices.as_ptr().cast()));
            _mm512_storeu_si512(line.as_mut_ptr().cast(), found);
        }
    });
}

/// Adds the products of a part with a tile's tokens to their totals.
///
/// # Safety
/// The processor has the instructions; the part's blocks are the tile's, too, and there is a total
/// for each token.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(crate) unsafe fn add(part: &Part, tile: &Tile<'_>, totals: &mut [Numbers]) {
    macro_rules! width {
        ($halves:literal, $minimums:literal) => {
            match tile.width {
                16 => some::<16, $halves, $minimums>(part, tile, totals),
                8 => some::<8, $halves, $minimums>(part, tile, totals),
                4 => some::<4, $halves, $minimums>(part, tile, totals),
                2 => some::<2, $halves, $minimums>(part, tile, totals),
                _ => some::<1, $halves, $minimums>(part, tile, totals),
            }
        };
    }
    // SAFETY: the caller's promises are these functions' too.
    unsafe {
        match (part.meaning.halves, part.meaning.minimums) {
            (false, false) => width!(false, false),
            (false, true) => width!(false, true),
            (true, false) => width!(true, false),
            (true, true) => width!(true, true),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn some<const WIDTH: usize, const HALVES: bool, const MINIMUMS: bool>(
    part: &Part,
    tile: &Tile<'_>,
    totals: &mut [Numbers],
) {
    let steps = if HALVES { 2 } else { 1 };
    // SAFETY: the caller's blocks, tokens and totals.
    unsafe {
        let mut sums: [__m512; WIDTH] = [_mm512_setzero_ps(); WIDTH];
        for (token, sum) in sums.iter_mut().enumerate() {
            *sum = _mm512_loadu_ps(totals.as_ptr().add(token).cast());
        }
        for block in 0..part.blocks {
            let lines = part.lines.add(block * LINES);
            let mut weights = [_mm512_setzero_si512(); LINES];
            for (line, weights) in weights.iter_mut().enumerate() {
                *weights = _mm512_loadu_si512(lines.add(line).cast());
            }
            let place = (part.first + block) * WIDTH;
            let quants = tile.quants.as_ptr().add(place * BLOCK);
            let input_scales = tile.scales.as_ptr().add(place);
            for step in 0..steps {
                let scale = _mm512_loadu_ps(part.scales.add(block * steps + step).cast());
                let minimum = _mm512_loadu_ps(part.minimums.add(block * steps + step).cast());
                let half_place = 2 * place + step * WIDTH;
                let (offsets, input_sums) = if HALVES {
                    (tile.half_offsets.as_ptr().add(half_place), tile.half_sums.as_ptr().add(half_place))
                } else {
                    (tile.offsets.as_ptr().add(place), tile.sums.as_ptr().add(place))
                };
                for token in 0..WIDTH {
                    let input: *const i32 = quants.add(token * BLOCK).cast();
                    let mut dot =
                        if MINIMUMS { _mm512_setzero_si512() } else { _mm512_set1_epi32(*offsets.add(token)) };
                    for line in step * LINES / steps..(step + 1) * LINES / steps {
                        let four = _mm512_set1_epi32(input.add(line).read_unaligned());
                        dot = _mm512_dpbusd_epi32(dot, weights[line], four);
                    }
                    let worth = _mm512_mul_ps(scale, _mm512_set1_ps(*input_scales.add(token)));
                    sums[token] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), worth, sums[token]);
                    if MINIMUMS {
                        sums[token] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(*input_sums.add(token)), sums[token]);
                    }
                }
            }
        }
        for (token, sum) in sums.iter().enumerate() {
            _mm512_storeu_ps(totals.as_mut_ptr().add(token).cast(), *sum);
        }
    }
}

/// The products of a group of numbers with `TOKENS` tokens.
///
/// # Safety
/// The processor has the instructions, the group's slices have the length of their layout, and the
/// tokens have the group's columns.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(crate) unsafe fn floats<const TOKENS: usize>(group: Group<'_>, tokens: &[&[f32]; TOKENS]) -> [[f32; ROWS]; TOKENS] {
    // SAFETY: the caller's promises are these functions' too.
    let totals = unsafe {
        match group.format {
            Format::F32 => numbers_times::<TOKENS, F32>(group, tokens),
            Format::F16 => numbers_times::<TOKENS, F16>(group, tokens),
            _ => numbers_times::<TOKENS, BF16>(group, tokens),
        }
    };
    let mut rows = [[0.0; ROWS]; TOKENS];
    for (rows, total) in rows.iter_mut().zip(totals) {
        // SAFETY: sixteen floats fit into sixteen floats.
        unsafe { _mm512_storeu_ps(rows.as_mut_ptr(), total) };
    }
    rows
}

/// Sixteen weights that are numbers, of bfloat16 those of a last column.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn numbers<const FORMAT: u8>(group: &Group<'_>, column: usize) -> __m512 {
    // SAFETY: the caller's column is one of the group's.
    unsafe {
        let start = group.quants.as_ptr();
        match FORMAT {
            F32 => _mm512_load_ps(start.add(64 * column).cast()),
            F16 => _mm512_cvtph_ps(_mm256_load_si256(start.add(32 * column).cast())),
            _ => {
                let wide = _mm512_cvtepu16_epi32(_mm256_load_si256(start.add(32 * column).cast()));
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
            }
        }
    }
}

/// The weights of two columns, the first one even.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn pair<const FORMAT: u8>(group: &Group<'_>, column: usize) -> [__m512; 2] {
    // SAFETY: the caller's columns are the group's.
    unsafe {
        if FORMAT != BF16 {
            return [numbers::<FORMAT>(group, column), numbers::<FORMAT>(group, column + 1)];
        }
        let both = _mm512_loadu_si512(group.quants.as_ptr().add(32 * column).cast());
        let second = _mm512_and_si512(both, _mm512_set1_epi32(0xffff_0000_u32.cast_signed()));
        [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(both)), _mm512_castsi512_ps(second)]
    }
}

const F32: u8 = 0;
const F16: u8 = 1;
const BF16: u8 = 2;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn numbers_times<const TOKENS: usize, const FORMAT: u8>(
    group: Group<'_>,
    tokens: &[&[f32]; TOKENS],
) -> [__m512; TOKENS] {
    // Two sums a token: an addition takes four cycles, and two can start in each.
    let mut even = [_mm512_setzero_ps(); TOKENS];
    let mut odd = [_mm512_setzero_ps(); TOKENS];
    // SAFETY: there are `blocks` columns of weights, and as many values.
    unsafe {
        for column in (0..group.blocks / 2).map(|pair| 2 * pair) {
            let [first, second] = pair::<FORMAT>(&group, column);
            for token in 0..TOKENS {
                let values = tokens[token].as_ptr().add(column);
                even[token] = _mm512_fmadd_ps(first, _mm512_set1_ps(*values), even[token]);
                odd[token] = _mm512_fmadd_ps(second, _mm512_set1_ps(*values.add(1)), odd[token]);
            }
        }
        if group.blocks % 2 == 1 {
            let last = numbers::<FORMAT>(&group, group.blocks - 1);
            for token in 0..TOKENS {
                let value = *tokens[token].as_ptr().add(group.blocks - 1);
                even[token] = _mm512_fmadd_ps(last, _mm512_set1_ps(value), even[token]);
            }
        }
    }
    for token in 0..TOKENS {
        even[token] = _mm512_add_ps(even[token], odd[token]);
    }
    even
}

/// Half-precision numbers as floats.
///
/// # Safety
/// The processor has the instructions.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn widen(halves: &[u16], numbers: &mut [f32]) {
    let (halves, rest) = halves.as_chunks::<16>();
    let (numbers, more) = numbers.as_chunks_mut::<16>();
    for (halves, numbers) in halves.iter().zip(numbers) {
        // SAFETY: sixteen numbers are read and written.
        unsafe { _mm512_storeu_ps(numbers.as_mut_ptr(), _mm512_cvtph_ps(_mm256_loadu_si256(halves.as_ptr().cast()))) };
    }
    for (number, half) in more.iter_mut().zip(rest) {
        *number = unpack::half(*half);
    }
}

/// Four bytes of each of sixteen rows, `row` bytes from one to the next, into each line.
///
/// # Safety
/// The processor has the instructions, and each row has a sixteenth of the lines' bytes.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn spread(bytes: *const u8, row: usize, lines: &mut [u8], flipped: u32) {
    let rows = _mm512_mullo_epi32(
        _mm512_set1_epi32(row as i32),
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    );
    let flipped = _mm512_set1_epi32(flipped.cast_signed());
    for (index, line) in lines.as_chunks_mut::<{ unpack::LINE }>().0.iter_mut().enumerate() {
        // SAFETY: as the caller promises.
        unsafe {
            let fours = _mm512_i32gather_epi32::<1>(rows, bytes.add(4 * index).cast());
            _mm512_storeu_si512(line.as_mut_ptr().cast(), _mm512_xor_si512(fours, flipped));
        }
    }
}
