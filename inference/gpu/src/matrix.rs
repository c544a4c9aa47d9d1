//! Weights on the device, in the bits of their file and in an order that neighbouring units read
//! together.

use codriver_kernels::Format;

use crate::GpuError;
use crate::device::{Buffer, Gpu};
use crate::kernels::copy;
use crate::kernels::embedding::look_up;
use crate::kernels::product::{Finish, Rows, multiply};

/// Columns that a unit reads together.
pub(crate) const CHUNK: usize = 8;
/// Columns that a block of Q8_0 or Q4_0 has.
const BLOCK: usize = 32;
/// Columns that a K-quant describes together.
const SUPER_BLOCK: usize = 256;

/// [`Format`], as kernels are told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    F32,
    F16,
    BF16,
    Q8_0,
    Q4_0,
    Q4K,
    Q6K,
}

/// A matrix of `[rows, columns]` on a device, whose product with an input of `columns` has `rows`
/// values. A clone is the same memory.
///
/// Row by row, a row's integers in the order of its columns, eight columns in as few words as they
/// take; scales lie apart. Nothing is rounded: a row of an F32, F16 or BF16 matrix is padded with
/// zeros to whole chunks.
#[derive(Debug, Clone)]
pub struct Matrix {
    pub(crate) encoding: Encoding,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) quants: Buffer,
    pub(crate) details: Buffer,
}

impl Encoding {
    /// The encoding of a format's bits, where there are kernels for it.
    fn of(format: Format) -> Option<Self> {
        match format {
            Format::F32 => Some(Self::F32),
            Format::F16 => Some(Self::F16),
            Format::BF16 => Some(Self::BF16),
            Format::Q8_0 => Some(Self::Q8_0),
            Format::Q4_0 => Some(Self::Q4_0),
            Format::Q4K => Some(Self::Q4K),
            Format::Q6K => Some(Self::Q6K),
            _ => None,
        }
    }
}

/// How a row lies in a file and on the device.
#[derive(Clone, Copy)]
struct Row {
    /// Bytes in the file.
    file: usize,
    /// Words of integers.
    quants: usize,
    /// Words of scales.
    details: usize,
}

impl Encoding {
    /// Words that a unit loads at once.
    pub(crate) fn vector(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 4,
            Self::Q8_0 => 2,
            Self::Q4_0 | Self::Q4K | Self::Q6K => 1,
        }
    }

    /// Whether weights are integers times a scale.
    pub(crate) fn is_scaled(self) -> bool {
        !matches!(self, Self::F32 | Self::F16 | Self::BF16)
    }

    /// Whether something is added to them, too.
    pub(crate) fn has_offset(self) -> bool {
        self == Self::Q4K
    }

    fn row(self, columns: usize) -> Row {
        let row = |file, quants, details| Row { file, quants, details };
        let padded = columns.next_multiple_of(CHUNK);
        let (blocks, super_blocks) = (columns / BLOCK, columns / SUPER_BLOCK);
        match self {
            Self::F32 => row(4 * columns, padded, 0),
            Self::F16 | Self::BF16 => row(2 * columns, padded / 2, 0),
            Self::Q8_0 => row(34 * blocks, columns / 4, blocks.div_ceil(2)),
            Self::Q4_0 => row(18 * blocks, columns / 8, blocks.div_ceil(2)),
            Self::Q4K => row(144 * super_blocks, columns / 8, 4 * super_blocks),
            Self::Q6K => row(210 * super_blocks, columns / 8, 20 * super_blocks + super_blocks.div_ceil(2)),
        }
    }
}

impl Matrix {
    /// Puts `bytes`, which hold `[rows, columns]` as a GGUF file does, on a device.
    pub fn upload(gpu: &Gpu, format: Format, rows: usize, columns: usize, bytes: &[u8]) -> Result<Self, GpuError> {
        let unfit = || GpuError::Columns { format, columns };
        let encoding = Encoding::of(format).filter(|_| format.fits(columns)).ok_or_else(unfit)?;
        let row = encoding.row(columns);
        let expected = rows.saturating_mul(row.file);
        if bytes.len() != expected || rows == 0 {
            return Err(GpuError::Size { format, rows, columns, expected, found: bytes.len() });
        }
        let mut quants = vec![0_u32; rows * row.quants];
        let mut details = vec![0_u32; rows * row.details];
        for (index, bytes) in bytes.chunks_exact(row.file).enumerate() {
            let quants = quants.get_mut(index * row.quants..(index + 1) * row.quants).unwrap_or_default();
            let details = details.get_mut(index * row.details..(index + 1) * row.details).unwrap_or_default();
            encoding.repack(bytes, quants, details);
        }
        let (quants, details) = (gpu.words(&quants)?, gpu.words(&details)?);
        gpu.ensure(&[&quants, &details])?;
        Ok(Self { encoding, rows, columns, quants, details })
    }

