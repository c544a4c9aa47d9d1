//! Keys and values written into pages and attended to, in every format, against plain code in 64 bits.

use std::ops::Range;

use codriver_formats::quant;
use codriver_kernels::{Format, PageFormat};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Attention, MOST_ROWS, SPLIT, TASK};
use crate::device::{Buffer, Gpu};
use crate::kernels::positions::Positions;
use crate::kernels::product::Rows;
use crate::kernels::tests::{random, variants};
use crate::pool::{PageShape, Pool};

const FORMATS: [PageFormat; 3] = [PageFormat::F32, PageFormat::F16, PageFormat::Q8];
/// How far mixed values may be from those in 64 bits, relative to the largest value.
const ALLOWED: f64 = 3e-5;

/// A sequence's queries, keys and values, and where they go.
struct Sequence {
    heads: usize,
    shape: PageShape,
    length: usize,
    /// `[length, heads + 2 * shape.heads, head_dim]`.
    projected: Vec<f32>,
    /// The sequence's pages.
    table: Vec<u32>,
    pages: usize,
}

/// Keys and values as pages hold them, `[length, shape.heads, head_dim]` each.
struct Held {
    keys: Vec<f64>,
    values: Vec<f64>,
}

#[test]
fn pages_hold_what_their_format_says_and_attention_reads_it() {
    let mut random = random();
    for gpu in variants() {
        for format in FORMATS {
            let sequence = Sequence::random(&mut random, format);
            let pool = sequence.write(&gpu, &sequence.projected);
            let held = sequence.read(&gpu, &pool);
            sequence.check_held(&held);
            sequence.check_attention(&mut random, &gpu, &pool, &held);
        }
    }
}

#[test]
fn what_is_no_number_is_none_in_any_format() {
    let mut random = random();
    for gpu in variants() {
        for format in FORMATS {
            let sequence = Sequence::random(&mut random, format);
            let width = sequence.shape.heads * sequence.shape.head_dim;
            for fault in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut projected = sequence.projected.clone();
                // The last number of the first position's last value.
                projected[(sequence.heads + 2 * sequence.shape.heads) * sequence.shape.head_dim - 1] = fault;
                let pool = sequence.write(&gpu, &projected);
                let held = sequence.read(&gpu, &pool);
                assert!(!held.values[width - 1].is_finite(), "{format}, {fault}");
                let others = held.values[width..].iter().chain(&held.keys);
                assert!(others.into_iter().all(|number| number.is_finite()), "{format}, {fault}");
            }
        }
    }
}

impl Sequence {
    /// Of random shape, longer than a run of positions.
    fn random(random: &mut ChaCha8Rng, format: PageFormat) -> Self {
        let shape = PageShape {
            page: [1, 7, 16, 64][random.random_range(0..4)],
            heads: random.random_range(1..4),
            head_dim: random.random_range(1..140),
            format,
        };
        let heads = shape.heads * [1, 2, 3, 5, 8, 11][random.random_range(0..6)];
        let length = SPLIT + random.random_range(1..100);
        let row = heads + 2 * shape.heads;
        // Heads differ in size: a scale is of one only, and small ones have no exponent in 16 bits.
        let sizes: Vec<f32> = (0..row).map(|_| [1.0, 1e-2, 3.0, 1e-5][random.random_range(0..4)]).collect();
        let heads_of = (0..length).flat_map(|_| sizes.iter());
        let numbers = heads_of.flat_map(|size| std::iter::repeat_n(*size, shape.head_dim));
        let projected = numbers.map(|size| random.random_range(-size..size)).collect();
        let needed = length.div_ceil(shape.page);
        let mut table: Vec<u32> = (0..needed as u32 + 3).collect();
        table.shuffle(random);
        table.truncate(needed);
        Self { heads, shape, length, projected, table, pages: needed + 3 }
    }

    /// Pages with the keys and values of `projected`.
    fn write(&self, gpu: &Gpu, projected: &[f32]) -> Pool {
        let pool = Pool::new(gpu, self.shape, 1, self.pages).unwrap();
        let page = self.shape.page;
        let slot = |position: usize| self.table[position / page] * page as u32 + (position % page) as u32;
        let slots = gpu.words(&(0..self.length).map(slot).collect::<Vec<u32>>()).unwrap();
        let positions =
            Positions { heads: self.heads, shape: self.shape, norms: None, epsilon: 0.0, turn: None, slots: &slots };
        let projected = gpu.floats(projected).unwrap();
        positions.apply(gpu, self.rows(&projected), pool.layer(0).unwrap(), self.length);
        pool
    }

