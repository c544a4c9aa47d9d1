//! Grouped-query attention over pages of keys and values.
//!
//! One pass over the pages, each row's largest score and sum kept up as it goes (Milakov and
//! Gimelshein 2018; Dao et al. 2022): no matrix of scores, and a page's keys and values are read
//! once for all queries that share them.

use pulp::{Arch, Simd, WithSimd};

use crate::exponential::{exp, tanh};
use crate::pool;

/// Positions in a page.
pub const PAGE: usize = 64;
/// Dimensions that values are padded to: two of the widest vectors.
const PADDING: usize = 32;

/// The numbers of a page for one head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageShape {
    pub head_dim: usize,
}

impl PageShape {
    /// Keys lie by dimension, `[head_dim, 64]`: scores of neighbouring positions are neighbours.
    pub fn keys(self) -> usize {
        self.head_dim * PAGE
    }

    /// Values lie by position, `[64, head_dim padded]`.
    pub fn values(self) -> usize {
        self.padded() * PAGE
    }

    fn padded(self) -> usize {
        self.head_dim.next_multiple_of(PADDING)
    }

    /// Writes a position's key and value, `head_dim` each, into a head's page.
    pub fn write(self, keys: &mut [f32], values: &mut [f32], position: usize, key: &[f32], value: &[f32]) {
        for (room, key) in keys.iter_mut().skip(position).step_by(PAGE).zip(key) {
            *room = *key;
        }
        let start = position * self.padded();
        for (room, value) in values.iter_mut().skip(start).zip(value) {
            *room = *value;
        }
    }
}

/// A head's page.
#[derive(Clone, Copy)]
pub struct HeadPage<'a> {
    pub keys: &'a [f32],
    pub values: &'a [f32],
}

/// What is attended to, and how.
pub struct Attention<'a, P> {
    pub shape: PageShape,
    pub heads: usize,
    /// Divides `heads`: so many neighbouring query heads share a key-value head.
    pub key_value_heads: usize,
    /// What scores are multiplied by.
    pub scale: f32,
    pub soft_cap: Option<f32>,
    /// How many of the newest positions a query sees, its own among them; `None`: all.
    pub window: Option<usize>,
    /// Positions before the first query's.
    pub past: usize,
    /// `[tokens, heads, head_dim]`.
    pub queries: &'a [f32],
    /// A key-value head's page by its number; positions of queries are in it already.
    pub page: P,
}

/// Rows of queries that a task takes.
const TASK_ROWS: usize = 32;

impl<'a, P: Fn(usize, usize) -> Option<HeadPage<'a>> + Sync> Attention<'_, P> {
    /// The mixed values, `[tokens, heads, head_dim]`.
    pub fn attend(&self) -> Vec<f32> {
        let head_dim = self.shape.head_dim;
        let width = self.heads * head_dim;
        let mut output = vec![0.0; self.queries.len()];
        if width == 0 || self.key_value_heads == 0 {
            return output;
        }
        let tokens = self.queries.len() / width;
        let group = self.heads / self.key_value_heads;
        let tokens_a_task = (TASK_ROWS / group.max(1)).max(1);
        let tasks: Vec<(usize, usize)> = (0..self.key_value_heads)
            .flat_map(|head| (0..tokens).step_by(tokens_a_task).map(move |token| (head, token)))
            .collect();
        let mut mixed = vec![Vec::new(); tasks.len()];
        pool::for_each(tasks.iter().zip(&mut mixed), |((head, first), mixed)| {
            *mixed = self.attend_some(*head, *first, tokens_a_task.min(tokens - first));
        });
        for ((head, first), mixed) in tasks.iter().zip(mixed) {
            for (index, rows) in mixed.chunks_exact(group * head_dim).enumerate() {
                let start = (first + index) * width + head * group * head_dim;
                output[start..start + rows.len()].copy_from_slice(rows);
            }
        }
        output
    }

    /// The queries of some tokens that share a head, as rows.
    fn attend_some(&self, head: usize, first: usize, tokens: usize) -> Vec<f32> {
        let head_dim = self.shape.head_dim;
        let group = self.heads / self.key_value_heads;
        let mut queries = Vec::with_capacity(tokens * group * head_dim);
        let mut visible = Vec::with_capacity(tokens * group);
        for token in first..first + tokens {
            let start = (token * self.heads + head * group) * head_dim;
            queries.extend_from_slice(&self.queries[start..start + group * head_dim]);
            let end = self.past + token + 1;
            let start = self.window.map_or(0, |window| end.saturating_sub(window));
            visible.extend(std::iter::repeat_n((start, end), group));
        }
        // Pages that some row sees.
        let from = visible.iter().map(|(start, _)| start / PAGE).min().unwrap_or(0);
        let to = visible.iter().map(|(_, end)| end.div_ceil(PAGE)).max().unwrap_or(0);
        let pages: Vec<HeadPage<'_>> = (from..to).map_while(|page| (self.page)(head, page)).collect();
        let mut output = vec![0.0; queries.len()];
        Arch::new().dispatch(Rows {
            shape: self.shape,
            scale: self.scale,
            soft_cap: self.soft_cap,
            queries: &queries,
            visible: &visible,
            first_page: from,
            pages: &pages,
            output: &mut output,
        });
        output
    }
}

