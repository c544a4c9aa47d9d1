//! From a file's order of bytes, row by row, to that of [`PackedMatrix`](crate::PackedMatrix).

use crate::format::Format;
#[cfg(target_arch = "x86_64")]
use crate::level::Level;
use crate::packed::ROWS;
use crate::unpack::LINE;

/// Bytes of a group's pairs of two-byte columns, which lie row by row; an odd last column follows alone.
pub(crate) fn pairs(columns: usize) -> usize {
    columns / 2 * LINE
}

/// Up to sixteen rows as a file has them.
struct Source<'a> {
    bytes: &'a [u8],
    /// Bytes of a row.
    row: usize,
    #[cfg(target_arch = "x86_64")]
    level: Level,
}

/// Packs up to sixteen rows of `blocks` blocks. Block by block, so that what is written lies in
/// the nearest cache while the sixteen rows come to it.
pub(crate) fn pack_group(format: Format, blocks: usize, bytes: &[u8], scales: &mut [u8], quants: &mut [u8]) {
    let layout = format.layout();
    let source = Source {
        bytes,
        row: blocks * layout.file,
        #[cfg(target_arch = "x86_64")]
        level: Level::best(),
    };
    match format {
        Format::F32 => return source.spread(0, quants, 0),
        Format::F16 => return source.spread_halves(0, quants),
        Format::BF16 => {
            let (pairs, last) = quants.split_at_mut(pairs(blocks));
            source.spread(0, pairs, 0);
            return source.spread_halves(blocks / 2 * 4, last);
        }
        _ => {}
    }
    let blocks = scales.chunks_exact_mut(layout.scales).zip(quants.chunks_exact_mut(layout.quants));
    for (block, (scales, quants)) in blocks.enumerate() {
        let start = block * layout.file;
        for (row, bytes) in source.blocks(start, layout.file).enumerate() {
            pack_scales(format, row, bytes, scales);
        }
        match format {
            // Without a sign: the instruction multiplies unsigned by signed.
            Format::Q8_0 => source.spread(start + 2, quants, 0x8080_8080),
            Format::Q4_0 | Format::IQ4NL => source.spread(start + 2, quants, 0),
            Format::Q4_1 => source.spread(start + 4, quants, 0),
            Format::Q5_0 | Format::Q5_1 => {
                let fifth = if format == Format::Q5_0 { 2 } else { 4 };
                let (line, rest) = quants.split_at_mut(LINE);
                for (row, bytes) in source.blocks(start, layout.file).enumerate() {
                    line[4 * row..][..4].copy_from_slice(&fifth_bits(&bytes[fifth..]));
                }
                source.spread(start + fifth + 4, rest, 0);
            }
            Format::IQ4XS => source.spread(start + 8, quants, 0),
            Format::Q2K => source.spread(start + 16, quants, 0),
            // The third bits, then the other two.
            Format::Q3K => source.spread(start, quants, 0),
            Format::Q4K | Format::Q5K => source.spread(start + 16, quants, 0),
            Format::Q6K => {
                // A half: 64 bytes of low bits and 32 of high ones.
                for (half, quants) in quants.chunks_exact_mut(96 * ROWS).enumerate() {
                    let (low, high) = quants.split_at_mut(64 * ROWS);
                    source.spread(start + 64 * half, low, 0);
                    source.spread(start + 128 + 32 * half, high, 0);
                }
            }
            Format::F32 | Format::F16 | Format::BF16 => {}
        }
    }
}

