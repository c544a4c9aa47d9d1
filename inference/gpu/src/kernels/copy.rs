//! Buffers put together.

use cubecl::prelude::*;

use crate::GpuError;
use crate::device::{Buffer, Gpu};

/// Units in a cube, and words that each copies.
const UNITS: u32 = 256;
const WORDS: u32 = 64;

/// One buffer with the contents of several, one after the other.
pub(crate) fn joined(gpu: &Gpu, parts: &[&Buffer]) -> Result<Buffer, GpuError> {
    joined_with_room(gpu, parts, 0)
}

/// [`joined`], and `more` words after them.
pub(crate) fn joined_with_room(gpu: &Gpu, parts: &[&Buffer], more: usize) -> Result<Buffer, GpuError> {
    let joined = gpu.room(parts.iter().map(|part| part.length).sum::<usize>() + more)?;
    gpu.ensure(&[&joined])?;
    let mut start = 0;
    for part in parts {
        into(gpu, part, &joined, start);
        start += part.length;
    }
    Ok(joined)
}

/// Copies a buffer into another one, which has room for it from `start` on.
pub(crate) fn into(gpu: &Gpu, part: &Buffer, target: &Buffer, start: usize) {
    let cubes = part.length.div_ceil((UNITS * WORDS) as usize);
    // SAFETY: words past the part's length are not copied, and there is room for those before.
    unsafe {
        copy::launch_unchecked(
            &gpu.client,
            CubeCount::Static(cubes as u32, 1, 1),
            CubeDim::new_1d(UNITS),
            part.arg(),
            target.arg(),
            start as u32,
            part.length as u32,
        );
    }
}

/// Copies a run of `length` words to another one of the same buffer, by their numbers.
pub(crate) fn within(gpu: &Gpu, buffer: &Buffer, from: usize, to: usize, length: usize) {
    let cubes = length.div_ceil((UNITS * WORDS) as usize);
    // SAFETY: both runs are in the buffer, and words past their length are not copied.
    unsafe {
        copy_within::launch_unchecked(
            &gpu.client,
            CubeCount::Static(cubes as u32, 1, 1),
            CubeDim::new_1d(UNITS),
            buffer.arg(),
            (from * length) as u32,
            (to * length) as u32,
            length as u32,
        );
    }
}

/// Leaves a buffer as it is, and says so to the runtime, which distrusts all of what a launch was to
/// write that was left out.
pub(crate) fn vouch(gpu: &Gpu, buffer: &Buffer) {
    // SAFETY: nothing is written.
    unsafe {
        write_nothing::launch_unchecked(&gpu.client, CubeCount::Static(1, 1, 1), CubeDim::new_1d(1), buffer.arg(), 0);
    }
}

#[cube(launch_unchecked)]
fn write_nothing(buffer: &mut [u32], words: u32) {
    if UNIT_POS_X < words {
        buffer[UNIT_POS_X as usize] = 0;
    }
}

#[cube(launch_unchecked)]
fn copy_within(buffer: &mut [u32], from: u32, to: u32, length: u32) {
    let first = CUBE_POS_X * UNITS * WORDS + UNIT_POS_X;
    for word in 0..WORDS {
        let at = first + word * UNITS;
        if at < length {
            buffer[(to + at) as usize] = buffer[(from + at) as usize];
        }
    }
}

#[cube(launch_unchecked)]
fn copy(input: &[u32], output: &mut [u32], start: u32, length: u32) {
    let first = CUBE_POS_X * UNITS * WORDS + UNIT_POS_X;
    for word in 0..WORDS {
        let at = first + word * UNITS;
        if at < length {
            output[(start + at) as usize] = input[at as usize];
        }
    }
}
