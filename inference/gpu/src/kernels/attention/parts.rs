//! What queries get from runs of positions, brought together one run after the other.

use cubecl::prelude::*;

use super::{TASK, UNITS};

/// Values mixed for some rows, and what they are to be divided by.
#[derive(CubeType)]
pub(super) struct Mixed {
    pub(super) values: Array<f32>,
    /// The largest score of each row so far, and the sum of the exponentials of all less it.
    pub(super) largest: Array<f32>,
    pub(super) sums: Array<f32>,
}

#[cube]
impl Mixed {
    /// Of no positions.
    pub(super) fn new(#[comptime] rows: usize, #[comptime] dimensions: usize) -> Mixed {
        let mut values = Array::<f32>::new(comptime!(rows * dimensions));
        let mut largest = Array::<f32>::new(rows);
        let mut sums = Array::<f32>::new(rows);
        #[unroll]
        for row in 0..rows {
            largest[row] = -1.0e30f32;
            sums[row] = 0.0f32;
        }
        #[unroll]
        for index in 0..comptime!(rows * dimensions) {
            values[index] = 0.0f32;
        }
        Mixed { values, largest, sums }
    }

    /// Adds what the same rows get from positions further on.
    pub(super) fn add(&mut self, part: &Mixed, #[comptime] rows: usize, #[comptime] dimensions: usize) {
        #[unroll]
        for row in 0..rows {
            let reference = max(self.largest[row], part.largest[row]);
            let held = (self.largest[row] - reference).exp();
            let added = (part.largest[row] - reference).exp();
            self.largest[row] = reference;
            self.sums[row] = fma(part.sums[row], added, self.sums[row] * held);
            #[unroll]
            for dimension in 0..dimensions {
                let index = comptime!(row * dimensions + dimension);
                self.values[index] = fma(part.values[index], added, self.values[index] * held);
            }
        }
    }
}

/// The parts of a query's splits, brought together.
#[cube(launch_unchecked)]
pub(super) fn merge(parts: &[f32], tasks: &[u32], output: &mut [f32], output_stride: u32, splits: u32, head_dim: u32) {
    let (head, task) = (CUBE_POS_X, CUBE_POS_Y);
    let token = tasks[task as usize * comptime!(TASK)];
    let size = head_dim + 2;
    let start = (task * CUBE_COUNT_X + head) * splits * size;
    let mut column = UNIT_POS_X;
    while column < head_dim {
        let mut largest = f32::new(-1.0e30f32);
        let mut sum = 0.0f32;
        let mut value = 0.0f32;
        for split in 0..splits {
            let part = start + split * size;
            let of_part = parts[(part + head_dim) as usize];
            let reference = max(largest, of_part);
            let held = (largest - reference).exp();
            let added = (of_part - reference).exp();
            largest = reference;
            sum = fma(parts[(part + head_dim + 1) as usize], added, sum * held);
            value = fma(parts[(part + column) as usize], added, value * held);
        }
        output[(token * output_stride + head * head_dim + column) as usize] = value / sum;
        column += UNITS;
    }
}
