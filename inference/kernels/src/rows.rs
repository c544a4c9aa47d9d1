//! What queries of one key-value head get from one stretch of positions.

use pulp::bytemuck::cast_slice;
use pulp::{Simd, WithSimd};

use crate::attention::STRETCH;
use crate::exponential::{exp, tanh};
use crate::level::Level;
use crate::page::{HeadPage, PAGE, PageFormat, PageShape};

/// Queries of one key-value head, and the pages of a stretch.
pub(crate) struct Rows<'a> {
    pub(crate) level: Level,
    pub(crate) shape: PageShape,
    pub(crate) scale: f32,
    pub(crate) soft_cap: Option<f32>,
    /// `[rows, head_dim]`.
    pub(crate) queries: &'a [f32],
    /// The positions that each row sees, from and to.
    pub(crate) visible: &'a [(usize, usize)],
    /// The stretch's first position.
    pub(crate) first: usize,
    pub(crate) pages: &'a [Option<HeadPage<'a>>],
}

/// What is known of a softmax after some positions.
pub(crate) struct Partial {
    pub(crate) largest: Vec<f32>,
    /// Of the exponentials of scores less the largest.
    pub(crate) sums: Vec<f32>,
    /// `[rows, head_dim padded]`: the values, each times its exponential.
    pub(crate) mixed: Vec<f32>,
}

/// Positions of a stretch.
const POSITIONS: usize = STRETCH * PAGE;
/// Sums that are added up at the same time: what one vector holds.
const LANES: usize = 16;

impl Partial {
    pub(crate) fn new(rows: usize, width: usize) -> Self {
        Self { largest: vec![f32::NEG_INFINITY; rows], sums: vec![0.0; rows], mixed: vec![0.0; rows * width] }
    }
}

impl Rows<'_> {
    pub(crate) fn attend(self) -> Partial {
        #[cfg(target_arch = "x86_64")]
        match self.level {
            Level::Avx512Vnni | Level::Amx => {
                if let Some(simd) = pulp::x86::V4::try_new() {
                    return Simd::vectorize(simd, self);
                }
                if let Some(simd) = pulp::x86::V3::try_new() {
                    return Simd::vectorize(simd, self);
                }
            }
            Level::Avx2 | Level::AvxVnni => {
                if let Some(simd) = pulp::x86::V3::try_new() {
                    return Simd::vectorize(simd, self);
                }
            }
            _ => return Simd::vectorize(pulp::Scalar::new(), self),
        }
        pulp::Arch::new().dispatch(self)
    }

    /// Where in a page a row begins and ends to see.
    #[inline(always)]
    fn within(&self, row: usize, page: usize) -> (usize, usize) {
        let start = self.first + page * PAGE;
        let (from, to) = self.visible[row];
        (from.saturating_sub(start).min(PAGE), to.saturating_sub(start).min(PAGE))
    }

    #[inline(always)]
    fn sees(&self, rows: std::ops::Range<usize>, page: usize) -> bool {
        rows.into_iter().any(|row| {
            let (from, to) = self.within(row, page);
            from < to
        })
    }

    /// A page's keys or values as floats, which are the page's own or in `room`.
    #[inline(always)]
    fn floats<'b>(&self, words: &'b [u32], room: &'b mut [f32]) -> &'b [f32] {
        match self.shape.format {
            PageFormat::F32 => return cast_slice(words),
            PageFormat::F16 => widen(self.level, cast_slice(words), room),
            PageFormat::Q8 => {
                for (number, byte) in room.iter_mut().zip(cast_slice::<u32, i8>(words)) {
                    *number = f32::from(*byte);
                }
            }
        }
        room
    }

    /// The scores of a row of the stretch become shares: exponentials, and nothing where it doesn't see.
    #[inline(always)]
    fn share(&self, row: usize, scores: &mut [f32], partial: &mut Partial) {
        for (page, held) in self.pages.iter().enumerate() {
            let scores = &mut scores[page * PAGE..][..PAGE];
            let (from, to) = self.within(row, page);
            let Some(held) = held.filter(|_| from < to) else {
                scores.fill(f32::NEG_INFINITY);
                continue;
            };
            if self.shape.format == PageFormat::Q8 {
                let scales =
                    cast_slice::<u32, f32>(&held.words[self.shape.key_words() + self.shape.value_words()..][..PAGE]);
                for (score, scale) in scores.iter_mut().zip(scales) {
                    *score *= scale * self.scale;
                }
            } else {
                for score in scores.iter_mut() {
                    *score *= self.scale;
                }
            }
            if let Some(cap) = self.soft_cap {
                for score in scores.iter_mut() {
                    *score = tanh(*score / cap) * cap;
                }
            }
            scores[..from].fill(f32::NEG_INFINITY);
            scores[to..].fill(f32::NEG_INFINITY);
        }
        let mut largest = [f32::NEG_INFINITY; LANES];
        for scores in scores.as_chunks::<LANES>().0 {
            for (largest, score) in largest.iter_mut().zip(scores) {
                *largest = if *score > *largest { *score } else { *largest };
            }
        }
        let largest = largest.into_iter().fold(f32::NEG_INFINITY, f32::max);
        // Nothing but minus infinity: shares of nothing.
        let reference = if largest == f32::NEG_INFINITY { 0.0 } else { largest };
        for score in scores.iter_mut() {
            *score = exp(*score - reference);
        }
        // The exponential of minus infinity is a little more than nothing.
        for page in 0..self.pages.len() {
            let (from, to) = self.within(row, page);
            let scores = &mut scores[page * PAGE..][..PAGE];
            if from < to {
                scores[..from].fill(0.0);
                scores[to..].fill(0.0);
            } else {
                scores.fill(0.0);
            }
        }
        let mut sums = [0.0; LANES];
        for scores in scores.as_chunks::<LANES>().0 {
            for (sum, score) in sums.iter_mut().zip(scores) {
                *sum += score;
            }
        }
        partial.largest[row] = largest;
        partial.sums[row] = sums.into_iter().sum();
        if self.shape.format == PageFormat::Q8 {
            for (page, held) in self.pages.iter().enumerate() {
                let Some(held) = held else { continue };
                let from = self.shape.key_words() + self.shape.value_words() + PAGE;
                let scales = cast_slice::<u32, f32>(&held.words[from..][..PAGE]);
                for (share, scale) in scores[page * PAGE..].iter_mut().zip(scales) {
                    // A share of nothing stays one, whatever is left in the page.
                    *share = if *share == 0.0 { 0.0 } else { *share * scale };
                }
            }
        }
    }
}

