//! Attention within texts that lie end to end: each text's tokens see their own text only.
//!
//! Scores and mixtures are products of the same kind as the layers', a head's keys and values
//! packed as panels for a text; scores of some queries at a time stay in the cache.

use pulp::{Arch, Simd, WithSimd};

use crate::elementwise::exponentials;
use crate::level::Level;
use crate::panels::{Block, PANEL, arch};
use crate::pool;

/// How tokens attend to their text.
#[derive(Debug, Clone, Copy)]
pub struct SelfAttention<'a> {
    pub heads: usize,
    pub head_dim: usize,
    /// How far it sees to each side; `None`: the whole text.
    pub reach: Option<usize>,
    /// Added to the scores by distance, `[heads, 2 * longest - 1]`: the middle one is a token's
    /// own, those before it are for earlier keys (as in T5 and MPNet).
    pub distances: Option<&'a [f32]>,
}

/// Queries whose scores are held at once.
const QUERIES: usize = 56;

impl SelfAttention<'_> {
    /// Mixes values: `parts` has each token's queries, keys and values, `[tokens, 3, heads,
    /// head_dim]`, texts of `lengths` one after the other; the mixed values are put into `output`,
    /// `[tokens, heads, head_dim]`. On all cores if `spread`.
    pub fn attend(&self, parts: &[f32], lengths: &[usize], output: &mut [f32], spread: bool) {
        self.attend_with(Arch::new(), parts, lengths, output, spread);
    }

    /// [`attend`](Self::attend) with chosen instructions, or with the portable ones where the
    /// processor lacks them.
    pub fn attend_at(&self, level: Level, parts: &[f32], lengths: &[usize], output: &mut [f32], spread: bool) {
        self.attend_with(arch(level), parts, lengths, output, spread);
    }

    fn attend_with(&self, arch: Arch, parts: &[f32], lengths: &[usize], output: &mut [f32], spread: bool) {
        let width = self.heads * self.head_dim;
        let tokens: usize = lengths.iter().sum();
        if width == 0 || parts.len() < 3 * width * tokens || output.len() < width * tokens {
            return;
        }
        let target = Target(output.as_mut_ptr());
        let attend = |scratch: &mut Scratch, first: usize, length: usize, head: usize| {
            // SAFETY: the text's rows lie within the output, and no other task has this head's part
            // of them.
            let output = unsafe { target.head(first * width + head * self.head_dim) };
            let parts = &parts[3 * width * first..3 * width * (first + length)];
            arch.dispatch(Head { attention: self, parts, length, head, output, scratch });
        };
        let mut scratch = Scratch::default();
        let mut first = 0;
        for length in lengths {
            if spread {
                let tasks = pool::threads().min(self.heads);
                pool::run(tasks, |task| {
                    let mut scratch = Scratch::default();
                    let heads = task * self.heads / tasks..(task + 1) * self.heads / tasks;
                    heads.for_each(|head| attend(&mut scratch, first, *length, head));
                });
            } else {
                (0..self.heads).for_each(|head| attend(&mut scratch, first, *length, head));
            }
            first += length;
        }
    }
}

/// An output that tasks write disjoint heads of.
struct Target(*mut f32);

// SAFETY: see [`SelfAttention::attend`].
unsafe impl Sync for Target {}

impl Target {
    unsafe fn head(&self, start: usize) -> *mut f32 {
        // SAFETY: the caller's start lies within.
        unsafe { self.0.add(start) }
    }
}

/// Room for a head, used again for the next one. What is left in it from the last one is multiplied
/// where a panel is not full, but never read.
#[derive(Default)]
struct Scratch {
    /// Panels of 32 tokens, `[head_dim, 32]` each.
    keys: Vec<[f32; PANEL]>,
    /// Panels of 32 dimensions, `[length, 32]` each.
    values: Vec<[f32; PANEL]>,
    scores: Vec<f32>,
}

/// A head of a text.
struct Head<'a> {
    attention: &'a SelfAttention<'a>,
    parts: &'a [f32],
    length: usize,
    head: usize,
    output: *mut f32,
    scratch: &'a mut Scratch,
}

