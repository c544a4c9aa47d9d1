//! Keys and values of a head in pages.

use std::fmt;
use std::str::FromStr;

use half::f16;
use half::slice::HalfFloatSliceExt;
use pulp::bytemuck::{cast_slice, cast_slice_mut};

/// Positions in a page.
pub const PAGE: usize = 64;
/// Dimensions that values are padded to: two of the widest vectors.
const PADDING: usize = 32;

/// How keys and values are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum PageFormat {
    #[default]
    F32,
    F16,
    /// Bytes with a sign, and a scale for each position's key and each position's value.
    Q8,
}

/// A name that is none of a [`PageFormat`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("keys and values can't be held as `{0}`; they can as f32, f16 and q8_0")]
pub struct UnknownPageFormat(String);

impl FromStr for PageFormat {
    type Err = UnknownPageFormat;

    fn from_str(name: &str) -> Result<Self, UnknownPageFormat> {
        match name.to_ascii_lowercase().as_str() {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "q8" | "q8_0" => Ok(Self::Q8),
            _ => Err(UnknownPageFormat(name.to_owned())),
        }
    }
}

impl fmt::Display for PageFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8 => "q8_0",
        })
    }
}

/// How the 64 positions of a page lie for one head, in words of 32 bits.
///
/// Keys lie by dimension, `[head_dim, 64]`: scores of neighbouring positions are neighbours. Values
/// lie by position, `[64, head_dim padded]`. Both may be of fewer bits than a word; with
/// [`PageFormat::Q8`] the scales of keys and then of values follow, `[64]` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageShape {
    pub head_dim: usize,
    pub format: PageFormat,
}

impl PageShape {
    /// Words of a page.
    pub fn words(self) -> usize {
        self.key_words() + self.value_words() + self.scale_words()
    }

    /// Writes a position's key and value, `head_dim` each, into a page.
    pub fn write(self, page: &mut [u32], position: usize, key: &[f32], value: &[f32]) {
        if page.len() < self.words() || position >= PAGE {
            return;
        }
        let (keys, rest) = page.split_at_mut(self.key_words());
        let (values, scales) = rest.split_at_mut(self.value_words());
        match self.format {
            PageFormat::F32 => self.place(cast_slice_mut(keys), cast_slice_mut(values), position, key, value),
            PageFormat::F16 => {
                let halves = |numbers: &[f32]| {
                    let mut halves = vec![f16::ZERO; numbers.len()];
                    halves.convert_from_f32_slice(numbers);
                    halves.into_iter().map(f16::to_bits).collect::<Vec<u16>>()
                };
                let (keys, values) = (cast_slice_mut::<u32, u16>(keys), cast_slice_mut::<u32, u16>(values));
                self.place(keys, values, position, &halves(key), &halves(value));
            }
            PageFormat::Q8 => {
                let ((key, key_scale), (value, value_scale)) = (rounded(key), rounded(value));
                let scales: &mut [f32] = cast_slice_mut(scales);
                scales[position] = key_scale;
                scales[PAGE + position] = value_scale;
                self.place(cast_slice_mut(keys), cast_slice_mut(values), position, &key, &value);
            }
        }
    }

    /// Copies the first `positions` of a page.
    pub fn copy(self, from: &[u32], to: &mut [u32], positions: usize) {
        let positions = positions.min(PAGE);
        if from.len() < self.words() || to.len() < self.words() {
            return;
        }
        match self.format {
            PageFormat::F32 => self.copy_numbers::<u32>(from, to, positions),
            PageFormat::F16 => self.copy_numbers::<u16>(from, to, positions),
            PageFormat::Q8 => {
                self.copy_numbers::<u8>(from, to, positions);
                let scales = self.key_words() + self.value_words();
                for start in [scales, scales + PAGE] {
                    to[start..start + positions].copy_from_slice(&from[start..start + positions]);
                }
            }
        }
    }

    fn place<T: Copy>(self, keys: &mut [T], values: &mut [T], position: usize, key: &[T], value: &[T]) {
        for (room, key) in keys.iter_mut().skip(position).step_by(PAGE).zip(key) {
            *room = *key;
        }
        let start = position * self.padded();
        for (room, value) in values[start..start + self.head_dim].iter_mut().zip(value) {
            *room = *value;
        }
    }

    fn copy_numbers<T: pulp::bytemuck::Pod>(self, from: &[u32], to: &mut [u32], positions: usize) {
        let (keys, values) = (self.key_words(), self.key_words() + self.value_words());
        let from_keys = cast_slice::<u32, T>(&from[..keys]).chunks_exact(PAGE);
        let to_keys = cast_slice_mut::<u32, T>(&mut to[..keys]).chunks_exact_mut(PAGE);
        for (from, to) in from_keys.zip(to_keys) {
            to[..positions].copy_from_slice(&from[..positions]);
        }
        let filled = positions * self.padded();
        let from_values = &cast_slice::<u32, T>(&from[keys..values])[..filled];
        cast_slice_mut::<u32, T>(&mut to[keys..values])[..filled].copy_from_slice(from_values);
    }

    /// Numbers in a word.
    fn dense(self) -> usize {
        match self.format {
            PageFormat::F32 => 1,
            PageFormat::F16 => 2,
            PageFormat::Q8 => 4,
        }
    }

    pub(crate) fn key_words(self) -> usize {
        self.head_dim * PAGE / self.dense()
    }

    pub(crate) fn value_words(self) -> usize {
        self.padded() * PAGE / self.dense()
    }

    fn scale_words(self) -> usize {
        if self.format == PageFormat::Q8 { 2 * PAGE } else { 0 }
    }

    pub(crate) fn padded(self) -> usize {
        self.head_dim.next_multiple_of(PADDING)
    }
}

/// Bytes with a sign, and what one step is worth.
fn rounded(numbers: &[f32]) -> (Vec<i8>, f32) {
    let largest =
        numbers.iter().fold(0.0f32, |largest, number| if number.abs() > largest { number.abs() } else { largest });
    let scale = largest / 127.0;
    let inverse = if scale >= f32::MIN_POSITIVE { scale.recip() } else { 0.0 };
    // What is not a number would be zero: the scale carries the fault on.
    let scale = if numbers.iter().all(|number| number.is_finite()) { scale } else { f32::NAN };
    (numbers.iter().map(|number| (number * inverse).round_ties_even() as i8).collect(), scale)
}

/// A head's page, of [`PageShape::words`] words.
#[derive(Clone, Copy)]
pub struct HeadPage<'a> {
    pub words: &'a [u32],
}
