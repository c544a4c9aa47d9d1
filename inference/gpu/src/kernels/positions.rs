//! What comes between projections and attention: queries and keys normalized by head and rotated,
//! keys and values put into their pages.

use codriver_kernels::PageFormat;
use cubecl::prelude::*;

use super::pages::{Location, packed, scale, size_and_fault};
use super::product::Rows;
use super::reduce::{cube_maximums, cube_sum};
use crate::device::{Buffer, Gpu};
use crate::pool::{LayerPages, PageShape};

/// Units in a cube, which takes one head of one token.
const UNITS: u32 = 64;

/// Where queries, keys and values stand, and how they turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Positions<'a> {
    pub(crate) heads: usize,
    pub(crate) shape: PageShape,
    /// The norms of queries and of keys.
    pub(crate) norms: Option<(&'a Buffer, &'a Buffer)>,
    pub(crate) epsilon: f32,
    /// Cosines, then sines, `[tokens, pairs]` each; `None`: unrotated.
    pub(crate) turn: Option<Turn<'a>>,
    /// The place of each token among all pages' positions.
    pub(crate) slots: &'a Buffer,
}

/// The rotations of a step's tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn<'a> {
    pub(crate) cosines: &'a Buffer,
    pub(crate) sines: &'a Buffer,
    pub(crate) pairs: usize,
}

impl Positions<'_> {
    /// Rotates queries in place, and writes keys and values into the layer's pages. Rows of
    /// `projected` hold queries, keys and values.
    pub(crate) fn apply(&self, gpu: &Gpu, projected: Rows<'_>, pages: &LayerPages, tokens: usize) {
        let (query_norm, key_norm) = self.norms.unwrap_or((self.slots, self.slots));
        let (cosines, sines) = self.turn.map_or((self.slots, self.slots), |turn| (turn.cosines, turn.sines));
        let heads = self.heads + 2 * self.shape.heads;
        // SAFETY: a cube reads and writes one head of one token; slots lie in the pool.
        unsafe {
            place::launch_unchecked(
                &gpu.client,
                CubeCount::Static(heads as u32, tokens as u32, 1),
                CubeDim::new_1d(UNITS),
                projected.buffer.arg(),
                pages.keys.arg(),
                pages.values.arg(),
                query_norm.arg(),
                key_norm.arg(),
                cosines.arg(),
                sines.arg(),
                self.slots.arg(),
                projected.stride as u32,
                self.epsilon,
                self.config(),
                gpu.plane,
            );
        }
    }

    pub(super) fn config(&self) -> Config {
        Config {
            heads: self.heads as u32,
            shape: self.shape,
            pairs: self.turn.map_or(0, |turn| turn.pairs as u32),
            normed: self.norms.is_some(),
        }
    }
}

/// What kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Config {
    pub(super) heads: u32,
    pub(super) shape: PageShape,
    pub(super) pairs: u32,
    pub(super) normed: bool,
}

impl Config {
    /// The first head that is no query's, and the first that is a value's.
    pub(super) fn first_key(self) -> u32 {
        self.heads
    }

    pub(super) fn first_value(self) -> u32 {
        self.heads + self.shape.heads as u32
    }

    pub(super) fn head_dim(self) -> u32 {
        self.shape.head_dim as u32
    }
}

