//! The highest scores of rows, without reading the others back.
//!
//! A row's columns are dealt out to groups, whose maxima are found first. As many scores as are looked
//! for are no lower than the so manieth highest of the maxima, and few more are: those are collected,
//! and put in order. That scores lie beside each other's in value or in place does not matter; where
//! too many are alike, the answer is that there are too many.

use cubecl::prelude::*;

use crate::GpuError;
use crate::device::{Buffer, Gpu};

/// Units in a cube.
const UNITS: u32 = 256;
/// Cubes that share a row, and groups that each of them has.
const CUBES: u32 = 32;
const GROUPS: u32 = 16;
/// Scores that are looked for.
const WANTED: u32 = 256;
/// Scores that can be collected.
const ROOM: u32 = 1024;
/// Words of a row's answer: tokens, their scores, how many were collected, and each cube's sum of weights.
const ANSWER: usize = 2 * WANTED as usize + 1 + CUBES as usize;

/// A row's highest scores.
#[derive(Debug, Clone, PartialEq)]
pub struct Highest {
    /// Tokens and their scores, best first (by `f32::total_cmp`), of equals the lower token first.
    /// Minus infinity is no score.
    pub candidates: Vec<(u32, f32)>,
    /// Whether no other token has a score.
    pub is_all: bool,
    /// The sum of `exp((score - highest) / temperature)` over the whole row, to three digits at least.
    pub weight: f64,
}

/// The highest scores of some rows of `size` values, each with its temperature; `None` of a row that
/// holds what is no score, or too many that are alike.
pub(crate) fn of_rows(
    gpu: &Gpu,
    scores: &Buffer,
    size: usize,
    rows: &[(usize, f32)],
) -> Result<Vec<Option<Highest>>, GpuError> {
    let count = rows.len();
    let wanted: Vec<u32> = rows.iter().flat_map(|(row, temperature)| [*row as u32, temperature.to_bits()]).collect();
    let wanted = gpu.words(&wanted)?;
    let maxima = gpu.room(count * (CUBES * GROUPS) as usize)?;
    let collected = gpu.room(count * 2 * ROOM as usize)?;
    let counts = gpu.room(count)?;
    let sums = gpu.room(count * CUBES as usize)?;
    let answer = gpu.room(count * ANSWER)?;
    gpu.ensure(&[&wanted, &maxima, &collected, &counts, &sums, &answer])?;
    let shared = CubeCount::Static(CUBES, count as u32, 1);
    // SAFETY: columns past the last are not read, rows are those of the scores, and what there is no
    // room for is not written.
    unsafe {
        find_maxima::launch_unchecked(
            &gpu.client,
            shared.clone(),
            CubeDim::new_1d(UNITS),
            scores.arg(),
            wanted.arg(),
            maxima.arg(),
            counts.arg(),
            size as u32,
        );
        collect::launch_unchecked(
            &gpu.client,
            shared,
            CubeDim::new_1d(UNITS),
            scores.arg(),
            wanted.arg(),
            maxima.arg(),
            counts.arg(),
            collected.arg(),
            sums.arg(),
            size as u32,
        );
        put_in_order::launch_unchecked(
            &gpu.client,
            CubeCount::Static(count as u32, 1, 1),
            CubeDim::new_1d(UNITS),
            collected.arg(),
            counts.arg(),
            sums.arg(),
            answer.arg(),
        );
    }
    let words = gpu.read_words(&answer)?;
    Ok(words.chunks_exact(ANSWER).take(count).map(answered).collect())
}

/// A row's answer, as the device writes it.
fn answered(words: &[u32]) -> Option<Highest> {
    let (tokens, rest) = words.split_at_checked(WANTED as usize)?;
    let (scores, rest) = rest.split_at_checked(WANTED as usize)?;
    let (found, sums) = rest.split_first()?;
    if *found == 0 || *found > ROOM {
        return None;
    }
    let candidates = tokens.iter().zip(scores).take(*found as usize);
    Some(Highest {
        candidates: candidates.map(|(token, score)| (*token, f32::from_bits(*score))).collect(),
        // Fewer groups than are looked for hold scores, and all of those were collected.
        is_all: *found < WANTED,
        weight: sums.iter().map(|sum| f64::from(f32::from_bits(*sum))).sum(),
    })
}

/// What is no score: minus infinity as [`key`] has it, or less.
const NOTHING: u32 = 0x007f_ffff;
/// What a sound row does not hold.
const BROKEN: u32 = u32::MAX;

/// A score's bits in the order of `f32::total_cmp`, what no sound row holds above all.
#[cube]
fn key(bits: u32) -> u32 {
    let magnitude = bits & 0x7fff_ffff;
    let is_negative = bits >> 31u32 == 1;
    let ordered = select(is_negative, !bits, bits | 0x8000_0000u32);
    let is_broken = magnitude > 0x7f80_0000u32 || bits == 0x7f80_0000u32;
    select(is_broken, u32::new(BROKEN as i64), ordered)
}

#[cube]
fn score_of(key: u32) -> u32 {
    select(key >> 31u32 == 1, key & 0x7fff_ffff, !key)
}