    /// The numbers that the pages' words stand for.
    fn read(&self, gpu: &Gpu, pool: &Pool) -> Held {
        let PageShape { page, heads, head_dim, format } = self.shape;
        let layer = pool.layer(0).unwrap();
        let (keys, values) = (gpu.read_words(&layer.keys).unwrap(), gpu.read_words(&layer.values).unwrap());
        let (dense, scales) = match format {
            PageFormat::F32 => (1, 0),
            PageFormat::F16 => (2, 0),
            PageFormat::Q8 => (4, 1),
        };
        let (key_words, value_words) = (head_dim.next_multiple_of(4) / dense, head_dim.div_ceil(dense));
        let number = |word: u32, dimension: usize, scale: u32| match format {
            PageFormat::F32 => f64::from(f32::from_bits(word)),
            PageFormat::F16 => f64::from(widened((word >> (16 * (dimension % 2))) as u16)),
            PageFormat::Q8 => {
                let byte = (word >> (8 * (dimension % 4))) as u8;
                (f64::from(byte) - 128.0) * f64::from(f32::from_bits(scale))
            }
        };
        let mut held = Held { keys: Vec::new(), values: Vec::new() };
        for position in 0..self.length {
            let within = position % page;
            for head in 0..heads {
                let of_head = self.table[position / page] as usize * heads + head;
                let key = |word: usize| keys[(of_head * (key_words + scales) + word) * page + within];
                let of_values = of_head * (value_words + scales) * page;
                let value = |word: usize| values[of_values + within * value_words + word];
                let (key_scale, value_scale) = match scales {
                    0 => (0, 0),
                    _ => (key(key_words), values[of_values + value_words * page + within]),
                };
                for dimension in 0..head_dim {
                    held.keys.push(number(key(dimension / dense), dimension, key_scale));
                    held.values.push(number(value(dimension / dense), dimension, value_scale));
                }
            }
        }
        held
    }

    /// What is in the pages is what was written, rounded.
    fn check_held(&self, held: &Held) {
        let PageShape { heads, head_dim, format, .. } = self.shape;
        let width = heads * head_dim;
        for (kind, held) in [&held.keys, &held.values].into_iter().enumerate() {
            for (position, row) in self.projected.chunks((self.heads + 2 * heads) * head_dim).enumerate() {
                let row = &row[self.heads * head_dim + kind * width..][..width];
                let halves = rounded_to_halves(row);
                for (head, numbers) in row.chunks(head_dim).enumerate() {
                    let largest = numbers.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
                    for (dimension, number) in numbers.iter().enumerate() {
                        let at = head * head_dim + dimension;
                        let found = held[position * width + at];
                        let right = match format {
                            PageFormat::F32 => found == f64::from(*number),
                            PageFormat::F16 => found == f64::from(halves[at]),
                            // The nearest of 255 steps, but for the steps' own rounding.
                            PageFormat::Q8 => (found - f64::from(*number)).abs() <= 0.5001 / 127.0 * f64::from(largest),
                        };
                        assert!(right, "{found}, not {number} as {format}, largest {largest}; {:?}", self.shape);
                    }
                }
            }
        }
    }

    /// A prompt's end, a token with few positions before it and one with many, which are split among cubes.
    fn check_attention(&self, random: &mut ChaCha8Rng, gpu: &Gpu, pool: &Pool, held: &Held) {
        let window = random.random_bool(0.5).then(|| random.random_range(1..200));
        let soft_cap = random.random_bool(0.5).then(|| random.random_range(0.5..5.0_f32));
        let run = random.random_range(2..30);
        let early = random.random_range(0..SPLIT);
        let width = self.heads * self.shape.head_dim;
        let mut last: Option<Vec<u32>> = None;
        for (first, count, is_split) in [(self.length - run, run, false), (early, 1, false), (self.length - 1, 1, true)]
        {
            let found = self.attend(gpu, pool, first..first + count, is_split, window, soft_cap);
            for (position, found) in (first..first + count).zip(found.chunks(width)) {
                for (head, found) in found.chunks(self.shape.head_dim).enumerate() {
                    let (expected, largest) = self.attended(held, position, head, window, soft_cap);
                    for (found, expected) in found.iter().zip(expected) {
                        assert!(
                            (f64::from(*found) - expected).abs() <= ALLOWED * largest,
                            "{found}, not {expected} of {largest}, at {position} of {first} + {count}, head {head} of \
                             {}, window {window:?}, cap {soft_cap:?}; {:?}, {gpu:?}",
                            self.heads,
                            self.shape
                        );
                    }
                }
                if position + 1 == self.length {
                    let bits: Vec<u32> = found.iter().map(|number| number.to_bits()).collect();
                    let same = last.as_ref().is_none_or(|last| *last == bits);
                    assert!(same, "split and whole differ; {:?}, {gpu:?}", self.shape);
                    last = Some(bits);
                }
            }
        }
    }

