//! Grouped-query attention over pages of keys and values.
//!
//! One pass over the positions, each row's largest score kept up as it goes (Milakov and Gimelshein
//! 2018; Dao et al. 2022). Positions are split into runs of [`SPLIT`], whose results are brought
//! together one after the other: by one cube where there are many queries, and where there are few,
//! as in decoding, by `merge` after a cube for each run ("flash-decoding", Dao et al. 2023). Either
//! way the same numbers are added in the same order, and every rounding is spelled out.

mod parts;
#[cfg(test)]
mod tests;

use codriver_kernels::PageFormat;
use cubecl::prelude::*;

use self::parts::{Mixed, merge};
use super::pages::{Location, key_four, value_number};
use super::product::Rows;
use super::reduce::cube_maximums;
use crate::device::{Buffer, Gpu};
use crate::pool::{LayerPages, PageShape};

/// Units in a cube, and positions that it scores together.
const UNITS: u32 = 128;
/// Positions of a run, from a multiple of as many on.
pub(crate) const SPLIT: usize = 4 * UNITS as usize;
/// Queries that a cube takes at most.
pub(crate) const MOST_ROWS: usize = 8;
/// Words of a task: first token, tokens, start of its page table, position of the first token.
pub(crate) const TASK: usize = 4;

/// What is attended to, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attention<'a> {
    pub(crate) heads: usize,
    pub(crate) shape: PageShape,
    /// What scores are multiplied by.
    pub(crate) scale: f32,
    pub(crate) soft_cap: Option<f32>,
    /// How many of the newest positions a query sees, its own among them; `None`: all.
    pub(crate) window: Option<usize>,
    /// Runs of tokens of one sequence, [`TASK`] words each.
    pub(crate) tasks: &'a Buffer,
    pub(crate) task_count: usize,
    /// Tokens in the largest task.
    pub(crate) task_tokens: usize,
    /// The numbers of pages that tasks refer to.
    pub(crate) table: &'a Buffer,
    /// Cubes that share the positions of a task of one token, and where their parts go: for each
    /// split of each query `head_dim + 2` values.
    pub(crate) splits: Option<(usize, &'a Buffer)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Config {
    rows: usize,
    heads: u32,
    shape: PageShape,
    capped: bool,
    window: Option<u32>,
    split: bool,
    plane: Option<u32>,
}

impl Attention<'_> {
    /// Queries that a cube takes, for so many a task.
    pub(crate) fn rows(queries: usize) -> usize {
        queries.next_power_of_two().min(MOST_ROWS)
    }

    /// The mixed values of the queries in rows of `projected`, into rows of `output`.
    pub(crate) fn apply(&self, gpu: &Gpu, projected: Rows<'_>, pages: &LayerPages, output: Rows<'_>) {
        let group = self.heads / self.shape.heads;
        let rows = Self::rows(group * self.task_tokens);
        let cubes_a_task = (group * self.task_tokens).div_ceil(rows);
        let config = Config {
            rows,
            heads: self.heads as u32,
            shape: self.shape,
            capped: self.soft_cap.is_some(),
            window: self.window.map(|window| u32::try_from(window).unwrap_or(u32::MAX)),
            split: self.splits.is_some(),
            plane: gpu.plane,
        };
        let (splits, target) = self.splits.unwrap_or((1, output.buffer));
        // SAFETY: tasks are of tokens of the step and of pages of the pool; a cube reads positions
        // that are written, and writes its own queries' rows.
        unsafe {
            attend::launch_unchecked(
                &gpu.client,
                CubeCount::Static((self.task_count * cubes_a_task) as u32, self.shape.heads as u32, splits as u32),
                CubeDim::new_1d(UNITS),
                projected.buffer.arg(),
                pages.keys.arg(),
                pages.values.arg(),
                self.tasks.arg(),
                self.table.arg(),
                target.arg(),
                projected.stride as u32,
                output.stride as u32,
                cubes_a_task as u32,
                self.scale,
                self.soft_cap.unwrap_or(1.0),
                config,
            );
        }
        if let Some((splits, parts)) = self.splits {
            // SAFETY: a cube reads the parts of one query and writes its row.
            unsafe {
                merge::launch_unchecked(
                    &gpu.client,
                    CubeCount::Static(self.heads as u32, self.task_count as u32, 1),
                    CubeDim::new_1d(UNITS),
                    parts.arg(),
                    self.tasks.arg(),
                    output.buffer.arg(),
                    output.stride as u32,
                    splits as u32,
                    self.shape.head_dim as u32,
                );
            }
        }
    }
}

