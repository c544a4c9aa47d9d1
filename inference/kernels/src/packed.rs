//! Weights in the order in which the products read them.

use std::fmt;
use std::str::FromStr;

use codriver_formats::gguf::TensorType;
use codriver_formats::quant;
use rayon::prelude::*;

use crate::activations::BLOCK;
use crate::aligned::AlignedBytes;

/// Rows that are multiplied together: a 512-bit vector holds four bytes of each.
pub(crate) const ROWS: usize = 16;
/// Columns that a K-quant describes together.
pub(crate) const SUPER_BLOCK: usize = 256;

/// How weights are held. The bits are those of the GGUF type of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    F32,
    F16,
    BF16,
    Q8_0,
    Q4_0,
    Q4K,
    Q6K,
}

/// Why weights can't be packed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PackError {
    #[error("weights of {rows} x {columns} need {expected} bytes as {format:?}, and there are {found}")]
    Size { format: Format, rows: usize, columns: usize, expected: usize, found: usize },
    #[error("{columns} columns can't be held as {format:?}, which takes {multiple} at a time")]
    Columns { format: Format, columns: usize, multiple: usize },
}

/// A matrix of `[rows, columns]`, whose product with an input of `columns` has `rows` values.
///
/// Sixteen rows form a group, and a group's bytes lie in the order in which its product reads
/// them: four columns of row 0, the same four of row 1, and so on, a cache line in all.
pub struct PackedMatrix {
    pub(crate) format: Format,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// What the integers are worth, a block of [`Layout::columns`] after the other.
    pub(crate) scales: AlignedBytes,
    pub(crate) quants: AlignedBytes,
}

/// How a format's blocks lie in a file and in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Columns in a block.
    pub(crate) columns: usize,
    /// Bytes of a row's block in a file.
    file: usize,
    /// Bytes of a group's block: of its scales and of its integers.
    pub(crate) scales: usize,
    pub(crate) quants: usize,
}

/// A name that is none of a [`Format`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("weights can't be held as `{0}`; they can as q4_0, q4_k, q6_k, q8_0, f16, bf16 and f32")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let known = name.parse::<TensorType>().ok().and_then(Self::of);
        known.ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.tensor_type())
    }
}

impl Format {
    /// The format for weights of a GGUF type, where there is one.
    pub fn of(tensor_type: TensorType) -> Option<Self> {
        match tensor_type {
            TensorType::F32 => Some(Self::F32),
            TensorType::F16 => Some(Self::F16),
            TensorType::BF16 => Some(Self::BF16),
            TensorType::Q8_0 => Some(Self::Q8_0),
            TensorType::Q4_0 => Some(Self::Q4_0),
            TensorType::Q4_K => Some(Self::Q4K),
            TensorType::Q6_K => Some(Self::Q6K),
            _ => None,
        }
    }

    /// The GGUF type whose bits these are.
    pub fn tensor_type(self) -> TensorType {
        match self {
            Self::F32 => TensorType::F32,
            Self::F16 => TensorType::F16,
            Self::BF16 => TensorType::BF16,
            Self::Q8_0 => TensorType::Q8_0,
            Self::Q4_0 => TensorType::Q4_0,
            Self::Q4K => TensorType::Q4_K,
            Self::Q6K => TensorType::Q6_K,
        }
    }

    /// Whether rows of so many columns can be held.
    pub fn fits(self, columns: usize) -> bool {
        columns > 0 && columns.is_multiple_of(self.layout().columns)
    }

    pub(crate) fn layout(self) -> Layout {
        let layout = |columns, file, scales, quants| Layout { columns, file, scales, quants };
        match self {
            Self::F32 => layout(1, 4, 0, 4 * ROWS),
            Self::F16 | Self::BF16 => layout(1, 2, 0, 2 * ROWS),
            Self::Q8_0 => layout(BLOCK, 34, 2 * ROWS, BLOCK * ROWS),
            Self::Q4_0 => layout(BLOCK, 18, 2 * ROWS, BLOCK / 2 * ROWS),
            // d and dmin, then eight times sixteen scales and sixteen minimums.
            Self::Q4K => layout(SUPER_BLOCK, 144, (4 + 16) * ROWS, SUPER_BLOCK / 2 * ROWS),
            // d, then sixteen times sixteen scales.
            Self::Q6K => layout(SUPER_BLOCK, 210, (2 + 16) * ROWS, SUPER_BLOCK * 3 / 4 * ROWS),
        }
    }
}

