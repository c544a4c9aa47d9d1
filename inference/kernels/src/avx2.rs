//! Products with 256-bit vectors (AVX2, FMA, F16C, and AVX-VNNI where there is): a group as two
//! halves of eight rows.

use std::arch::x86_64::*;

use crate::activations::{BLOCK, Tile};
use crate::format::Format;
use crate::packed::{Group, ROWS};
use crate::product::Part;
use crate::unpack::{self, LINES, Numbers, Unpacked};

/// Eight rows, and the eight after them.
type Both<T> = [T; 2];

/// [`unpack::unpack`] with these instructions.
///
/// # Safety
/// The processor has the instructions.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn unpack(group: &Group<'_>, first: usize, blocks: usize, unpacked: &mut Unpacked) {
    unpack::unpack(group, first, blocks, unpacked, |table, indices, line| {
        // SAFETY: a table has 16 bytes, and lines have 64.
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            for half in 0..2 {
                let found = _mm256_shuffle_epi8(table, _mm256_loadu_si256(indices.as_ptr().add(32 * half).cast()));
                _mm256_storeu_si256(line.as_mut_ptr().add(32 * half).cast(), found);
            }
        }
    });
}

/// Adds the products of a part with a tile's tokens to their totals.
///
/// # Safety
/// The processor has AVX2, FMA and F16C; the part's blocks are the tile's, too, and there is a
/// total for each token.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn add(part: &Part, tile: &Tile<'_>, totals: &mut [Numbers]) {
    // SAFETY: the caller's promises are these functions' too.
    unsafe {
        match (part.meaning.halves, part.meaning.minimums, part.meaning.narrow) {
            (false, false, false) => every::<false, false, WIDE>(part, tile, totals),
            (false, false, true) => every::<false, false, NARROW>(part, tile, totals),
            (true, false, false) => every::<true, false, WIDE>(part, tile, totals),
            (true, false, true) => every::<true, false, NARROW>(part, tile, totals),
            (false, true, _) => every::<false, true, UNSIGNED>(part, tile, totals),
            (true, true, _) => every::<true, true, UNSIGNED>(part, tile, totals),
        }
    }
}

/// [`add`] with 8-bit dot products.
///
/// # Safety
/// As for [`add`], and the processor has AVX-VNNI.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
pub(crate) unsafe fn add_vnni(part: &Part, tile: &Tile<'_>, totals: &mut [Numbers]) {
    // SAFETY: the caller's promises are these functions' too.
    unsafe {
        match (part.meaning.halves, part.meaning.minimums) {
            (false, false) => every::<false, false, VNNI>(part, tile, totals),
            (false, true) => every::<false, true, VNNI>(part, tile, totals),
            (true, false) => every::<true, false, VNNI>(part, tile, totals),
            (true, true) => every::<true, true, VNNI>(part, tile, totals),
        }
    }
}

/// Weights from -128 to 127: two products fit into 16 bits.
const WIDE: u8 = 0;
/// Weights from -32 to 32: eight products fit into 16 bits.
const NARROW: u8 = 1;
/// Weights from 0 to 31: eight products fit into 16 bits.
const UNSIGNED: u8 = 2;
/// Any: the instruction adds in 32 bits.
const VNNI: u8 = 3;

#[inline(always)]
unsafe fn every<const HALVES: bool, const MINIMUMS: bool, const SUMS: u8>(
    part: &Part,
    tile: &Tile<'_>,
    totals: &mut [Numbers],
) {
    let mut token = 0;
    // SAFETY: the caller's promises are these functions' too.
    unsafe {
        while token + 4 <= tile.width {
            some::<4, HALVES, MINIMUMS, SUMS>(part, tile, token, totals);
            token += 4;
        }
        while token < tile.width {
            some::<1, HALVES, MINIMUMS, SUMS>(part, tile, token, totals);
            token += 1;
        }
    }
}

