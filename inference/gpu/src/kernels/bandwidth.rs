//! How fast the device reads its memory.

use std::time::Instant;

use cubecl::future;
use cubecl::prelude::*;

use super::weights::Four;
use crate::GpuError;
use crate::device::{Buffer, Gpu};

const UNITS: u32 = 256;
/// Vectors of 16 bytes that a unit reads.
const VECTORS: u32 = 32;
/// Readings, of which the fastest counts.
const ROUNDS: usize = 10;

impl Gpu {
    /// Bytes a second that a kernel reads which does nothing else, from a buffer of so many bytes;
    /// larger than the device's caches, if it is to be the memory's.
    pub fn bandwidth(&self, bytes: usize) -> Result<f64, GpuError> {
        let cubes = (bytes / 16).div_ceil((UNITS * VECTORS) as usize);
        let words = cubes * (UNITS * VECTORS) as usize * 4;
        let buffer = self.room(words)?;
        let sums = self.room(cubes * UNITS as usize)?;
        let mut fastest = f64::INFINITY;
        for _ in 0..ROUNDS {
            self.synchronize()?;
            let started = Instant::now();
            self.read_through(&buffer, &sums, cubes);
            self.synchronize()?;
            fastest = fastest.min(started.elapsed().as_secs_f64());
        }
        Ok(4.0 * words as f64 / fastest)
    }

    /// Waits until everything launched so far is done.
    pub fn synchronize(&self) -> Result<(), GpuError> {
        future::block_on(self.client.sync()).map_err(|error| GpuError::Device(error.to_string()))
    }

    fn read_through(&self, buffer: &Buffer, sums: &Buffer, cubes: usize) {
        // SAFETY: there are as many vectors as the cubes' units read, and a sum for each unit.
        unsafe {
            read::launch_unchecked(
                &self.client,
                CubeCount::Static(cubes as u32, 1, 1),
                CubeDim::new_1d(UNITS),
                buffer.vectors(4),
                sums.arg(),
            );
        }
    }
}

#[cube(launch_unchecked)]
fn read(input: &[Vector<f32, Const<4>>], sums: &mut [f32]) {
    let first = CUBE_POS_X * UNITS * VECTORS + UNIT_POS_X;
    let mut sum = Four::new(0.0f32);
    #[unroll]
    for vector in 0..VECTORS {
        sum += input[(first + vector * UNITS) as usize];
    }
    // Written, so that the reading is not left out.
    sums[(CUBE_POS_X * UNITS + UNIT_POS_X) as usize] = sum.vector_sum();
}
