//! Inner products of vectors in f32 and in 8 bits, with the widest instructions there are. Integer products are the
//! same whichever are used.

use std::sync::LazyLock;

/// Sixty-four bytes in one line of the processor's cache: the unit in which rows of 8 bits are kept.
#[derive(Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line(pub [u8; 64]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instructions {
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

static INSTRUCTIONS: LazyLock<Instructions> = LazyLock::new(|| {
    #[cfg(target_arch = "x86_64")]
    {
        let vnni = is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw");
        if vnni && is_x86_feature_detected!("avx512f") {
            return Instructions::Avx512Vnni;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Instructions::Avx2;
        }
    }
    Instructions::Portable
});

/// The inner product of two vectors of one length, in f32.
pub fn dot(one: &[f32], other: &[f32]) -> f32 {
    let length = one.len().min(other.len());
    let (one, other) = (&one[..length], &other[..length]);
    match *INSTRUCTIONS {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has AVX-512F, which was asked when INSTRUCTIONS was set.
        Instructions::Avx512Vnni => unsafe { x86::dot_avx512(one, other) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has AVX2 and FMA, which was asked when INSTRUCTIONS was set.
        Instructions::Avx2 => unsafe { x86::dot_avx2(one, other) },
        Instructions::Portable => dot_portable(one, other),
    }
}

/// The vector at length one; `None` for zero, infinite and undefined ones, which have no direction.
pub fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    let norm = vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
    (norm.is_finite() && norm > 1e-12).then(|| vector.iter().map(|number| (f64::from(*number) / norm) as f32).collect())
}

