//! Unit vectors in 8 bits a dimension, each with a scale of its own.

use crate::distance::{Line, products};

/// What a byte of a row is above its number, so that rows are unsigned, as the instructions want one side to be.
const OFFSET: i32 = 128;

/// Lines that a row of `dimensions` takes.
pub(crate) fn lines(dimensions: usize) -> usize {
    dimensions.div_ceil(64).max(1)
}

/// Appends the row of a vector to `rows`; gives its scale.
pub(crate) fn quantize(vector: &[f32], rows: &mut Vec<Line>) -> f32 {
    let largest = vector.iter().fold(0.0f32, |largest, number| largest.max(number.abs()));
    let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
    for chunk in 0..lines(vector.len()) {
        let numbers = vector.get(chunk * 64..).unwrap_or_default();
        let byte = |position: usize| {
            let number = numbers.get(position).map_or(0.0, |number| number / scale);
            (number.round_ties_even().clamp(-127.0, 127.0) as i32 + OFFSET) as u8
        };
        rows.push(Line(std::array::from_fn(byte)));
    }
    scale
}

/// Something that rows are compared with.
#[derive(Default)]
pub(crate) struct Query {
    /// Signed bytes.
    lines: Vec<Line>,
    scale: f32,
    /// What the rows' offset adds to each product.
    excess: i32,
    products: Vec<i32>,
}

impl Query {
    pub fn set_vector(&mut self, vector: &[f32]) {
        self.lines.clear();
        let scale = quantize(vector, &mut self.lines);
        self.finish(scale);
    }

    pub fn set_row(&mut self, row: &[Line], scale: f32) {
        self.lines.clear();
        self.lines.extend_from_slice(row);
        self.finish(scale);
    }

    fn finish(&mut self, scale: f32) {
        let mut sum = 0;
        for line in &mut self.lines {
            for byte in &mut line.0 {
                // From 0..=255 to two's complement.
                *byte ^= OFFSET as u8;
                sum += i32::from(*byte as i8);
            }
        }
        (self.scale, self.excess) = (scale, OFFSET * sum);
    }

    /// The cosines of `rows` with this, in order, near enough to find by.
    #[inline]
    pub fn compare(&mut self, table: &[Line], scales: &[f32], rows: &[u32], mut each: impl FnMut(u32, f32)) {
        products(&self.lines, table, rows, &mut self.products);
        for (row, product) in rows.iter().zip(&self.products) {
            let scale = scales.get(*row as usize).copied().unwrap_or(0.0);
            each(*row, (product - self.excess) as f32 * (self.scale * scale));
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng as _;

    use super::*;
    use crate::distance::{dot, unit};

    #[test]
    fn rounded_products_are_near_the_true_ones() {
        let seed: u64 = rand::random();
        let mut random = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(seed);
        for dimensions in [1, 7, 64, 100, 384] {
            let mut vector =
                || unit(&(0..dimensions).map(|_| random.random_range(-1.0..1.0)).collect::<Vec<f32>>()).unwrap();
            let vectors: Vec<Vec<f32>> = (0..20).map(|_| vector()).collect();
            let (mut table, mut query) = (Vec::new(), Query::default());
            let scales: Vec<f32> = vectors.iter().map(|vector| quantize(vector, &mut table)).collect();
            let rows: Vec<u32> = (0..20).collect();
            for (position, vector) in vectors.iter().enumerate() {
                for from_row in [false, true] {
                    let width = lines(dimensions);
                    match from_row {
                        true => query.set_row(&table[position * width..][..width], scales[position]),
                        false => query.set_vector(vector),
                    }
                    query.compare(&table, &scales, &rows, |row, cosine| {
                        let true_cosine = dot(vector, &vectors[row as usize]);
                        assert!((cosine - true_cosine).abs() < 0.012, "seed {seed}: {cosine} for {true_cosine}");
                    });
                }
            }
        }
    }
}
