//! Mixtures of experts: which experts a token goes through, which tokens an expert has, and what comes of them.

#[cfg(test)]
mod tests;

use cubecl::prelude::*;

use super::product::Rows;
use super::tiled::{SMALLEST, tile_tokens};
use crate::device::{Buffer, Gpu};

/// Experts that a router can have.
pub(crate) const MOST_EXPERTS: usize = 256;
const UNITS: u32 = 256;
/// Words of a tile in the table of groups: the expert, the place of the tile's first token in the order, and that of
/// the first that is not the tile's.
pub(super) const TILE_WORDS: usize = 3;
/// Tokens of the mean expert from which on tiles pay, which unpack its weights once for all of them. On Mesa's software
/// device 16 take either the same time, 32 take tiles about half of it.
const FEWEST: usize = 16;

/// The experts of each token by the router's `scores`, best first and of equals the first, and their
/// shares; `[tokens, used]` each.
pub(crate) fn choose(
    gpu: &Gpu,
    scores: Rows<'_>,
    chosen: &Buffer,
    shares: &Buffer,
    tokens: usize,
    experts: usize,
    used: usize,
    normalized: bool,
) {
    // SAFETY: a cube reads and writes one token's, and units past the last expert do nothing.
    unsafe {
        choose_kernel::launch_unchecked(
            &gpu.client,
            CubeCount::Static(tokens as u32, 1, 1),
            CubeDim::new_1d(UNITS),
            scores.buffer.arg(),
            chosen.arg(),
            shares.arg(),
            scores.stride as u32,
            experts as u32,
            used as u32,
            normalized,
        );
    }
}

#[cube(launch_unchecked)]
fn choose_kernel(
    scores: &[f32],
    chosen: &mut [u32],
    shares: &mut [f32],
    stride: u32,
    experts: u32,
    used: u32,
    #[comptime] normalized: bool,
) {
    let expert = UNIT_POS_X;
    let start = CUBE_POS_X * stride;
    let target = CUBE_POS_X * used;
    let mut held = Shared::<[f32]>::new_slice(comptime!(UNITS as usize));
    let mut best = Shared::<[f32]>::new_slice(comptime!(UNITS as usize));
    if expert < experts {
        held[expert as usize] = scores[(start + expert) as usize];
    }
    // Scores that are no numbers have no order; then what is chosen must still be an expert.
    if expert < used {
        best[expert as usize] = 0.0f32;
        chosen[(target + expert) as usize] = expert;
    }
    sync_cube();
    let mut rank = 0u32;
    let mut own = 0.0f32;
    if expert < experts {
        own = held[expert as usize];
        for other in 0..experts {
            let score = held[other as usize];
            if score > own || (score == own && other < expert) {
                rank += 1;
            }
        }
    }
    sync_storage();
    sync_cube();
    if expert < experts && rank < used {
        chosen[(target + rank) as usize] = expert;
        best[rank as usize] = own;
    }
    sync_cube();
    if expert < used {
        let highest = best[0];
        let mut sum = 0.0f32;
        if comptime!(normalized) {
            for other in 0..used {
                sum += (best[other as usize] - highest).exp();
            }
        } else {
            for other in 0..experts {
                sum += (held[other as usize] - highest).exp();
            }
        }
        shares[(target + expert) as usize] = (best[expert as usize] - highest).exp() / sum;
    }
}

/// The choices of a prompt's tokens by their experts, in tiles of one expert each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Groups<'a> {
    /// The numbers of choices, one expert's after the other's, in each in the order of tokens.
    pub(crate) order: &'a Buffer,
    /// [`TILE_WORDS`] words a tile.
    pub(crate) table: &'a Buffer,
    pub(crate) tiles: usize,
    /// Of a tile.
    pub(crate) tokens: usize,
}

impl<'a> Groups<'a> {
    /// Room for the tiles of so many choices among so many experts.
    pub(crate) fn room(choices: usize, experts: usize) -> usize {
        TILE_WORDS * most_tiles(choices, experts, SMALLEST)
    }

    /// Puts `choices` choices of experts in groups, in buffers with room for them; `None` where experts have too few
    /// tokens each.
    pub(crate) fn new(
        gpu: &Gpu,
        chosen: &Buffer,
        order: &'a Buffer,
        table: &'a Buffer,
        choices: usize,
        experts: usize,
    ) -> Option<Self> {
        let mean = choices / experts;
        if !gpu.tiles || mean < FEWEST {
            return None;
        }
        let tokens = tile_tokens(mean);
        // SAFETY: a cube writes the places and the tiles of one expert.
        unsafe {
            group_kernel::launch_unchecked(
                &gpu.client,
                CubeCount::Static(experts as u32, 1, 1),
                CubeDim::new_1d(UNITS),
                chosen.arg(),
                order.arg(),
                table.arg(),
                choices as u32,
                tokens as u32,
            );
        }
        Some(Self { order, table, tiles: most_tiles(choices, experts, tokens), tokens })
    }
}