impl PackedMatrix {
    /// Packs `bytes`, which hold `[rows, columns]` as a GGUF file does.
    pub fn pack(format: Format, rows: usize, columns: usize, bytes: &[u8]) -> Result<Self, PackError> {
        let layout = format.layout();
        if !format.fits(columns) {
            return Err(PackError::Columns { format, columns, multiple: layout.columns });
        }
        let blocks = columns / layout.columns;
        let expected = rows.saturating_mul(blocks).saturating_mul(layout.file);
        if bytes.len() != expected {
            return Err(PackError::Size { format, rows, columns, expected, found: bytes.len() });
        }
        let groups = rows.div_ceil(ROWS);
        let mut scales = AlignedBytes::zeroed(groups * blocks * layout.scales);
        let mut quants = AlignedBytes::zeroed(groups * blocks * layout.quants);
        let row_bytes = blocks * layout.file;
        let pack_group = |group: usize, scales: &mut [u8], quants: &mut [u8]| {
            for (row, bytes) in bytes.chunks_exact(row_bytes).skip(group * ROWS).take(ROWS).enumerate() {
                for (block, bytes) in bytes.chunks_exact(layout.file).enumerate() {
                    let scales = &mut scales[block * layout.scales..(block + 1) * layout.scales];
                    let quants = &mut quants[block * layout.quants..(block + 1) * layout.quants];
                    pack_block(format, row, bytes, scales, quants);
                }
            }
        };
        let quants_of_groups = quants.as_mut_slice().par_chunks_exact_mut(blocks * layout.quants);
        if layout.scales == 0 {
            quants_of_groups.enumerate().for_each(|(group, quants)| pack_group(group, &mut [], quants));
        } else {
            scales
                .as_mut_slice()
                .par_chunks_exact_mut(blocks * layout.scales)
                .zip(quants_of_groups)
                .enumerate()
                .for_each(|(group, (scales, quants))| pack_group(group, scales, quants));
        }
        Ok(Self { format, rows, columns, scales, quants })
    }

    pub fn format(&self) -> Format {
        self.format
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes in memory, which are the bytes that a product with one token reads.
    pub fn size(&self) -> usize {
        self.scales.as_slice().len() + self.quants.as_slice().len()
    }

    /// A row's numbers, as from a table; `None` where there is no such row.
    pub fn row(&self, row: usize) -> Option<Vec<f32>> {
        if row >= self.rows {
            return None;
        }
        let layout = self.format.layout();
        let group = self.group(row / ROWS);
        let mut bytes = vec![0; self.columns / layout.columns * layout.file];
        for (block, bytes) in bytes.chunks_exact_mut(layout.file).enumerate() {
            let scales = &group.scales[block * layout.scales..][..layout.scales];
            let quants = &group.quants[block * layout.quants..][..layout.quants];
            unpack_block(self.format, row % ROWS, bytes, scales, quants);
        }
        let mut values = vec![0.0; self.columns];
        quant::dequantize(self.format.tensor_type(), &bytes, &mut values).ok()?;
        Some(values)
    }

    pub(crate) fn groups(&self) -> usize {
        self.rows.div_ceil(ROWS)
    }

    /// The scales and the integers of a group.
    pub(crate) fn group(&self, group: usize) -> Group<'_> {
        let layout = self.format.layout();
        let blocks = self.columns / layout.columns;
        let part = |all: &'_ AlignedBytes, size: usize| -> std::ops::Range<usize> {
            let start = group * blocks * size;
            start.min(all.as_slice().len())..(start + blocks * size).min(all.as_slice().len())
        };
        Group {
            format: self.format,
            blocks,
            scales: &self.scales.as_slice()[part(&self.scales, layout.scales)],
            quants: &self.quants.as_slice()[part(&self.quants, layout.quants)],
        }
    }
}

/// Sixteen rows.
#[derive(Clone, Copy)]
pub(crate) struct Group<'a> {
    pub(crate) format: Format,
    pub(crate) blocks: usize,
    pub(crate) scales: &'a [u8],
    pub(crate) quants: &'a [u8],
}

