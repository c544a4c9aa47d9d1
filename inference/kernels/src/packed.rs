//! Weights in the order in which the products read them.

mod later;

use std::borrow::Cow;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use codriver_formats::quant;

use self::later::Later;
use crate::aligned::AlignedBytes;
use crate::format::Format;
use crate::pack::{pack_group, pairs};

/// Rows that are multiplied together: a 512-bit vector holds four bytes of each.
pub(crate) const ROWS: usize = 16;

/// Numbers that a task packs.
const NUMBERS: usize = 64 * 1024;

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
/// them: four columns (of bfloat16, two) of row 0, the same of row 1, and so on, a cache line in all.
pub struct PackedMatrix {
    pub(crate) format: Format,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    parts: Parts,
}

/// Where a matrix' bytes are.
enum Parts {
    Packed(Bytes),
    Later(Arc<Later>),
}

/// A matrix' bytes as its products read them.
struct Bytes {
    /// What the integers are worth, a block of the format's columns after the other.
    scales: AlignedBytes,
    quants: AlignedBytes,
}

/// Bytes from which packing can wait: fewer are packed in the time that it takes to put it off.
const LONG: usize = 1 << 20;

impl PackedMatrix {
    /// Packs `bytes`, which hold `[rows, columns]` as a GGUF file does, on all cores.
    ///
    /// # Errors
    /// There are more or fewer bytes than that, or rows of so many columns can't be held.
    pub fn pack(format: Format, rows: usize, columns: usize, bytes: &[u8]) -> Result<Self, PackError> {
        Self::check(format, rows, columns, bytes.len())?;
        Ok(Self { format, rows, columns, parts: Parts::Packed(Bytes::of(format, rows, columns, bytes)) })
    }

    /// [`PackedMatrix::pack`] of `length` bytes that can wait, as those of a file: many bytes are packed by
    /// a thread in the background, matrix after matrix in the order of these calls, or by the first who
    /// needs them. All cores ask `bytes` for those of some rows; it is dropped once they are packed, and at
    /// the latest with the matrix. Rows that it has no bytes of are zeros: it tells its owner.
    ///
    /// # Errors
    /// As [`PackedMatrix::pack`].
    pub fn pack_later<E: Send>(
        format: Format,
        rows: usize,
        columns: usize,
        length: usize,
        bytes: impl Fn(Range<usize>) -> Result<Cow<'static, [u8]>, E> + Send + Sync + 'static,
    ) -> Result<Self, PackError> {
        Self::check(format, rows, columns, length)?;
        let pack = move || Bytes::made(format, rows, columns, bytes).0;
        let parts = match length {
            ..LONG => Parts::Packed(pack()),
            _ => Parts::Later(Later::new(format, rows, columns, pack)),
        };
        Ok(Self { format, rows, columns, parts })
    }