    /// Whether there are kernels for a format's bits.
    pub fn holds(format: Format) -> bool {
        Encoding::of(format).is_some()
    }

    /// The bytes of device memory that a matrix takes; `None` where it can't be held so.
    pub fn size(format: Format, rows: usize, columns: usize) -> Option<u64> {
        let row = Encoding::of(format).filter(|_| format.fits(columns))?.row(columns);
        Some(4 * (rows as u64).saturating_mul((row.quants + row.details) as u64))
    }

    /// The product with rows of `columns` values, `[tokens, rows]`.
    pub fn multiply(&self, gpu: &Gpu, input: &[f32]) -> Result<Vec<f32>, GpuError> {
        let tokens = input.len() / self.columns.max(1);
        if tokens == 0 {
            return Ok(Vec::new());
        }
        let stride = self.columns.next_multiple_of(CHUNK);
        let mut padded = vec![0.0; tokens * stride];
        for (room, values) in padded.chunks_exact_mut(stride).zip(input.chunks_exact(self.columns)) {
            room.iter_mut().zip(values).for_each(|(room, value)| *room = *value);
        }
        let (input, output) = (gpu.floats(&padded)?, gpu.room(tokens * self.rows)?);
        let input = Rows { buffer: &input, stride, start: 0 };
        let rows = Rows { buffer: &output, stride: self.rows, start: 0 };
        multiply(gpu, self, input, rows, tokens, &Finish::plain(), None);
        gpu.read(&output)
    }

    /// The numbers of some rows, as from a table: `[tokens, columns]`.
    pub fn look_up(&self, gpu: &Gpu, tokens: &[u32]) -> Result<Vec<f32>, GpuError> {
        if let Some(token) = tokens.iter().find(|token| **token as usize >= self.rows) {
            return Err(GpuError::Step(format!("row {token} of {}", self.rows)));
        }
        let output = gpu.room(tokens.len() * self.columns)?;
        let rows = Rows { buffer: &output, stride: self.columns, start: 0 };
        look_up(gpu, self, &gpu.words(tokens)?, rows, tokens.len(), 1.0);
        gpu.read(&output)
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Eights of columns in a row.
    pub(crate) fn chunks(&self) -> usize {
        self.columns.div_ceil(CHUNK)
    }

    /// The matrices below each other, so that one launch multiplies all; `None` where they differ in
    /// format or columns.
    pub(crate) fn stacked(gpu: &Gpu, parts: &[&Self]) -> Result<Option<Self>, GpuError> {
        let Some(first) = parts.first() else { return Ok(None) };
        if parts.iter().any(|part| part.encoding != first.encoding || part.columns != first.columns) {
            return Ok(None);
        }
        let quants: Vec<&Buffer> = parts.iter().map(|part| &part.quants).collect();
        let details: Vec<&Buffer> = parts.iter().map(|part| &part.details).collect();
        Ok(Some(Self {
            encoding: first.encoding,
            rows: parts.iter().map(|part| part.rows).sum(),
            columns: first.columns,
            quants: copy::joined(gpu, &quants)?,
            details: if first.encoding.row(first.columns).details == 0 {
                first.details.clone()
            } else {
                copy::joined(gpu, &details)?
            },
        }))
    }
}

impl Encoding {
    /// A row's bytes in a file as the words of the device.
    fn repack(self, bytes: &[u8], quants: &mut [u32], details: &mut [u32]) {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => words(bytes, quants),
            Self::Q8_0 => {
                for (block, (bytes, quants)) in bytes.chunks_exact(34).zip(quants.chunks_exact_mut(8)).enumerate() {
                    put_half(details, block, bytes);
                    // Without a sign, as the kernels' conversion to floats needs them.
                    let unsigned: Vec<u8> = bytes.iter().skip(2).map(|byte| byte ^ 0x80).collect();
                    words(&unsigned, quants);
                }
            }
            Self::Q4_0 => {
                for (block, (bytes, quants)) in bytes.chunks_exact(18).zip(quants.chunks_exact_mut(4)).enumerate() {
                    put_half(details, block, bytes);
                    let (low, high): (Vec<u8>, Vec<u8>) =
                        bytes.iter().skip(2).map(|byte| (byte & 15, byte >> 4)).unzip();
                    nibbles(&[low, high].concat(), quants);
                }
            }
            Self::Q4K => {
                let rooms = quants.chunks_exact_mut(32).zip(details.chunks_exact_mut(4));
                for (bytes, (quants, details)) in bytes.chunks_exact(144).zip(rooms) {
                    let (head, body) = bytes.split_at(16);
                    let (halves, packed) = head.split_at(4);
                    put_half(details, 0, halves);
                    put_half(details, 1, halves.get(2..).unwrap_or_default());
                    for part in 0..8 {
                        let (scale, minimum) = scale_and_minimum(packed, part);
                        let byte = u32::from(scale & 15 | (minimum & 15) << 4);
                        let rest = u32::from(scale >> 4 | minimum >> 4 << 2);
                        if let [_, first, second, high] = details {
                            *if part < 4 { first } else { second } |= byte << (8 * (part % 4));
                            *high |= rest << (4 * part);
                        }
                    }
                    // 32 bytes hold a part in their lower halves and the next in their upper ones.
                    for (bytes, quants) in body.chunks_exact(32).zip(quants.chunks_exact_mut(8)) {
                        let (low, high): (Vec<u8>, Vec<u8>) = bytes.iter().map(|byte| (byte & 15, byte >> 4)).unzip();
                        nibbles(&[low, high].concat(), quants);
                    }
                }
            }
            Self::Q6K => {
                let super_blocks = quants.len() / 32;
                let (crumbs, rest) = details.split_at_mut((16 * super_blocks).min(details.len()));
                let (scales, halves) = rest.split_at_mut((4 * super_blocks).min(rest.len()));
                let rooms =
                    quants.chunks_exact_mut(32).zip(crumbs.chunks_exact_mut(16)).zip(scales.chunks_exact_mut(4));
                for (block, (bytes, ((quants, crumbs), scales))) in bytes.chunks_exact(210).zip(rooms).enumerate() {
                    let (low, rest) = bytes.split_at(128);
                    let (high, rest) = rest.split_at(64);
                    let (signed, half) = rest.split_at(16);
                    put_half(halves, block, half);
                    words(signed, scales);
                    let values: Vec<u8> = low.chunks_exact(64).zip(high.chunks_exact(32)).flat_map(sextets).collect();
                    let lower: Vec<u8> = values.iter().map(|value| value & 15).collect();
                    nibbles(&lower, quants);
                    for (crumbs, values) in crumbs.iter_mut().zip(values.chunks_exact(16)) {
                        let upper = values.iter().zip((0..).step_by(2));
                        *crumbs = upper.fold(0, |word, (value, shift)| word | u32::from(value >> 4) << shift);
                    }
                }
            }
        }
    }
}