/// Queries of one key-value head.
struct Rows<'a> {
    shape: PageShape,
    scale: f32,
    soft_cap: Option<f32>,
    /// `[rows, head_dim]`.
    queries: &'a [f32],
    /// The positions that each row sees, from and to.
    visible: &'a [(usize, usize)],
    first_page: usize,
    pages: &'a [HeadPage<'a>],
    output: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut accumulated = vec![0.0; 4 * self.shape.padded()];
        let mut row = 0;
        while row < self.visible.len() {
            match self.visible.len() - row {
                4.. => {
                    self.some::<S, 4>(simd, row, &mut accumulated);
                    row += 4;
                }
                2.. => {
                    self.some::<S, 2>(simd, row, &mut accumulated);
                    row += 2;
                }
                _ => {
                    self.some::<S, 1>(simd, row, &mut accumulated);
                    row += 1;
                }
            }
        }
    }
}

impl Rows<'_> {
    #[inline(always)]
    fn some<S: Simd, const ROWS: usize>(&mut self, simd: S, first: usize, accumulated: &mut [f32]) {
        let (head_dim, padded) = (self.shape.head_dim, self.shape.padded());
        let mut queries: [&[f32]; ROWS] = [&[]; ROWS];
        for (row, query) in queries.iter_mut().enumerate() {
            *query = &self.queries[(first + row) * head_dim..][..head_dim];
        }
        let accumulated = &mut accumulated[..ROWS * padded];
        accumulated.fill(0.0);
        let mut largest = [f32::NEG_INFINITY; ROWS];
        let mut sums = [0.0f32; ROWS];
        for (index, page) in self.pages.iter().enumerate() {
            let start = (self.first_page + index) * PAGE;
            let mut scores = [[0.0f32; PAGE]; ROWS];
            multiply_keys::<S, ROWS>(simd, page.keys, &queries, &mut scores);
            let mut any = false;
            for row in 0..ROWS {
                let scores = &mut scores[row];
                for score in scores.iter_mut() {
                    *score *= self.scale;
                }
                if let Some(cap) = self.soft_cap {
                    for score in scores.iter_mut() {
                        *score = tanh(*score / cap) * cap;
                    }
                }
                let (from, to) = self.visible[first + row];
                let from = from.saturating_sub(start).min(PAGE);
                let to = to.saturating_sub(start).min(PAGE);
                scores[..from].fill(f32::NEG_INFINITY);
                scores[to.max(from)..].fill(f32::NEG_INFINITY);
                if from >= to {
                    scores.fill(0.0);
                    continue;
                }
                any = true;
                let highest = scores.iter().copied().fold(largest[row], f32::max);
                // Nothing but minus infinity so far: shares of nothing.
                let reference = if highest == f32::NEG_INFINITY { 0.0 } else { highest };
                let correction = if largest[row] == f32::NEG_INFINITY { 0.0 } else { exp(largest[row] - reference) };
                for score in scores.iter_mut() {
                    *score = exp(*score - reference);
                }
                // The exponential of minus infinity is a little more than nothing.
                scores[..from].fill(0.0);
                scores[to..].fill(0.0);
                sums[row] = sums[row] * correction + scores.iter().sum::<f32>();
                if correction != 1.0 {
                    for value in &mut accumulated[row * padded..][..padded] {
                        *value *= correction;
                    }
                }
                largest[row] = highest;
            }
            if any {
                add_values::<S, ROWS>(simd, page.values, &scores, accumulated, padded);
            }
        }
        for row in 0..ROWS {
            let output = &mut self.output[(first + row) * head_dim..][..head_dim];
            for (output, value) in output.iter_mut().zip(&accumulated[row * padded..]) {
                *output = value / sums[row];
            }
        }
    }
}

/// Scores of a page's positions: queries times keys.
#[inline(always)]
fn multiply_keys<S: Simd, const ROWS: usize>(
    simd: S,
    keys: &[f32],
    queries: &[&[f32]; ROWS],
    scores: &mut [[f32; PAGE]; ROWS],
) {
    let (keys, _) = S::as_simd_f32s(keys);
    let vectors = PAGE / S::F32_LANES;
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
            let (scores, _) = S::as_mut_simd_f32s(&mut scores[row]);
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
    shares: &[[f32; PAGE]; ROWS],
    accumulated: &mut [f32],
    padded: usize,
) {
    let (values, _) = S::as_simd_f32s(values);
    let (accumulated, _) = S::as_mut_simd_f32s(accumulated);
    let vectors = padded / S::F32_LANES;
    for pair in 0..vectors / 2 {
        let mut sums = [[simd.splat_f32s(0.0); 2]; ROWS];
        for row in 0..ROWS {
            sums[row] = [accumulated[row * vectors + 2 * pair], accumulated[row * vectors + 2 * pair + 1]];
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
            accumulated[row * vectors + 2 * pair] = sums[row][0];
            accumulated[row * vectors + 2 * pair + 1] = sums[row][1];
        }
    }
}
