//! The highest of each row.

use cubecl::prelude::*;

use crate::device::{Buffer, Gpu};
use crate::GpuError;

/// Units in a cube, which takes a row.
const UNITS: u32 = 256;
/// Said of a row that holds something else than finite numbers.
const NONE: u32 = u32::MAX;

/// Where each row of `size` values has its highest, of equals the first.
pub(crate) fn of_rows(gpu: &Gpu, rows: &Buffer, count: usize, size: usize) -> Result<Vec<Option<u32>>, GpuError> {
    let found = gpu.room(count)?;
    // SAFETY: a cube reads one row and writes one word.
    unsafe {
        best::launch_unchecked(
            &gpu.client,
            CubeCount::Static(count as u32, 1, 1),
            CubeDim::new_1d(UNITS),
            rows.arg(),
            found.arg(),
            size as u32,
        );
    }
    let found = gpu.read_words(&found)?;
    Ok(found.into_iter().map(|index| (index != NONE).then_some(index)).collect())
}

#[cube(launch_unchecked)]
fn best(rows: &[f32], found: &mut [u32], size: u32) {
    let mut values = Shared::<[f32]>::new_slice(comptime!(UNITS as usize));
    let mut places = Shared::<[u32]>::new_slice(comptime!(UNITS as usize));
    let own = UNIT_POS_X as usize;
    let start = CUBE_POS_X * size;
    let mut highest = f32::new(-3.2e38f32);
    let mut place = u32::new(NONE as i64);
    let mut finite = true;
    let mut column = UNIT_POS_X;
    while column < size {
        let value = rows[(start + column) as usize];
        // Neither holds of what is no number.
        if !(value >= -3.0e38f32 && value <= 3.0e38f32) {
            finite = false;
        }
        if value > highest {
            highest = value;
            place = column;
        }
        column += UNITS;
    }
    if !finite {
        // Above all others, so that the row's answer is that it has none.
        highest = 3.3e38f32;
        place = NONE;
    }
    values[own] = highest;
    places[own] = place;
    sync_cube();
    #[unroll]
    for step in 0..comptime!(UNITS.trailing_zeros()) {
        let distance = comptime!(UNITS >> (step + 1));
        if UNIT_POS_X < distance {
            let other = own + distance as usize;
            let better = values[other] > values[own] || (values[other] == values[own] && places[other] < places[own]);
            if better {
                values[own] = values[other];
                places[own] = places[other];
            }
        }
        sync_cube();
    }
    if UNIT_POS_X == 0 {
        found[CUBE_POS_X as usize] = places[0];
    }
}