#[cube(launch_unchecked)]
fn attend(
    projected: &[f32],
    keys: &[u32],
    values: &[u32],
    tasks: &[u32],
    table: &[u32],
    output: &mut [f32],
    stride: u32,
    output_stride: u32,
    cubes_a_task: u32,
    scale: f32,
    cap: f32,
    #[comptime] config: Config,
) {
    let unit = UNIT_POS_X;
    let key_value_head = CUBE_POS_Y;
    let shape = comptime!(config.shape);
    let head_dim = comptime!(shape.head_dim as u32);
    let padded = comptime!(head_dim.next_multiple_of(4));
    let group = comptime!(config.heads / shape.heads as u32);
    let rows = comptime!(config.rows);
    let task = (CUBE_POS_X / cubes_a_task) as usize * comptime!(TASK);
    let first_token = tasks[task];
    let task_rows = tasks[task + 1] * group;
    let table_start = tasks[task + 2];
    let first_position = tasks[task + 3];
    let first_row = (CUBE_POS_X % cubes_a_task) * comptime!(rows as u32);

    // Of each row the token, the head, and which positions it sees.
    let mut at = Array::<u32>::new(rows);
    let mut from = Array::<u32>::new(rows);
    let mut to = Array::<u32>::new(rows);
    let mut first_seen = 0xffff_ffffu32;
    let mut end_seen = 0u32;
    #[unroll]
    for row in 0..rows {
        let number = first_row + comptime!(row as u32);
        let token = number / group;
        let head = key_value_head * group + number % group;
        at[row] = token * config.heads + head;
        let mut end = first_position + token + 1;
        if number >= task_rows {
            end = 0u32;
        }
        let mut start = 0u32;
        if comptime!(config.window.is_some()) {
            let window = comptime!(config.window.unwrap_or(0));
            if end > window {
                start = end - window;
            }
        }
        from[row] = start;
        to[row] = end;
        if number < task_rows {
            first_seen = min(first_seen, start);
            end_seen = max(end_seen, end);
        }
    }
    // Tiles begin where others' do, so that a row's results are the same beside other rows.
    let run = comptime!(SPLIT as u32);
    let mut split = min(first_seen, end_seen) / run;
    let mut last_split = (end_seen + run - 1) / run;
    if comptime!(config.split) {
        split = CUBE_POS_Z;
        last_split = min(last_split, split + 1);
    }
    let first_tile = min(first_seen, end_seen) / UNITS * UNITS;

    // Queries of four dimensions at a time, by row.
    let mut queries = Shared::<[f32]>::new_slice(comptime!(config.rows * padded as usize));
    #[unroll]
    for row in 0..rows {
        let number = first_row + comptime!(row as u32);
        let mut dimension = unit;
        while dimension < padded {
            let mut value = 0.0f32;
            if dimension < head_dim && number < task_rows {
                let token = first_token + number / group;
                let head = key_value_head * group + number % group;
                value = projected[(token * stride + head * head_dim + dimension) as usize] * scale;
            }
            queries[(comptime!(row as u32) * padded + dimension) as usize] = value;
            dimension += UNITS;
        }
    }
    let mut shared = Shared::<[f32]>::new_slice(comptime!(config.rows * UNITS as usize));
    let mut shares = Shared::<[f32]>::new_slice(comptime!(config.rows * UNITS as usize));
    // Where the tile's values begin, and where they are bytes, their scales.
    let mut places = Shared::<[u32]>::new_slice(comptime!(UNITS as usize));
    let scaled = comptime!(shape.format == PageFormat::Q8);
    let mut scales = Shared::<[f32]>::new_slice(comptime!(if scaled { UNITS as usize } else { 1 }));

    let dimensions = comptime!(head_dim.div_ceil(UNITS) as usize);
    let mut all = Mixed::new(rows, dimensions);
    sync_cube();
    while split < last_split {
        let mut part = Mixed::new(rows, dimensions);
        let mut tile_start = max(split * run, first_tile);
        let split_end = min(end_seen, (split + 1) * run);
        while tile_start < split_end {
            let position = tile_start + unit;
            let mut scores = Array::<f32>::new(rows);
            #[unroll]
            for row in 0..rows {
                scores[row] = 0.0f32;
            }
            if position < split_end {
                let page = comptime!(shape.page as u32);
                let number = table[(table_start + position / page) as usize];
                let place = Location::of_page(number, position % page, key_value_head, shape);
                places[unit as usize] = place.value(shape);
                for quarter in 0..comptime!(padded / 4) {
                    let key = key_four(keys, place.key(shape), quarter, shape);
                    #[unroll]
                    for row in 0..rows {
                        let query = (comptime!(row as u32) * padded + 4 * quarter) as usize;
                        #[unroll]
                        for index in 0..4usize {
                            scores[row] = fma(queries[query + index], key.extract(index), scores[row]);
                        }
                    }
                }
                if comptime!(scaled) {
                    let scale = f32::reinterpret(keys[place.key_scale(shape) as usize]);
                    #[unroll]
                    for row in 0..rows {
                        // No product that a compiler may fuse with what follows.
                        scores[row] = fma(scores[row], scale, 0.0f32);
                    }
                    scales[unit as usize] = f32::reinterpret(values[place.value_scale(shape) as usize]);
                }
            }
            let mut highest = Array::<f32>::new(rows);
            #[unroll]
            for row in 0..rows {
                if comptime!(config.capped) {
                    scores[row] = (scores[row] / cap).tanh() * cap;
                }
                let sees = position >= from[row] && position < to[row] && position < split_end;
                scores[row] = select(sees, scores[row], f32::new(-1.0e30f32));
                highest[row] = scores[row];
            }
            cube_maximums(&mut highest, &mut shared, rows, UNITS, config.plane);
            #[unroll]
            for row in 0..rows {
                let reference = max(part.largest[row], highest[row]);
                let correction = (part.largest[row] - reference).exp();
                let share = select(scores[row] > -1.0e30f32, (scores[row] - reference).exp(), 0.0f32);
                shares[(comptime!(row as u32) * UNITS + unit) as usize] = share;
                part.largest[row] = reference;
                part.sums[row] *= correction;
                #[unroll]
                for dimension in 0..dimensions {
                    part.values[comptime!(row * dimensions + dimension)] *= correction;
                }
            }
            sync_cube();
            let count = min(UNITS, split_end - tile_start);
            for index in 0..count {
                let place = places[index as usize];
                let mut scale = 1.0f32;
                if comptime!(scaled) {
                    scale = scales[index as usize];
                }
                #[unroll]
                for dimension in 0..dimensions {
                    let column = unit + comptime!(dimension as u32 * UNITS);
                    if column < head_dim {
                        let value = value_number(values, place, column, scale, shape);
                        #[unroll]
                        for row in 0..rows {
                            let share = shares[(comptime!(row as u32) * UNITS + index) as usize];
                            let mixed = comptime!(row * dimensions + dimension);
                            part.values[mixed] = fma(share, value, part.values[mixed]);
                        }
                    }
                }
                #[unroll]
                for row in 0..rows {
                    part.sums[row] += shares[(comptime!(row as u32) * UNITS + index) as usize];
                }
            }
            sync_cube();
            tile_start += UNITS;
        }
        all.add(&part, rows, dimensions);
        split += 1;
    }
    #[unroll]
    for row in 0..rows {
        if first_row + comptime!(row as u32) < task_rows {
            #[unroll]
            for dimension in 0..dimensions {
                let column = unit + comptime!(dimension as u32 * UNITS);
                let value = all.values[comptime!(row * dimensions + dimension)];
                if column < head_dim {
                    if comptime!(config.split) {
                        let number = CUBE_POS_X / cubes_a_task * config.heads + at[row];
                        let start = (number * CUBE_COUNT_Z + CUBE_POS_Z) * (head_dim + 2);
                        output[(start + column) as usize] = value;
                    } else {
                        let token = first_token + at[row] / config.heads;
                        let head = at[row] % config.heads;
                        output[(token * output_stride + head * head_dim + column) as usize] = value / all.sums[row];
                    }
                }
            }
            if comptime!(config.split) {
                if unit == 0 {
                    let number = CUBE_POS_X / cubes_a_task * config.heads + at[row];
                    let start = (number * CUBE_COUNT_Z + CUBE_POS_Z) * (head_dim + 2) + head_dim;
                    output[start as usize] = all.largest[row];
                    output[(start + 1) as usize] = all.sums[row];
                }
            }
        }
    }
}