#[cube(launch_unchecked)]
fn place(
    projected: &mut [f32],
    keys: &mut [u32],
    values: &mut [u32],
    query_norm: &[f32],
    key_norm: &[f32],
    cosines: &[f32],
    sines: &[f32],
    slots: &[u32],
    stride: u32,
    epsilon: f32,
    #[comptime] config: Config,
    #[comptime] plane: Option<u32>,
) {
    let head = CUBE_POS_X;
    let token = CUBE_POS_Y;
    let shape = comptime!(config.shape);
    let head_dim = comptime!(config.head_dim());
    let padded = comptime!(head_dim.next_multiple_of(4));
    let first_key = comptime!(config.first_key());
    let first_value = comptime!(config.first_value());
    let start = token * stride + head * head_dim;
    let mut numbers = Shared::<[f32]>::new_slice(comptime!(head_dim as usize));
    let mut turned = Shared::<[f32]>::new_slice(comptime!(padded as usize));
    // Sums of one value, largest of two.
    let mut shared = Shared::<[f32]>::new_slice(comptime!(2 * UNITS as usize));

    let mut squares = 0.0f32;
    let mut dimension = UNIT_POS_X;
    while dimension < head_dim {
        let value = projected[(start + dimension) as usize];
        numbers[dimension as usize] = value;
        squares += value * value;
        dimension += UNITS;
    }
    if comptime!(config.normed) {
        let sum = cube_sum(squares, &mut shared, UNITS, plane);
        if head < first_value {
            let factor = 1.0f32 / (sum / f32::cast_from(head_dim) + epsilon).sqrt();
            let mut dimension = UNIT_POS_X;
            while dimension < head_dim {
                let at = dimension as usize;
                if head < first_key {
                    numbers[at] *= factor * query_norm[at];
                } else {
                    numbers[at] *= factor * key_norm[at];
                }
                dimension += UNITS;
            }
        }
    }
    sync_cube();

    let mut extremes = Array::<f32>::new(2usize);
    extremes[0] = 0.0f32;
    extremes[1] = 0.0f32;
    let mut dimension = UNIT_POS_X;
    while dimension < padded {
        let mut value = 0.0f32;
        if dimension < head_dim {
            value = numbers[dimension as usize];
            let pairs = comptime!(config.pairs);
            if comptime!(pairs > 0) {
                if head < first_value && dimension < 2 * pairs {
                    let pair = dimension % pairs;
                    let at = (token * pairs + pair) as usize;
                    let (first, second) = (numbers[pair as usize], numbers[(pair + pairs) as usize]);
                    if dimension < pairs {
                        value = rotated(first, 0.0f32 - second, cosines[at], sines[at]);
                    } else {
                        value = rotated(second, first, cosines[at], sines[at]);
                    }
                }
            }
            if head < first_key {
                projected[(start + dimension) as usize] = value;
            }
        }
        turned[dimension as usize] = value;
        if comptime!(shape.format == PageFormat::Q8) {
            let (size, fault) = size_and_fault(value);
            extremes[0] = max(extremes[0], size);
            extremes[1] = max(extremes[1], fault);
        }
        dimension += UNITS;
    }
    let mut inverse = 0.0f32;
    let mut step = 0u32;
    if comptime!(shape.format == PageFormat::Q8) {
        sync_cube();
        cube_maximums(&mut extremes, &mut shared, 2usize, UNITS, plane);
        let found = scale(extremes[0], extremes[1]);
        step = found.0;
        inverse = found.1;
    }
    sync_cube();

    let slot = slots[token as usize];
    if head >= first_value {
        let place = Location::of_slot(slot, head - first_value, shape);
        let mut word = UNIT_POS_X;
        while word < comptime!(shape.value_words() as u32) {
            values[(place.value(shape) + word) as usize] = packed(&turned, word, inverse, shape);
            word += UNITS;
        }
        if comptime!(shape.format == PageFormat::Q8) {
            if UNIT_POS_X == 0 {
                values[place.value_scale(shape) as usize] = step;
            }
        }
    } else if head >= first_key {
        let place = Location::of_slot(slot, head - first_key, shape);
        let mut word = UNIT_POS_X;
        while word < comptime!(shape.key_words() as u32) {
            let at = place.key(shape) + word * comptime!(shape.page as u32);
            keys[at as usize] = packed(&turned, word, inverse, shape);
            word += UNITS;
        }
        if comptime!(shape.format == PageFormat::Q8) {
            if UNIT_POS_X == 0 {
                keys[place.key_scale(shape) as usize] = step;
            }
        }
    }
}

/// A number of a pair, turned; `other` is what it is turned to, or less that. Every rounding is spelled out, for
/// compilers that fuse as they like.
#[cube]
pub(super) fn rotated(value: f32, other: f32, cosine: f32, sine: f32) -> f32 {
    fma(value, cosine, other * sine)
}