/// Adds the products with `TOKENS` of the tile's tokens from `first` on.
#[inline(always)]
unsafe fn some<const TOKENS: usize, const HALVES: bool, const MINIMUMS: bool, const SUMS: u8>(
    part: &Part,
    tile: &Tile<'_>,
    first: usize,
    totals: &mut [Numbers],
) {
    let steps = if HALVES { 2 } else { 1 };
    // SAFETY: the caller's blocks, tokens and totals, and the instructions.
    unsafe {
        for rows in 0..2 {
            let mut sums = [_mm256_setzero_ps(); TOKENS];
            for (token, sum) in sums.iter_mut().enumerate() {
                *sum = _mm256_loadu_ps(totals.as_ptr().add(first + token).cast::<f32>().add(8 * rows));
            }
            for block in 0..part.blocks {
                let place = (part.first + block) * tile.width;
                let quants = tile.quants.as_ptr().add((place + first) * BLOCK);
                let input_scales = tile.scales.as_ptr().add(place + first);
                for step in 0..steps {
                    let half_place = 2 * place + step * tile.width + first;
                    let (offsets, input_sums) = if HALVES {
                        (tile.half_offsets.as_ptr().add(half_place), tile.half_sums.as_ptr().add(half_place))
                    } else {
                        (tile.offsets.as_ptr().add(place + first), tile.sums.as_ptr().add(place + first))
                    };
                    let mut dots = [_mm256_setzero_si256(); TOKENS];
                    if SUMS == VNNI && !MINIMUMS {
                        for (token, dot) in dots.iter_mut().enumerate() {
                            *dot = _mm256_set1_epi32(*offsets.add(token));
                        }
                    }
                    for quarter in 0..2 / steps {
                        let line = (step * LINES / steps) + 4 * quarter;
                        let lines = part.lines.add(block * LINES + line).cast::<u8>().add(32 * rows);
                        let mut weights = [_mm256_setzero_si256(); 4];
                        for (index, weights) in weights.iter_mut().enumerate() {
                            *weights = _mm256_loadu_si256(lines.add(64 * index).cast());
                            if SUMS == WIDE || SUMS == NARROW {
                                *weights = _mm256_xor_si256(*weights, _mm256_set1_epi8(-128));
                            }
                        }
                        for (token, dot) in dots.iter_mut().enumerate() {
                            let input: *const i32 = quants.add(token * BLOCK).cast();
                            *dot = four_lines::<SUMS>(*dot, weights, input.add(line));
                        }
                    }
                    let scale = _mm256_loadu_ps(part.scales.add(block * steps + step).cast::<f32>().add(8 * rows));
                    let minimums = part.minimums.add(block * steps + step).cast::<f32>().add(8 * rows);
                    for token in 0..TOKENS {
                        let worth = _mm256_mul_ps(scale, _mm256_set1_ps(*input_scales.add(token)));
                        sums[token] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[token]), worth, sums[token]);
                        if MINIMUMS {
                            let input_sum = _mm256_set1_ps(*input_sums.add(token));
                            sums[token] = _mm256_fmadd_ps(_mm256_loadu_ps(minimums), input_sum, sums[token]);
                        }
                    }
                }
            }
            for (token, sum) in sums.iter().enumerate() {
                _mm256_storeu_ps(totals.as_mut_ptr().add(first + token).cast::<f32>().add(8 * rows), *sum);
            }
        }
    }
}

/// Adds the products of sixteen columns, each row's to its own sum.
#[inline(always)]
unsafe fn four_lines<const SUMS: u8>(sum: __m256i, weights: [__m256i; 4], input: *const i32) -> __m256i {
    // SAFETY: the caller has four inputs there, and the instructions.
    unsafe {
        let four = |line: usize| _mm256_set1_epi32(input.add(line).read_unaligned());
        let ones = _mm256_set1_epi16(1);
        match SUMS {
            VNNI => {
                let mut sum = sum;
                for (line, weights) in weights.into_iter().enumerate() {
                    sum = _mm256_dpbusd_avx_epi32(sum, weights, four(line));
                }
                sum
            }
            WIDE => {
                let mut sum = sum;
                for (line, weights) in weights.into_iter().enumerate() {
                    // The weights' sign goes over to the input, which is never -128.
                    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(four(line), weights));
                    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
                }
                sum
            }
            _ => {
                let mut pairs = _mm256_setzero_si256();
                for (line, weights) in weights.into_iter().enumerate() {
                    let products = if SUMS == NARROW {
                        _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(four(line), weights))
                    } else {
                        _mm256_maddubs_epi16(weights, four(line))
                    };
                    pairs = _mm256_add_epi16(pairs, products);
                }
                _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones))
            }
        }
    }
}