    /// [`PackedMatrix::pack`] of bytes that are made when they are needed: all cores ask for those
    /// of some rows, so that never all are there at once.
    ///
    /// # Errors
    /// Rows of so many columns can't be held; inside, the first error of making bytes.
    pub fn pack_with<'a, E: Send>(
        format: Format,
        rows: usize,
        columns: usize,
        bytes: impl Fn(Range<usize>) -> Result<Cow<'a, [u8]>, E> + Sync,
    ) -> Result<Result<Self, E>, PackError> {
        Self::bytes(format, rows, columns)?;
        let (packed, failed) = Bytes::made(format, rows, columns, bytes);
        let packed = Self { format, rows, columns, parts: Parts::Packed(packed) };
        Ok(failed.map_or(Ok(packed), Err))
    }

    /// Whether so many numbers take so many bytes in a file.
    fn check(format: Format, rows: usize, columns: usize, found: usize) -> Result<(), PackError> {
        let expected = Self::bytes(format, rows, columns)?;
        if found != expected {
            return Err(PackError::Size { format, rows, columns, expected, found });
        }
        Ok(())
    }

    /// Bytes that so many numbers take in a file.
    fn bytes(format: Format, rows: usize, columns: usize) -> Result<usize, PackError> {
        let layout = format.layout();
        if !format.fits(columns) {
            return Err(PackError::Columns { format, columns, multiple: layout.columns });
        }
        Ok(rows.saturating_mul(columns / layout.columns).saturating_mul(layout.file))
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
        let layout = self.format.layout();
        self.groups() * (self.columns / layout.columns) * (layout.scales + layout.quants)
    }

    /// A row's numbers, as from a table; `None` where there is no such row.
    pub fn row(&self, row: usize) -> Option<Vec<f32>> {
        if row >= self.rows {
            return None;
        }
        let mut values = vec![0.0; self.columns];
        let group = self.group(row / ROWS);
        if self.format.meaning().is_some() {
            crate::portable::row(&group, row % ROWS, &mut values);
        } else {
            let size = self.format.layout().file;
            let of_row = |columns, size| <[u8]>::chunks_exact(columns, size).skip(row % ROWS).step_by(ROWS).flatten();
            let (pairs, rest) =
                group.quants.split_at(if self.format == Format::BF16 { pairs(self.columns) } else { 0 });
            let bytes: Vec<u8> = of_row(pairs, 2 * size).chain(of_row(rest, size)).copied().collect();
            quant::dequantize(self.format.tensor_type(), &bytes, &mut values).ok()?;
        }
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
        let Bytes { scales, quants } = self.packed();
        Group {
            format: self.format,
            blocks,
            scales: &scales.as_slice()[part(scales, layout.scales)],
            quants: &quants.as_slice()[part(quants, layout.quants)],
        }
    }

    /// The bytes, on all cores where they are to be packed first: whoever shares work out asks for them
    /// before.
    pub(crate) fn pack_now(&self) {
        self.packed();
    }

    fn packed(&self) -> &Bytes {
        match &self.parts {
            Parts::Packed(bytes) => bytes,
            Parts::Later(later) => later.get(),
        }
    }
}

impl Drop for PackedMatrix {
    /// What the bytes are of may be deleted or written to now.
    fn drop(&mut self) {
        if let Parts::Later(later) = &self.parts {
            later.release();
        }
    }
}

impl Bytes {
    /// Packs what [`PackedMatrix::check`] accepts; rows that are not there are zeros.
    fn of(format: Format, rows: usize, columns: usize, bytes: &[u8]) -> Self {
        let row = bytes.len() / rows.max(1);
        let part =
            |rows: Range<usize>| Ok(Cow::Borrowed(bytes.get(rows.start * row..rows.end * row).unwrap_or_default()));
        Self::made::<Infallible>(format, rows, columns, part).0
    }

    /// Packs what `bytes` has of some rows each; zeros, and the first error, where it has none.
    fn made<'a, E: Send>(
        format: Format,
        rows: usize,
        columns: usize,
        bytes: impl Fn(Range<usize>) -> Result<Cow<'a, [u8]>, E> + Sync,
    ) -> (Self, Option<E>) {
        let layout = format.layout();
        let blocks = columns / layout.columns;
        let (group_scales, group_quants) = (blocks * layout.scales, blocks * layout.quants);
        // Enough rows at a time that asking for them costs nothing, and few enough to stay in a cache.
        let together = (NUMBERS / (ROWS * columns)).max(1);
        let failed = Mutex::new(None);
        let fill = |group: usize, scales: &mut [u8], quants: &mut [u8]| {
            let first = group * ROWS;
            let count = (quants.len() / group_quants * ROWS).min(rows - first);
            let made = bytes(first..first + count).unwrap_or_else(|error| {
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                Cow::default()
            });
            let made = made.chunks((blocks * layout.file * ROWS).max(1));
            let mut scales = scales.chunks_exact_mut(group_scales.max(1));
            for (quants, made) in quants.chunks_exact_mut(group_quants).zip(made) {
                pack_group(format, blocks, made, scales.next().unwrap_or_default(), quants);
            }
        };
        let [scales, quants] = AlignedBytes::filled(rows.div_ceil(ROWS), group_scales, group_quants, together, fill);
        (Self { scales, quants }, failed.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Sixteen rows.
#[derive(Clone, Copy)]
pub(crate) struct Group<'a> {
    pub(crate) format: Format,
    /// Blocks of the format's columns.
    pub(crate) blocks: usize,
    pub(crate) scales: &'a [u8],
    pub(crate) quants: &'a [u8],
}
