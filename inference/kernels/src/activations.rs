//! A product's input, rounded to 8 bits.

/// Values that share a scale.
pub(crate) const BLOCK: usize = 32;

/// Rows of input, each block of 32 values as 8-bit integers and a scale: what llama.cpp calls Q8_1.
pub struct Activations {
    pub(crate) tokens: usize,
    pub(crate) columns: usize,
    /// As they came: weights that are floats are multiplied with these.
    pub(crate) values: Vec<f32>,
    /// `[tokens, columns]`.
    pub(crate) quants: Vec<i8>,
    /// `[tokens, columns / 32]`: what one step of a block is worth.
    pub(crate) scales: Vec<f32>,
    /// `[tokens, columns / 16]`: the sums of half a block's integers, since some weights have
    /// scales of 16.
    pub(crate) sums: Vec<i32>,
}

impl Activations {
    /// Rounds `values`, `[tokens, columns]`. What lies beyond the last whole row is left out, and
    /// so are the integers of a last block that is not whole.
    pub fn new(values: Vec<f32>, columns: usize) -> Self {
        let tokens = if columns == 0 { 0 } else { values.len() / columns };
        let blocks = columns / BLOCK;
        let mut quants = Vec::with_capacity(tokens * columns);
        let mut scales = Vec::with_capacity(tokens * blocks);
        let mut sums = Vec::with_capacity(2 * tokens * blocks);
        for row in values.chunks_exact(columns.max(1)) {
            for block in row.as_chunks::<BLOCK>().0 {
                let (rounded, scale) = round(block);
                for half in rounded.as_chunks::<{ BLOCK / 2 }>().0 {
                    sums.push(half.iter().map(|value| i32::from(*value)).sum());
                }
                quants.extend_from_slice(&rounded);
                scales.push(scale);
            }
        }
        Self { tokens, columns, values, quants, scales, sums }
    }

    /// Rows of input.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    pub(crate) fn token(&self, token: usize) -> Token<'_> {
        fn row<T>(all: &[T], row: usize, length: usize) -> &[T] {
            all.get(row * length..(row + 1) * length).unwrap_or_default()
        }
        let blocks = self.columns / BLOCK;
        Token {
            values: row(&self.values, token, self.columns),
            quants: row(&self.quants, token, blocks * BLOCK),
            scales: row(&self.scales, token, blocks),
            sums: row(&self.sums, token, 2 * blocks),
        }
    }
}

fn round(block: &[f32; BLOCK]) -> ([i8; BLOCK], f32) {
    let largest = block.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let scale = largest / 127.0;
    let inverse = if scale >= f32::MIN_POSITIVE { scale.recip() } else { 0.0 };
    // A block with an infinity or a NaN has no integers; its scale carries the fault on.
    let scale = if block.iter().all(|value| value.is_finite()) { scale } else { f32::NAN };
    (block.map(|value| (value * inverse).round_ties_even() as i8), scale)
}

/// One row of input.
#[derive(Clone, Copy)]
pub(crate) struct Token<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) quants: &'a [i8],
    pub(crate) scales: &'a [f32],
    pub(crate) sums: &'a [i32],
}

impl Token<'_> {
    /// The sum of a block's integers.
    ///
    /// # Safety
    /// The block is one of the token's, which has two sums a block.
    #[inline(always)]
    pub(crate) unsafe fn block_sum(&self, block: usize) -> i32 {
        // SAFETY: as the caller promises.
        unsafe { *self.sums.get_unchecked(2 * block) + *self.sums.get_unchecked(2 * block + 1) }
    }
}