/// Half-precision numbers as floats.
fn widen(level: Level, halves: &[u16], numbers: &mut [f32]) {
    match level {
        // SAFETY: the level was found to be available.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Vnni | Level::Amx => unsafe { crate::avx512::widen(halves, numbers) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::AvxVnni => unsafe { crate::avx2::widen(halves, numbers) },
        _ => {
            for (number, half) in numbers.iter_mut().zip(halves) {
                *number = crate::unpack::half(*half);
            }
        }
    }
}

impl WithSimd for Rows<'_> {
    type Output = Partial;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Partial {
        let (head_dim, padded) = (self.shape.head_dim, self.shape.padded());
        let rows = self.visible.len();
        let mut partial = Partial::new(rows, padded);
        let mut scores = vec![0.0; rows * POSITIONS];
        let room = if self.shape.format == PageFormat::F32 { 0 } else { padded * PAGE };
        let mut room = vec![0.0; room];
        let end = |first: usize| {
            rows.min(
                first
                    + if rows - first >= 4 {
                        4
                    } else if rows - first >= 2 {
                        2
                    } else {
                        1
                    },
            )
        };
        for (index, page) in self.pages.iter().enumerate() {
            let Some(page) = page.filter(|_| self.sees(0..rows, index)) else { continue };
            let room_for_keys = room.len().min(head_dim * PAGE);
            let keys = self.floats(&page.words[..self.shape.key_words()], &mut room[..room_for_keys]);
            let mut first = 0;
            while first < rows {
                let end = end(first);
                if self.sees(first..end, index) {
                    let scores = &mut scores[first * POSITIONS..];
                    let queries = &self.queries[first * head_dim..];
                    match end - first {
                        4 => multiply_keys::<S, 4>(simd, keys, queries, head_dim, scores, index),
                        2 => multiply_keys::<S, 2>(simd, keys, queries, head_dim, scores, index),
                        _ => multiply_keys::<S, 1>(simd, keys, queries, head_dim, scores, index),
                    }
                }
                first = end;
            }
        }
        for (row, scores) in scores.chunks_exact_mut(POSITIONS).enumerate() {
            self.share(row, scores, &mut partial);
        }
        for (index, page) in self.pages.iter().enumerate() {
            let Some(page) = page.filter(|_| self.sees(0..rows, index)) else { continue };
            let values = &page.words[self.shape.key_words()..][..self.shape.value_words()];
            let values = self.floats(values, &mut room);
            let mut first = 0;
            while first < rows {
                let end = end(first);
                if self.sees(first..end, index) {
                    let shares = &scores[first * POSITIONS..];
                    let mixed = &mut partial.mixed[first * padded..end * padded];
                    match end - first {
                        4 => add_values::<S, 4>(simd, values, shares, index, mixed, padded),
                        2 => add_values::<S, 2>(simd, values, shares, index, mixed, padded),
                        _ => add_values::<S, 1>(simd, values, shares, index, mixed, padded),
                    }
                }
                first = end;
            }
        }
        partial
    }
}