/// Puts a row's block where the group's block has room for it.
fn pack_block(format: Format, row: usize, bytes: &[u8], scales: &mut [u8], quants: &mut [u8]) {
    match format {
        Format::F32 => quants[4 * row..][..4].copy_from_slice(bytes),
        Format::F16 | Format::BF16 => quants[2 * row..][..2].copy_from_slice(bytes),
        Format::Q8_0 => {
            scales[2 * row..][..2].copy_from_slice(&bytes[..2]);
            // Without a sign: the instruction multiplies unsigned by signed.
            spread(&bytes[2..], row, quants, |byte| byte ^ 0x80);
        }
        Format::Q4_0 => {
            scales[2 * row..][..2].copy_from_slice(&bytes[..2]);
            spread(&bytes[2..], row, quants, |byte| byte);
        }
        Format::Q4K => {
            scales[2 * row..][..2].copy_from_slice(&bytes[..2]);
            scales[2 * (ROWS + row)..][..2].copy_from_slice(&bytes[2..4]);
            let packed = &bytes[4..16];
            for part in 0..8 {
                let (scale, minimum) = scale_and_minimum(packed, part);
                scales[4 * ROWS + 2 * ROWS * part + row] = scale;
                scales[4 * ROWS + 2 * ROWS * part + ROWS + row] = minimum;
            }
            spread(&bytes[16..], row, quants, |byte| byte);
        }
        Format::Q6K => {
            scales[2 * row..][..2].copy_from_slice(&bytes[208..]);
            for (part, scale) in bytes[192..208].iter().enumerate() {
                scales[2 * ROWS + ROWS * part + row] = *scale;
            }
            // A half: 64 bytes of low bits and 32 of high ones.
            let halves = bytes[..128].chunks_exact(64).zip(bytes[128..192].chunks_exact(32));
            for ((low, high), quants) in halves.zip(quants.chunks_exact_mut(96 * ROWS)) {
                let (for_low, for_high) = quants.split_at_mut(64 * ROWS);
                spread(low, row, for_low, |byte| byte);
                spread(high, row, for_high, |byte| byte);
            }
        }
    }
}

/// A row's block as a file has it: what [`pack_block`] was given.
fn unpack_block(format: Format, row: usize, bytes: &mut [u8], scales: &[u8], quants: &[u8]) {
    match format {
        Format::F32 => bytes.copy_from_slice(&quants[4 * row..][..4]),
        Format::F16 | Format::BF16 => bytes.copy_from_slice(&quants[2 * row..][..2]),
        Format::Q8_0 => {
            bytes[..2].copy_from_slice(&scales[2 * row..][..2]);
            gather(&mut bytes[2..], row, quants, |byte| byte ^ 0x80);
        }
        Format::Q4_0 => {
            bytes[..2].copy_from_slice(&scales[2 * row..][..2]);
            gather(&mut bytes[2..], row, quants, |byte| byte);
        }
        Format::Q4K => {
            bytes[..2].copy_from_slice(&scales[2 * row..][..2]);
            bytes[2..4].copy_from_slice(&scales[2 * (ROWS + row)..][..2]);
            for part in 0..8 {
                let scale = scales[4 * ROWS + 2 * ROWS * part + row];
                let minimum = scales[4 * ROWS + 2 * ROWS * part + ROWS + row];
                if part < 4 {
                    bytes[4 + part] |= scale;
                    bytes[8 + part] |= minimum;
                } else {
                    bytes[8 + part] |= scale & 15 | minimum << 4;
                    bytes[part] |= scale >> 4 << 6;
                    bytes[4 + part] |= minimum >> 4 << 6;
                }
            }
            gather(&mut bytes[16..], row, quants, |byte| byte);
        }
        Format::Q6K => {
            bytes[208..].copy_from_slice(&scales[2 * row..][..2]);
            for (part, scale) in bytes[192..208].iter_mut().enumerate() {
                *scale = scales[2 * ROWS + ROWS * part + row];
            }
            let (low, high) = bytes[..192].split_at_mut(128);
            let halves = low.chunks_exact_mut(64).zip(high.chunks_exact_mut(32));
            for ((low, high), quants) in halves.zip(quants.chunks_exact(96 * ROWS)) {
                gather(low, row, &quants[..64 * ROWS], |byte| byte);
                gather(high, row, &quants[64 * ROWS..], |byte| byte);
            }
        }
    }
}

/// This row's four bytes of each cache line.
fn gather(bytes: &mut [u8], row: usize, lines: &[u8], change: impl Fn(u8) -> u8) {
    for (four, line) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(lines.chunks_exact(4 * ROWS)) {
        four.copy_from_slice(&line[4 * row..][..4]);
        *four = four.map(&change);
    }
}

/// Four bytes of this row into each cache line.
fn spread(bytes: &[u8], row: usize, lines: &mut [u8], change: impl Fn(u8) -> u8) {
    for (four, line) in bytes.as_chunks::<4>().0.iter().zip(lines.chunks_exact_mut(4 * ROWS)) {
        line[4 * row..][..4].copy_from_slice(&four.map(&change));
    }
}

/// The six-bit scale and minimum of an eighth of a Q4_K block (ggml's `get_scale_min_k4`).
fn scale_and_minimum(packed: &[u8], part: usize) -> (u8, u8) {
    if part < 4 {
        (packed[part] & 63, packed[part + 4] & 63)
    } else {
        let low = packed[part + 4];
        (low & 15 | packed[part - 4] >> 6 << 4, low >> 4 | packed[part] >> 6 << 4)
    }
}