impl WithSimd for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        self.pack();
        let SelfAttention { heads, head_dim, reach, distances } = *self.attention;
        let (length, width) = (self.length, heads * head_dim);
        let Scratch { keys, values, scores } = self.scratch;
        for first in (0..length).step_by(QUERIES) {
            let queries = QUERIES.min(length - first);
            // Keys that one of the queries at least sees, from a panel's first on.
            let start = reach.map_or(0, |reach| first.saturating_sub(reach) / PANEL * PANEL);
            let end = reach.map_or(length, |reach| (first + queries).saturating_add(reach).min(length));
            let stride = (end - start).next_multiple_of(PANEL);
            scores.resize(scores.len().max(queries * stride), 0.0);
            for panel in 0..stride / PANEL {
                let block = Block {
                    rows: queries,
                    depth: head_dim,
                    columns: PANEL,
                    input: self.parts[first * 3 * width + self.head * head_dim..].as_ptr(),
                    input_stride: 3 * width,
                    weights: keys[(start / PANEL + panel) * head_dim..][..head_dim].as_ptr(),
                    bias: None,
                    add: false,
                    output: scores[panel * PANEL..].as_mut_ptr(),
                    output_stride: stride,
                };
                // SAFETY: the text has these queries, the head this panel of keys, and the scores
                // have a row of `stride` for each query.
                unsafe { block.multiply(simd, |_| ()) };
            }
            let scale = (head_dim as f32).sqrt().recip();
            let mut sums = [1.0; QUERIES];
            for (index, (row, sum)) in scores.chunks_exact_mut(stride).zip(&mut sums).enumerate().take(queries) {
                let query = first + index;
                let from = reach.map_or(0, |reach| query.saturating_sub(reach)) - start;
                let to = reach.map_or(length, |reach| (query + 1).saturating_add(reach).min(length)) - start;
                let bias = distances.map(|distances| {
                    let span = distances.len() / heads;
                    let of_head = &distances[self.head * span..(self.head + 1) * span];
                    // The distance of key 0 is minus the query's position.
                    &of_head[span / 2 + start + from - query..]
                });
                *sum = exponentials(row, from, to, scale, bias);
            }
            for panel in 0..head_dim.div_ceil(PANEL) {
                let columns = PANEL.min(head_dim - panel * PANEL);
                let block = Block {
                    rows: queries,
                    depth: end - start,
                    columns,
                    input: scores.as_ptr(),
                    input_stride: stride,
                    weights: values[panel * length + start..][..end - start].as_ptr(),
                    bias: None,
                    add: false,
                    // SAFETY: the output has a row of `width` for each token of the text.
                    output: unsafe { self.output.add(first * width + panel * PANEL) },
                    output_stride: width,
                };
                // SAFETY: as above; no one else writes this head's columns.
                unsafe { block.multiply(simd, |_| ()) };
            }
            for (index, sum) in sums.iter().enumerate().take(queries) {
                // SAFETY: as above.
                let row = unsafe { std::slice::from_raw_parts_mut(self.output.add((first + index) * width), head_dim) };
                let share = sum.recip();
                for value in row {
                    *value *= share;
                }
            }
        }
    }
}

impl Head<'_> {
    /// Puts keys and values into panels.
    #[inline(always)]
    fn pack(&mut self) {
        let SelfAttention { heads, head_dim, .. } = *self.attention;
        let (length, width, of_head) = (self.length, heads * head_dim, self.head * head_dim);
        let Scratch { keys, values, .. } = &mut *self.scratch;
        grow(keys, length.div_ceil(PANEL) * head_dim);
        grow(values, head_dim.div_ceil(PANEL) * length);
        for (token, parts) in self.parts.chunks_exact(3 * width).enumerate() {
            let key = &parts[width + of_head..][..head_dim];
            let lines = &mut keys[token / PANEL * head_dim..][..head_dim];
            for (line, value) in lines.iter_mut().zip(key) {
                line[token % PANEL] = *value;
            }
            for (panel, value) in parts[2 * width + of_head..][..head_dim].chunks(PANEL).enumerate() {
                values[panel * length + token][..value.len()].copy_from_slice(value);
            }
        }
    }
}

fn grow(lines: &mut Vec<[f32; PANEL]>, length: usize) {
    if lines.len() < length {
        lines.resize(length, [0.0; PANEL]);
    }
}