/// Scores of a page's positions: queries times keys.
#[inline(always)]
fn multiply_keys<S: Simd, const ROWS: usize>(
    simd: S,
    keys: &[f32],
    queries: &[f32],
    head_dim: usize,
    scores: &mut [f32],
    page: usize,
) {
    let queries: [&[f32]; ROWS] = std::array::from_fn(|row| &queries[row * head_dim..][..head_dim]);
    let (keys, _) = S::as_simd_f32s(keys);
    let vectors = PAGE / S::F32_LANES;
    // Two vectors of positions at a time; with the widest and few rows, four would do.
    for pair in 0..vectors / 2 {
        let mut sums = [[simd.splat_f32s(0.0); 2]; ROWS];
        for (dimension, keys) in keys.chunks_exact(vectors).enumerate() {
            let (first, second) = (keys[2 * pair], keys[2 * pair + 1]);
            for row in 0..ROWS {
                let query = simd.splat_f32s(queries[row][dimension]);
                sums[row][0] = simd.mul_add_e_f32s(first, query, sums[row][0]);
                sums[row][1] = simd.mul_add_e_f32s(second, query, sums[row][1]);
            }
        }
        for row in 0..ROWS {
            let (scores, _) = S::as_mut_simd_f32s(&mut scores[row * POSITIONS + page * PAGE..][..PAGE]);
            scores[2 * pair] = sums[row][0];
            scores[2 * pair + 1] = sums[row][1];
        }
    }
}

/// Adds a page's values, each times its share.
#[inline(always)]
fn add_values<S: Simd, const ROWS: usize>(
    simd: S,
    values: &[f32],
    shares: &[f32],
    page: usize,
    mixed: &mut [f32],
    padded: usize,
) {
    let shares: [&[f32]; ROWS] = std::array::from_fn(|row| &shares[row * POSITIONS + page * PAGE..][..PAGE]);
    let (values, _) = S::as_simd_f32s(values);
    let (mixed, _) = S::as_mut_simd_f32s(mixed);
    let vectors = padded / S::F32_LANES;
    for pair in 0..vectors / 2 {
        let mut sums = [[simd.splat_f32s(0.0); 2]; ROWS];
        for row in 0..ROWS {
            sums[row] = [mixed[row * vectors + 2 * pair], mixed[row * vectors + 2 * pair + 1]];
        }
        for (position, values) in values.chunks_exact(vectors).enumerate() {
            let (first, second) = (values[2 * pair], values[2 * pair + 1]);
            for row in 0..ROWS {
                let share = simd.splat_f32s(shares[row][position]);
                sums[row][0] = simd.mul_add_e_f32s(first, share, sums[row][0]);
                sums[row][1] = simd.mul_add_e_f32s(second, share, sums[row][1]);
            }
        }
        for row in 0..ROWS {
            mixed[row * vectors + 2 * pair] = sums[row][0];
            mixed[row * vectors + 2 * pair + 1] = sums[row][1];
        }
    }
}