impl Source<'_> {
    /// A block of each row.
    fn blocks(&self, start: usize, size: usize) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.row.max(1)).filter_map(move |row| row.get(start..start + size))
    }

    /// Four bytes of each row into each cache line, from `start` of the rows on; `flipped` bits change.
    fn spread(&self, start: usize, lines: &mut [u8], flipped: u32) {
        let size = lines.len() / ROWS;
        #[cfg(target_arch = "x86_64")]
        if self.bytes.len() == ROWS * self.row && start + size <= self.row && i32::try_from(self.bytes.len()).is_ok() {
            match self.level {
                // SAFETY: the level was found to be available, and sixteen rows have the bytes.
                Level::Avx512Vnni | Level::Amx => unsafe {
                    return crate::avx512::spread(self.bytes.as_ptr().add(start), self.row, lines, flipped);
                },
                // SAFETY: as above.
                Level::Avx2 | Level::AvxVnni => unsafe {
                    return crate::avx2::spread(self.bytes.as_ptr().add(start), self.row, lines, flipped);
                },
                _ => {}
            }
        }
        for (row, bytes) in self.blocks(start, size).enumerate() {
            for (four, line) in bytes.as_chunks::<4>().0.iter().zip(lines.as_chunks_mut::<LINE>().0) {
                line[4 * row..][..4].copy_from_slice(&(u32::from_le_bytes(*four) ^ flipped).to_le_bytes());
            }
        }
    }

    /// Numbers of two bytes, sixteen rows of each column beside each other, from the rows' byte `first` on.
    fn spread_halves(&self, first: usize, columns: &mut [u8]) {
        // Some columns at a time, which stay in the nearest cache until all rows have come.
        const COLUMNS: usize = 256;
        for (index, columns) in columns.chunks_mut(COLUMNS * 2 * ROWS).enumerate() {
            let start = first + 2 * COLUMNS * index;
            for (row, bytes) in self.blocks(start, columns.len() / ROWS).enumerate() {
                for (half, column) in bytes.as_chunks::<2>().0.iter().zip(columns.as_chunks_mut::<{ 2 * ROWS }>().0) {
                    column[2 * row..][..2].copy_from_slice(half);
                }
            }
        }
    }
}

/// Puts the scales of a row's block where the group's block has room for them.
fn pack_scales(format: Format, row: usize, bytes: &[u8], scales: &mut [u8]) {
    let mut half = |index: usize, from: usize| {
        scales[2 * (index * ROWS + row)..][..2].copy_from_slice(&bytes[from..from + 2]);
    };
    match format {
        Format::F32 | Format::F16 | Format::BF16 => {}
        Format::Q8_0 | Format::Q4_0 | Format::Q5_0 | Format::IQ4NL => half(0, 0),
        Format::Q4_1 | Format::Q5_1 => {
            half(0, 0);
            half(1, 2);
        }
        Format::IQ4XS => {
            half(0, 0);
            let high_bits = u16::from_le_bytes([bytes[2], bytes[3]]);
            for part in 0..8 {
                let low = bytes[4 + part / 2] >> (part % 2 * 4) & 15;
                let high = (high_bits >> (2 * part)) as u8 & 3;
                scales[(2 + part) * ROWS + row] = (low | high << 4).wrapping_sub(32);
            }
        }
        Format::Q2K => {
            half(0, 80);
            half(1, 82);
            for (part, byte) in bytes[..16].iter().enumerate() {
                scales[(4 + part) * ROWS + row] = *byte;
            }
        }
        Format::Q3K => {
            half(0, 108);
            for part in 0..16 {
                let low = bytes[96 + part % 8] >> (part / 8 * 4) & 15;
                let high = bytes[104 + part % 4] >> (part / 4 * 2) & 3;
                scales[(2 + part) * ROWS + row] = (low | high << 4).wrapping_sub(32);
            }
        }
        Format::Q4K | Format::Q5K => {
            half(0, 0);
            half(1, 2);
            let pairs = scales[4 * ROWS..].as_chunks_mut::<{ 2 * ROWS }>().0;
            for (pair, (scale, minimum)) in pairs.iter_mut().zip(scales_and_minimums(&bytes[4..16])) {
                pair[row] = scale;
                pair[ROWS + row] = minimum;
            }
        }
        Format::Q6K => {
            half(0, 208);
            for (part, scale) in bytes[192..208].iter().enumerate() {
                scales[(2 + part) * ROWS + row] = *scale;
            }
        }
    }
}

/// A block's fifth bits, of column `4 l + k` in bit `l` of byte `k`: lines are made of them by shifts.
fn fifth_bits(bytes: &[u8]) -> [u8; 4] {
    let bits = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    std::array::from_fn(|k| (0..8).fold(0, |byte, l| byte | ((bits >> (4 * l + k)) as u8 & 1) << l))
}

/// The six-bit scales and minimums of a Q4_K block, four at a time (ggml's `get_scale_min_k4`).
fn scales_and_minimums(packed: &[u8]) -> impl Iterator<Item = (u8, u8)> {
    let word = |index: usize| packed[4 * index..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let (first, second, third) = (word(0), word(1), word(2));
    let six = 0x3f3f_3f3f;
    let joined = |low: u32, high: u32| low & 0x0f0f_0f0f | (high >> 6 & 0x0303_0303) << 4;
    let scales = [first & six, joined(third, first)].map(u32::to_le_bytes);
    let minimums = [second & six, joined(third >> 4, second)].map(u32::to_le_bytes);
    (0..8).map(move |part| (scales[part / 4][part % 4], minimums[part / 4][part % 4]))
}