/// How many each expert has is known on the device only: of some tiles nothing comes.
fn most_tiles(choices: usize, experts: usize, tokens: usize) -> usize {
    choices / tokens + experts
}

#[cube(launch_unchecked)]
fn group_kernel(chosen: &[u32], order: &mut [u32], table: &mut [u32], choices: u32, tokens: u32) {
    let expert = CUBE_POS_X;
    let unit = UNIT_POS_X as usize;
    // Choices are counted in runs, a unit's each: those of this expert, and those of experts before it.
    let run = choices.div_ceil(UNITS);
    let first = min(UNIT_POS_X * run, choices);
    let end = min(first + run, choices);
    let mut own = 0u32;
    let mut before = 0u32;
    for index in first..end {
        let other = chosen[index as usize];
        own += select(other == expert, 1u32, 0u32);
        before += select(other < expert, 1u32, 0u32);
    }
    // Sums up to each unit, by doubling distances (Hillis and Steele 1986).
    let mut owns = Shared::<[u32]>::new_slice(comptime!(UNITS as usize));
    let mut befores = Shared::<[u32]>::new_slice(comptime!(UNITS as usize));
    owns[unit] = own;
    befores[unit] = before;
    sync_cube();
    let mut distance = 1u32;
    while distance < UNITS {
        let mut more_own = 0u32;
        let mut more_before = 0u32;
        if UNIT_POS_X >= distance {
            more_own = owns[unit - distance as usize];
            more_before = befores[unit - distance as usize];
        }
        sync_cube();
        owns[unit] += more_own;
        befores[unit] += more_before;
        sync_cube();
        distance *= 2;
    }
    let start = befores[comptime!(UNITS as usize - 1)];
    let stop = start + owns[comptime!(UNITS as usize - 1)];
    let mut place = start + owns[unit] - own;
    for index in first..end {
        if chosen[index as usize] == expert {
            order[place as usize] = index;
            place += 1;
        }
    }
    // Each expert has a tile more than it fills, so that none depends on how many others have.
    let first_tile = start / tokens + expert;
    let end_tile = stop / tokens + expert + 1;
    let mut tile = first_tile + UNIT_POS_X;
    while tile < end_tile {
        let from = min(start + (tile - first_tile) * tokens, stop);
        let at = tile as usize * comptime!(TILE_WORDS);
        table[at] = expert;
        table[at + 1] = from;
        table[at + 2] = min(from + tokens, stop);
        tile += UNITS;
    }
}

/// The experts' outputs, `used` rows a token, each times its share, as the token's row.
pub(crate) fn mix(
    gpu: &Gpu,
    input: Rows<'_>,
    shares: &Buffer,
    output: Rows<'_>,
    size: usize,
    tokens: usize,
    used: usize,
    multiplier: Option<f32>,
) {
    // SAFETY: units past a row's end do nothing, and there is a row of cubes a token.
    unsafe {
        mix_kernel::launch_unchecked(
            &gpu.client,
            CubeCount::Static(size.div_ceil(UNITS as usize) as u32, tokens as u32, 1),
            CubeDim::new_1d(UNITS),
            input.buffer.arg(),
            shares.arg(),
            output.buffer.arg(),
            size as u32,
            used as u32,
            input.stride as u32,
            output.stride as u32,
            multiplier.unwrap_or(1.0),
            multiplier.is_some(),
        );
    }
}

#[cube(launch_unchecked)]
fn mix_kernel(
    input: &[f32],
    shares: &[f32],
    output: &mut [f32],
    size: u32,
    used: u32,
    input_stride: u32,
    output_stride: u32,
    multiplier: f32,
    #[comptime] adds: bool,
) {
    let column = CUBE_POS_X * UNITS + UNIT_POS_X;
    if column < size {
        let first = CUBE_POS_Y * used;
        let mut sum = 0.0f32;
        for index in 0..used {
            let row = first + index;
            sum += shares[row as usize] * input[(row * input_stride + column) as usize];
        }
        let at = (CUBE_POS_Y * output_stride + column) as usize;
        if comptime!(adds) {
            output[at] += multiplier * sum;
        } else {
            output[at] = sum;
        }
    }
}