/// The 128 values of six bits in half a Q6_K block.
fn sextets((low, high): (&[u8], &[u8])) -> Vec<u8> {
    let quarter = |quarter: usize| {
        let bytes = low.iter().skip(32 * (quarter % 2)).zip(high);
        bytes.map(move |(low, high)| (low >> (4 * (quarter / 2)) & 15) | (high >> (2 * quarter) & 3) << 4)
    };
    (0..4).flat_map(quarter).collect()
}

/// Values of four bits in the order of the kernels: a byte of the word holds one, and above it the
/// fourth after it.
fn nibbles(values: &[u8], quants: &mut [u32]) {
    for (word, values) in quants.iter_mut().zip(values.as_chunks::<8>().0) {
        let [a, b, c, d, e, f, g, h] = values.map(u32::from);
        *word = a | e << 4 | b << 8 | f << 12 | c << 16 | g << 20 | d << 24 | h << 28;
    }
}

fn words(bytes: &[u8], words: &mut [u32]) {
    let (whole, rest) = bytes.as_chunks::<4>();
    for (word, bytes) in words.iter_mut().zip(whole) {
        *word = u32::from_le_bytes(*bytes);
    }
    if let Some(word) = words.get_mut(whole.len()).filter(|_| !rest.is_empty()) {
        *word = rest.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
    }
}

/// Puts the first two bytes among numbers of 16 bits.
fn put_half(halves: &mut [u32], index: usize, bytes: &[u8]) {
    if let (Some(word), [low, high, ..]) = (halves.get_mut(index / 2), bytes) {
        *word |= u32::from(u16::from_le_bytes([*low, *high])) << (16 * (index % 2));
    }
}

/// The six-bit scale and minimum of an eighth of a Q4_K block (ggml's `get_scale_min_k4`).
fn scale_and_minimum(packed: &[u8], part: usize) -> (u8, u8) {
    let at = |index: usize| packed.get(index).copied().unwrap_or_default();
    if part < 4 {
        (at(part) & 63, at(part + 4) & 63)
    } else {
        let low = at(part + 4);
        (low & 15 | at(part - 4) >> 6 << 4, low >> 4 | at(part) >> 6 << 4)
    }
}