    /// The mixed values of some positions, computed as a step would.
    fn attend(
        &self,
        gpu: &Gpu,
        pool: &Pool,
        positions: Range<usize>,
        is_split: bool,
        window: Option<usize>,
        soft_cap: Option<f32>,
    ) -> Vec<f32> {
        let (first, count) = (positions.start, positions.len());
        let (head_dim, width) = (self.shape.head_dim, self.heads * self.shape.head_dim);
        let group = self.heads / self.shape.heads;
        let task_tokens = if count == 1 { 1 } else { (MOST_ROWS / group).max(1) };
        let tasks: Vec<u32> = (0..count)
            .step_by(task_tokens)
            .flat_map(|start| [first + start, task_tokens.min(count - start), 0, first + start])
            .map(|word| word as u32)
            .collect();
        let splits = self.length.div_ceil(SPLIT);
        let parts = gpu.room(splits * self.heads * (head_dim + 2)).unwrap();
        let attention = Attention {
            heads: self.heads,
            shape: self.shape,
            scale: 1.0 / (head_dim as f32).sqrt(),
            soft_cap,
            window,
            tasks: &gpu.words(&tasks).unwrap(),
            task_count: tasks.len() / TASK,
            task_tokens,
            table: &gpu.words(&self.table).unwrap(),
            splits: is_split.then_some((splits, &parts)),
        };
        let output = gpu.floats(&vec![f32::NAN; self.length * width]).unwrap();
        let projected = gpu.floats(&self.projected).unwrap();
        let rows = Rows { buffer: &output, stride: width, start: 0 };
        attention.apply(gpu, self.rows(&projected), pool.layer(0).unwrap(), rows);
        gpu.read(&output).unwrap()[first * width..(first + count) * width].to_vec()
    }

    /// What a head of a position gets, and the largest number of what it sees.
    fn attended(
        &self,
        held: &Held,
        position: usize,
        head: usize,
        window: Option<usize>,
        soft_cap: Option<f32>,
    ) -> (Vec<f64>, f64) {
        let PageShape { heads, head_dim, .. } = self.shape;
        let of_group = head / (self.heads / heads);
        let start = position * (self.heads + 2 * heads) * head_dim + head * head_dim;
        let query = &self.projected[start..start + head_dim];
        let seen = window.map_or(0, |window| (position + 1).saturating_sub(window))..position + 1;
        let row = |numbers: &[f64], other: usize| numbers[(other * heads + of_group) * head_dim..][..head_dim].to_vec();
        let score = |other: usize| {
            let dot: f64 = query.iter().zip(row(&held.keys, other)).map(|(query, key)| f64::from(*query) * key).sum();
            let score = dot / (head_dim as f64).sqrt();
            soft_cap.map_or(score, |cap| (score / f64::from(cap)).tanh() * f64::from(cap))
        };
        let scores: Vec<f64> = seen.clone().map(score).collect();
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|score| (score - highest).exp()).sum();
        let (mut mixed, mut largest) = (vec![0.0; head_dim], 0.0_f64);
        for (other, score) in seen.zip(scores) {
            for (mixed, value) in mixed.iter_mut().zip(row(&held.values, other)) {
                *mixed += (score - highest).exp() / sum * value;
                largest = largest.max(value.abs());
            }
        }
        (mixed, largest)
    }

    fn rows<'a>(&self, buffer: &'a Buffer) -> Rows<'a> {
        Rows { buffer, stride: (self.heads + 2 * self.shape.heads) * self.shape.head_dim, start: 0 }
    }
}

/// Numbers as the nearest of 16 bits.
fn rounded_to_halves(numbers: &[f32]) -> Vec<f32> {
    let bytes = quant::quantize(Format::F16.tensor_type(), numbers).unwrap();
    let mut rounded = vec![0.0; numbers.len()];
    quant::dequantize(Format::F16.tensor_type(), &bytes, &mut rounded).unwrap();
    rounded
}

fn widened(half: u16) -> f32 {
    let mut number = [0.0];
    quant::dequantize(Format::F16.tensor_type(), &half.to_le_bytes(), &mut number).unwrap();
    number[0]
}