/// For each of `rows`, the inner product of that row of `table` (bytes from 0 to 255) with `query` (bytes from -128
/// to 127), in order. Rows are `query.len()` lines each; those that the table does not have count as zero.
pub(crate) fn products(query: &[Line], table: &[Line], rows: &[u32], products: &mut Vec<i32>) {
    products.clear();
    match *INSTRUCTIONS {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has AVX-512F, BW and VNNI, which was asked when INSTRUCTIONS was set.
        Instructions::Avx512Vnni => unsafe { x86::products_avx512(query, table, rows, products) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has AVX2, which was asked when INSTRUCTIONS was set.
        Instructions::Avx2 => unsafe { x86::products_avx2(query, table, rows, products) },
        Instructions::Portable => {
            products
                .extend(rows.iter().map(|row| row_of(table, *row, query.len()).map_or(0, |row| product(query, row))));
        }
    }
}

/// Asks for a row before it is needed.
#[inline(always)]
pub(crate) fn prefetch(table: &[Line], row: u32, lines: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(row) = row_of(table, row, lines) {
        for line in row {
            // SAFETY: a prefetch reads nothing, and the address is that of a line that exists.
            unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.0.as_ptr().cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (table, row, lines);
}

#[inline(always)]
fn row_of(table: &[Line], row: u32, lines: usize) -> Option<&[Line]> {
    let start = row as usize * lines;
    table.get(start..start + lines)
}

fn product(query: &[Line], row: &[Line]) -> i32 {
    let of_line = |(query, row): (&Line, &Line)| -> i32 {
        query.0.iter().zip(&row.0).map(|(query, row)| i32::from(*query as i8) * i32::from(*row)).sum()
    };
    query.iter().zip(row).map(of_line).sum()
}

/// Eight sums side by side, which compilers turn into vector instructions.
fn dot_portable(one: &[f32], other: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (chunks, rest) = (one.chunks_exact(8), one.chunks_exact(8).remainder());
    for (one, other) in chunks.zip(other.chunks_exact(8)) {
        for lane in 0..8 {
            sums[lane] += one[lane] * other[lane];
        }
    }
    let tail = &other[other.len() - rest.len()..];
    sums.iter().sum::<f32>() + rest.iter().zip(tail).map(|(one, other)| one * other).sum::<f32>()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256i, __m512i, _mm_add_epi32, _mm_add_ps, _mm_add_ss, _mm_cvtsi128_si32, _mm_cvtss_f32, _mm_movehl_ps,
        _mm_shuffle_epi32, _mm_shuffle_ps, _mm256_add_epi32, _mm256_add_ps, _mm256_castps256_ps128,
        _mm256_castsi256_si128, _mm256_cvtepi8_epi16, _mm256_cvtepu8_epi16, _mm256_extractf128_ps,
        _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16,
        _mm256_setzero_ps, _mm256_setzero_si256, _mm512_add_epi32, _mm512_add_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
        _mm512_load_si512, _mm512_loadu_ps, _mm512_mask_loadu_ps, _mm512_reduce_add_epi32, _mm512_reduce_add_ps,
        _mm512_setzero_ps, _mm512_setzero_si512,
    };

    use super::{Line, prefetch, row_of};

    /// Rows asked for ahead of the one that is computed.
    const AHEAD: usize = 4;

    /// Rows in order, each asked for before it is needed; `None` in place of those that the table does not have.
    #[inline(always)]
    fn rows_ahead<'a>(table: &'a [Line], rows: &'a [u32], lines: usize) -> impl Iterator<Item = Option<&'a [Line]>> {
        rows.iter().take(AHEAD).for_each(|row| prefetch(table, *row, lines));
        rows.iter().enumerate().map(move |(position, row)| {
            if let Some(next) = rows.get(position + AHEAD) {
                prefetch(table, *next, lines);
            }
            row_of(table, *row, lines)
        })
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub fn products_avx512(query: &[Line], table: &[Line], rows: &[u32], products: &mut Vec<i32>) {
        for row in rows_ahead(table, rows, query.len()) {
            let Some(row) = row else {
                products.push(0);
                continue;
            };
            let mut sums = [_mm512_setzero_si512(); 2];
            for (position, (query, row)) in query.iter().zip(row).enumerate() {
                // SAFETY: a Line is 64 bytes, aligned to 64.
                let (query, row): (__m512i, __m512i) =
                    unsafe { (_mm512_load_si512(query.0.as_ptr().cast()), _mm512_load_si512(row.0.as_ptr().cast())) };
                sums[position % 2] = _mm512_dpbusd_epi32(sums[position % 2], row, query);
            }
            products.push(_mm512_reduce_add_epi32(_mm512_add_epi32(sums[0], sums[1])));
        }
    }

    #[target_feature(enable = "avx2")]
    pub fn products_avx2(query: &[Line], table: &[Line], rows: &[u32], products: &mut Vec<i32>) {
        for row in rows_ahead(table, rows, query.len()) {
            let Some(row) = row else {
                products.push(0);
                continue;
            };
            let mut sum = _mm256_setzero_si256();
            for (query, row) in query.iter().zip(row) {
                for half in 0..2 {
                    // SAFETY: both halves, of 32 bytes, lie within the line of 64.
                    let (query, row): (__m256i, __m256i) = unsafe {
                        (
                            _mm256_loadu_si256(query.0.as_ptr().add(32 * half).cast()),
                            _mm256_loadu_si256(row.0.as_ptr().add(32 * half).cast()),
                        )
                    };
                    // In 16 bits: the instruction that multiplies bytes saturates.
                    let low = _mm256_madd_epi16(
                        _mm256_cvtepi8_epi16(_mm256_castsi256_si128(query)),
                        _mm256_cvtepu8_epi16(_mm256_castsi256_si128(row)),
                    );
                    let high = _mm256_madd_epi16(
                        _mm256_cvtepi8_epi16(_mm256_extracti128_si256::<1>(query)),
                        _mm256_cvtepu8_epi16(_mm256_extracti128_si256::<1>(row)),
                    );
                    sum = _mm256_add_epi32(sum, _mm256_add_epi32(low, high));
                }
            }
            let four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b0100_1110>(four));
            products.push(_mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b1011_0001>(two))));
        }
    }

    #[target_feature(enable = "avx512f")]
    pub fn dot_avx512(one: &[f32], other: &[f32]) -> f32 {
        let mut sums = [_mm512_setzero_ps(); 2];
        for (position, (one, other)) in one.chunks_exact(16).zip(other.chunks_exact(16)).enumerate() {
            // SAFETY: both chunks hold 16 numbers.
            let (one, other) = unsafe { (_mm512_loadu_ps(one.as_ptr()), _mm512_loadu_ps(other.as_ptr())) };
            sums[position % 2] = _mm512_fmadd_ps(one, other, sums[position % 2]);
        }
        let (one, other) = (one.chunks_exact(16).remainder(), other.chunks_exact(16).remainder());
        let mask = (1u16 << one.len()) - 1;
        let zero = _mm512_setzero_ps();
        // SAFETY: the mask admits only as many numbers as are left.
        let (one, other) = unsafe {
            (_mm512_mask_loadu_ps(zero, mask, one.as_ptr()), _mm512_mask_loadu_ps(zero, mask, other.as_ptr()))
        };
        _mm512_reduce_add_ps(_mm512_fmadd_ps(one, other, _mm512_add_ps(sums[0], sums[1])))
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn dot_avx2(one: &[f32], other: &[f32]) -> f32 {
        let mut sums = [_mm256_setzero_ps(); 2];
        for (position, (one, other)) in one.chunks_exact(8).zip(other.chunks_exact(8)).enumerate() {
            // SAFETY: both chunks hold 8 numbers.
            let (one, other) = unsafe { (_mm256_loadu_ps(one.as_ptr()), _mm256_loadu_ps(other.as_ptr())) };
            sums[position % 2] = _mm256_fmadd_ps(one, other, sums[position % 2]);
        }
        let rest = one.chunks_exact(8).remainder().iter().zip(other.chunks_exact(8).remainder());
        let tail: f32 = rest.map(|(one, other)| one * other).sum();
        let sum = _mm256_add_ps(sums[0], sums[1]);
        let four = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two))) + tail
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng as _;

    use super::*;

    #[test]
    fn every_instruction_set_says_the_same() {
        let seed: u64 = rand::random();
        let mut random = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(seed);
        for lines in 1..9 {
            let mut line = || Line(std::array::from_fn(|_| random.random()));
            let query: Vec<Line> = (0..lines).map(|_| line()).collect();
            let table: Vec<Line> = (0..lines * 9).map(|_| line()).collect();
            let rows = [3, 0, 8, 3, 9, u32::MAX / 64, 1];
            let slow: Vec<i32> =
                rows.iter().map(|row| row_of(&table, *row, lines).map_or(0, |row| product(&query, row))).collect();
            assert_eq!((slow[4], slow[5]), (0, 0));
            let mut fast = Vec::new();
            products(&query, &table, &rows, &mut fast);
            assert_eq!(fast, slow, "seed {seed}");
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                fast.clear();
                // SAFETY: asked one line before.
                unsafe { x86::products_avx2(&query, &table, &rows, &mut fast) };
                assert_eq!(fast, slow, "seed {seed}");
            }
        }
    }

    #[test]
    fn inner_products_of_every_length() {
        let seed: u64 = rand::random();
        let mut random = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(seed);
        for length in 0..70 {
            let one: Vec<f32> = (0..length).map(|_| random.random_range(-1.0..1.0)).collect();
            let other: Vec<f32> = (0..length).map(|_| random.random_range(-1.0..1.0)).collect();
            let slow: f64 = one.iter().zip(&other).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum();
            assert!((f64::from(dot(&one, &other)) - slow).abs() < 1e-5, "seed {seed}, length {length}");
            assert!((f64::from(dot_portable(&one, &other)) - slow).abs() < 1e-5, "seed {seed}, length {length}");
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                // SAFETY: asked one line before.
                let fast = unsafe { x86::dot_avx2(&one, &other) };
                assert!((f64::from(fast) - slow).abs() < 1e-5, "seed {seed}, length {length}");
            }
        }
    }

    #[test]
    fn a_vector_without_direction_is_none() {
        assert_eq!(unit(&[0.0, 0.0]), None);
        assert_eq!(unit(&[f32::NAN, 1.0]), None);
        assert_eq!(unit(&[f32::INFINITY, 1.0]), None);
        assert_eq!(unit(&[]), None);
        assert_eq!(unit(&[3.0e38, 2.0e38]).map(|vector| vector.len()), Some(2));
        assert_eq!(unit(&[3.0, 4.0]), Some(vec![0.6, 0.8]));
    }
}