/// The products of a group of numbers with `TOKENS` tokens.
///
/// # Safety
/// The processor has the instructions, the group's slices have the length of their layout, and the
/// tokens have the group's columns.
#[target_feature(enable = "avx2,fma,f16c")]
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
    for (rows, [first, second]) in rows.iter_mut().zip(totals) {
        // SAFETY: twice eight floats fit into sixteen floats.
        unsafe {
            _mm256_storeu_ps(rows.as_mut_ptr(), first);
            _mm256_storeu_ps(rows.as_mut_ptr().add(8), second);
        }
    }
    rows
}

/// Sixteen weights that are numbers, of bfloat16 those of a last column.
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
            F16 => {
                let line: *const __m128i = start.add(32 * column).cast();
                [_mm256_cvtph_ps(_mm_load_si128(line)), _mm256_cvtph_ps(_mm_load_si128(line.add(1)))]
            }
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
unsafe fn numbers_times<const TOKENS: usize, const FORMAT: u8>(
    group: Group<'_>,
    tokens: &[&[f32]; TOKENS],
) -> [Both<__m256>; TOKENS] {
    let mut totals = [[_mm256_setzero_ps(); 2]; TOKENS];
    let pairs = if FORMAT == BF16 { group.blocks / 2 } else { 0 };
    let mut add = |weights: Both<__m256>, column: usize| {
        for (total, token) in totals.iter_mut().zip(tokens) {
            // SAFETY: there are as many values as columns.
            let value = unsafe { _mm256_set1_ps(*token.as_ptr().add(column)) };
            for half in 0..2 {
                total[half] = _mm256_fmadd_ps(weights[half], value, total[half]);
            }
        }
    };
    // SAFETY: there are `blocks` columns of sixteen weights.
    unsafe {
        for pair in 0..pairs {
            let line: *const __m256i = group.quants.as_ptr().add(64 * pair).cast();
            let both = [_mm256_loadu_si256(line), _mm256_loadu_si256(line.add(1))];
            let upper = _mm256_set1_epi32(0xffff_0000_u32.cast_signed());
            add(both.map(|rows| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(rows))), 2 * pair);
            add(both.map(|rows| _mm256_castsi256_ps(_mm256_and_si256(rows, upper))), 2 * pair + 1);
        }
        for column in 2 * pairs..group.blocks {
            add(numbers::<FORMAT>(&group, column), column);
        }
    }
    totals
}

/// Half-precision numbers as floats.
///
/// # Safety
/// The processor has the instructions.
#[target_feature(enable = "avx2,f16c")]
pub(crate) unsafe fn widen(halves: &[u16], numbers: &mut [f32]) {
    let (halves, rest) = halves.as_chunks::<8>();
    let (numbers, more) = numbers.as_chunks_mut::<8>();
    for (halves, numbers) in halves.iter().zip(numbers) {
        // SAFETY: eight numbers are read and written.
        unsafe { _mm256_storeu_ps(numbers.as_mut_ptr(), _mm256_cvtph_ps(_mm_loadu_si128(halves.as_ptr().cast()))) };
    }
    for (number, half) in more.iter_mut().zip(rest) {
        *number = unpack::half(*half);
    }
}

/// Four bytes of each of sixteen rows, `row` bytes from one to the next, into each line.
///
/// # Safety
/// The processor has the instructions, and each row has a sixteenth of the lines' bytes.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn spread(bytes: *const u8, row: usize, lines: &mut [u8], flipped: u32) {
    let rows = _mm256_mullo_epi32(_mm256_set1_epi32(row as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    let flipped = _mm256_set1_epi32(flipped.cast_signed());
    for (index, line) in lines.as_chunks_mut::<{ unpack::LINE }>().0.iter_mut().enumerate() {
        for half in 0..2 {
            // SAFETY: as the caller promises.
            unsafe {
                let fours = _mm256_i32gather_epi32::<1>(bytes.add(8 * half * row + 4 * index).cast(), rows);
                let line = line.as_mut_ptr().add(32 * half);
                _mm256_storeu_si256(line.cast(), _mm256_xor_si256(fours, flipped));
            }
        }
    }
}