#[cube(launch_unchecked)]
fn find_maxima(scores: &[u32], wanted: &[u32], maxima: &mut [u32], counts: &[Atomic<u32>], size: u32) {
    let row = wanted[2 * CUBE_POS_Y as usize];
    let mut keys = Shared::<[u32]>::new_slice(comptime!(UNITS as usize));
    let mut highest = 0u32;
    let mut column = CUBE_POS_X * UNITS + UNIT_POS_X;
    while column < size {
        highest = max(highest, key(scores[(row * size + column) as usize]));
        column += UNITS * CUBES;
    }
    keys[UNIT_POS_X as usize] = highest;
    sync_cube();
    if UNIT_POS_X < GROUPS {
        #[unroll]
        for other in 1..comptime!(UNITS / GROUPS) {
            highest = max(highest, keys[(UNIT_POS_X + comptime!(other * GROUPS)) as usize]);
        }
        maxima[((CUBE_POS_Y * CUBES + CUBE_POS_X) * GROUPS + UNIT_POS_X) as usize] = highest;
    }
    if CUBE_POS_X == 0 && UNIT_POS_X == 0 {
        counts[CUBE_POS_Y as usize].store(0u32);
    }
}

#[cube(launch_unchecked)]
fn collect(
    scores: &[u32],
    wanted: &[u32],
    maxima: &[u32],
    counts: &[Atomic<u32>],
    collected: &mut [u32],
    sums: &mut [f32],
    size: u32,
) {
    let row = wanted[2 * CUBE_POS_Y as usize];
    let temperature = f32::reinterpret(wanted[(2 * CUBE_POS_Y + 1) as usize]);
    let groups = comptime!(CUBES * GROUPS);
    let mut keys = Shared::<[u32]>::new_slice(comptime!(groups as usize));
    let mut found = Shared::<[u32]>::new_slice(2usize);
    let mut parts = Shared::<[f32]>::new_slice(comptime!(UNITS as usize));
    let mut group = UNIT_POS_X;
    while group < groups {
        keys[group as usize] = maxima[(CUBE_POS_Y * groups + group) as usize];
        group += UNITS;
    }
    sync_cube();
    let mut group = UNIT_POS_X;
    while group < groups {
        let own = keys[group as usize];
        let mut rank = 0u32;
        for other in 0..groups {
            let key = keys[other as usize];
            if key > own || (key == own && other < group) {
                rank += 1;
            }
        }
        if rank == 0 {
            found[0] = own;
        }
        if rank == comptime!(WANTED - 1) {
            found[1] = own;
        }
        group += UNITS;
    }
    sync_cube();
    let least = max(found[1], comptime!(NOTHING + 1).runtime());
    let highest = f32::reinterpret(score_of(found[0]));
    let mut sum = 0.0f32;
    if found[0] != u32::new(BROKEN as i64) {
        let mut column = CUBE_POS_X * UNITS + UNIT_POS_X;
        while column < size {
            let bits = scores[(row * size + column) as usize];
            let key = key(bits);
            if key > NOTHING {
                sum += ((f32::reinterpret(bits) - highest) / temperature).exp();
            }
            if key >= least {
                let place = counts[CUBE_POS_Y as usize].fetch_add(1u32);
                if place < ROOM {
                    let at = (2 * (CUBE_POS_Y * ROOM + place)) as usize;
                    collected[at] = column;
                    collected[at + 1] = key;
                }
            }
            column += UNITS * CUBES;
        }
    }
    parts[UNIT_POS_X as usize] = sum;
    sync_cube();
    if UNIT_POS_X == 0 {
        let mut whole = 0.0f32;
        for unit in 0..UNITS {
            whole += parts[unit as usize];
        }
        sums[(CUBE_POS_Y * CUBES + CUBE_POS_X) as usize] = whole;
    }
}

#[cube(launch_unchecked)]
fn put_in_order(collected: &[u32], counts: &[u32], sums: &[u32], answer: &mut [u32]) {
    let row = CUBE_POS_X;
    let count = counts[row as usize];
    let start = row * comptime!(ANSWER as u32);
    let held = min(count, ROOM);
    let mut keys = Shared::<[u32]>::new_slice(comptime!(ROOM as usize));
    let mut tokens = Shared::<[u32]>::new_slice(comptime!(ROOM as usize));
    let mut index = UNIT_POS_X;
    while index < held {
        let at = (2 * (row * ROOM + index)) as usize;
        tokens[index as usize] = collected[at];
        keys[index as usize] = collected[at + 1];
        index += UNITS;
    }
    sync_cube();
    let mut index = UNIT_POS_X;
    while index < held {
        let own = keys[index as usize];
        let token = tokens[index as usize];
        let mut rank = 0u32;
        for other in 0..held {
            let key = keys[other as usize];
            if key > own || (key == own && tokens[other as usize] < token) {
                rank += 1;
            }
        }
        if rank < WANTED {
            answer[(start + rank) as usize] = token;
            answer[(start + WANTED + rank) as usize] = score_of(own);
        }
        index += UNITS;
    }
    if UNIT_POS_X < CUBES {
        answer[(start + comptime!(2 * WANTED + 1) + UNIT_POS_X) as usize] = sums[(row * CUBES + UNIT_POS_X) as usize];
    }
    if UNIT_POS_X == 0 {
        answer[(start + comptime!(2 * WANTED)) as usize] = count;
    }
}
