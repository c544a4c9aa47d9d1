//! Products of bfloat16 numbers with matrix registers (AMX-BF16).
//!
//! A tile of the second operand is 32 columns of sixteen rows as they are packed, one of the first the same columns of
//! some tokens. The input is twice in bfloat16 ([`Split`]); both parts are multiplied one after the other into the same
//! sums, block of columns by block, whatever else is multiplied beside them: a token's numbers do not depend on that.

use std::arch::asm;
use std::ops::Range;

use super::Tiles;
use crate::activations::{BLOCK, TILE};
use crate::packed::{PackedMatrix, ROWS};
use crate::split::Split;

/// Groups whose weights stay in the second cache while tokens pass by.
pub(crate) const BAND: usize = 16;
/// Blocks of columns that are multiplied before the next ones: 512 KiB of a band.
const CHUNK: usize = 32;
/// Tiles of tokens whose sums are kept.
const TILES: usize = 32;
/// Groups that few tokens are multiplied with at once.
const STRIP: usize = 4;

/// The sums of a group with a tile of tokens.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Sums([[f32; ROWS]; TILE]);

/// Bytes of a line of a tile, and of a block of a group.
const LINE: usize = BLOCK * size_of::<u16>();
const GROUP_BLOCK: usize = LINE * ROWS;

impl Tiles {
    /// Shapes for products with so many tokens: 0 to 3 are sums, 4 and 5 input, 6 and 7 weights. The level must be
    /// available.
    fn of_bf16(tokens: usize) -> Self {
        let (input, weights) = ((tokens, LINE), (ROWS, LINE));
        Self::configured([input, input, input, input, input, input, weights, weights])
    }
}

/// Multiplies some groups with all tokens, and hands each token's products with a group over. The level must be
/// available, the weights bfloat16, and their columns those of the input.
pub(crate) fn multiply(
    weights: &PackedMatrix,
    groups: Range<usize>,
    input: &Split,
    mut write: impl FnMut(usize, usize, &[f32; ROWS]),
) {
    let blocks = weights.columns() / BLOCK;
    let all = input.tiles();
    // Few tokens read their weights from far away: in one stretch.
    let chunk = if all > 2 { CHUNK } else { blocks };
    let mut sums = Vec::new();
    for first_tile in (0..all).step_by(TILES) {
        let tiles = first_tile..all.min(first_tile + TILES);
        for start in groups.clone().step_by(BAND) {
            let band = start..groups.end.min(start + BAND);
            sums.clear();
            sums.resize(tiles.len() * band.len(), Sums([[0.0; ROWS]; TILE]));
            for first in (0..blocks).step_by(chunk) {
                let part = Part { weights, input, first, count: chunk.min(blocks - first) };
                part.add(tiles.clone(), band.clone(), &mut sums);
            }
            for (tile, sums) in tiles.clone().zip(sums.chunks_exact(band.len())) {
                for (group, Sums(sums)) in band.clone().zip(sums) {
                    for (token, products) in sums.iter().enumerate().take(input.width(tile)) {
                        write(tile * TILE + token, group, products);
                    }
                }
            }
        }
    }
}

/// Some columns.
struct Part<'a> {
    weights: &'a PackedMatrix,
    input: &'a Split,
    /// The first block, and how many there are.
    first: usize,
    count: usize,
}

impl Part<'_> {
    /// Adds the products of tiles with groups to `sums`, `[tiles, groups]`.
    fn add(&self, tiles: Range<usize>, groups: Range<usize>, sums: &mut [Sums]) {
        let whole = tiles.clone().filter(|tile| self.input.width(*tile) == TILE).count();
        let row = groups.len();
        if whole > 0 {
            let _tiles = Tiles::of_bf16(TILE);
            let pairs = whole / 2 * 2;
            for (pair, sums) in sums[..pairs * row].chunks_exact_mut(2 * row).enumerate() {
                let tile = tiles.start + 2 * pair;
                for group in (0..row / 2 * 2).step_by(2) {
                    // SAFETY: the level is available and registers are configured for sixteen tokens; both tiles have as
                    // many, the groups lie beside each other, and there are two rows of sums.
                    unsafe { self.square(tile, groups.start + group, sums[group..].as_mut_ptr(), row) };
                }
                if row % 2 == 1 {
                    let last = groups.end - 1..groups.end;
                    self.strip(tile, last.clone(), &mut sums[row - 1..row]);
                    self.strip(tile + 1, last, &mut sums[2 * row - 1..]);
                }
            }
            if whole % 2 == 1 {
                self.strip(tiles.start + pairs, groups.clone(), &mut sums[pairs * row..whole * row]);
            }
        }
        if whole < tiles.len() {
            let _tiles = Tiles::of_bf16(self.input.width(tiles.end - 1));
            self.strip(tiles.end - 1, groups, &mut sums[whole * row..]);
        }
    }

    /// Where a group's columns begin.
    fn group(&self, group: usize) -> *const u8 {
        self.weights.group(group).quants[self.first * GROUP_BLOCK..].as_ptr()
    }

    /// Adds the products of a tile with groups. Registers are configured for the tile's tokens.
    fn strip(&self, tile: usize, groups: Range<usize>, sums: &mut [Sums]) {
        let mut group = groups.start;
        for some in sums.chunks_mut(STRIP) {
            if some.len() == STRIP {
                // SAFETY: registers are configured for the tile; there are so many groups and sums.
                unsafe { self.four(tile, group, some.as_mut_ptr()) };
            } else {
                for (index, sums) in some.iter_mut().enumerate() {
                    // SAFETY: as above.
                    unsafe { self.one(tile, group + index, sums) };
                }
            }
            group += some.len();
        }
    }

    /// Two tiles of sixteen tokens times two groups.
    ///
    /// # Safety
    /// Registers are configured for sixteen tokens. `sums` is where those of the first tile begin, `row` sums before
    /// those of the second.
    unsafe fn square(&self, tile: usize, group: usize, sums: *mut Sums, row: usize) {
        // SAFETY: the tiles' and the groups' bytes of so many blocks are there, and sums are as the caller says.
        unsafe {
            asm!(
                "tileloadd tmm0, [{sums} + {line}]",
                "tileloadd tmm1, [{sums} + {line} + 1024]",
                "tileloadd tmm2, [{more} + {line}]",
                "tileloadd tmm3, [{more} + {line} + 1024]",
                "2:",
                "tileloadd tmm6, [{first} + {line}]",
                "tileloadd tmm4, [{input} + {line}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{second} + {line}]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{other} + {line}]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm4, [{input} + {line} + 1024]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{other} + {line} + 1024]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {input}, 2048",
                "add {other}, 2048",
                "add {first}, 1024",
                "add {second}, 1024",
                "dec {count}",
                "jnz 2b",
                "tilestored [{sums} + {line}], tmm0",
                "tilestored [{sums} + {line} + 1024], tmm1",
                "tilestored [{more} + {line}], tmm2",
                "tilestored [{more} + {line} + 1024], tmm3",
                sums = in(reg) sums,
                more = in(reg) sums.add(row),
                line = in(reg) LINE,
                input = inout(reg) self.input.tile(tile, self.first).as_ptr() => _,
                other = inout(reg) self.input.tile(tile + 1, self.first).as_ptr() => _,
                first = inout(reg) self.group(group) => _,
                second = inout(reg) self.group(group + 1) => _,
                count = inout(reg) self.count => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }

    /// A tile times four groups.
    ///
    /// # Safety
    /// Registers are configured for the tile's tokens, and there are four sums.
    unsafe fn four(&self, tile: usize, group: usize, sums: *mut Sums) {
        let part = self.input.width(tile) * LINE;
        let input = self.input.tile(tile, self.first).as_ptr();
        // SAFETY: the tile's and the groups' bytes of so many blocks are there, and sums are as the caller says.
        unsafe {
            asm!(
                "tileloadd tmm0, [{sums} + {line}]",
                "tileloadd tmm1, [{sums} + {line} + 1024]",
                "tileloadd tmm2, [{sums} + {line} + 2048]",
                "tileloadd tmm3, [{sums} + {line} + 3072]",
                "2:",
                "tileloadd tmm4, [{input} + {line}]",
                "tileloadd tmm5, [{other} + {line}]",
                "tileloadd tmm6, [{first} + {line}]",
                "tileloadd tmm7, [{second} + {line}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm0, tmm5, tmm6",
                "tdpbf16ps tmm1, tmm5, tmm7",
                "tileloadd tmm6, [{third} + {line}]",
                "tileloadd tmm7, [{fourth} + {line}]",
                "tdpbf16ps tmm2, tmm4, tmm6",
                "tdpbf16ps tmm3, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "lea {input}, [{input} + 2 * {part}]",
                "lea {other}, [{other} + 2 * {part}]",
                "add {first}, 1024",
                "add {second}, 1024",
                "add {third}, 1024",
                "add {fourth}, 1024",
                "dec {count}",
                "jnz 2b",
                "tilestored [{sums} + {line}], tmm0",
                "tilestored [{sums} + {line} + 1024], tmm1",
                "tilestored [{sums} + {line} + 2048], tmm2",
                "tilestored [{sums} + {line} + 3072], tmm3",
                sums = in(reg) sums,
                line = in(reg) LINE,
                part = in(reg) part,
                input = inout(reg) input => _,
                other = inout(reg) input.add(part) => _,
                first = inout(reg) self.group(group) => _,
                second = inout(reg) self.group(group + 1) => _,
                third = inout(reg) self.group(group + 2) => _,
                fourth = inout(reg) self.group(group + 3) => _,
                count = inout(reg) self.count => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }

    /// A tile times a group.
    ///
    /// # Safety
    /// Registers are configured for the tile's tokens.
    unsafe fn one(&self, tile: usize, group: usize, sums: *mut Sums) {
        let part = self.input.width(tile) * LINE;
        let input = self.input.tile(tile, self.first).as_ptr();
        // SAFETY: the tile's and the group's bytes of so many blocks are there, and the sums.
        unsafe {
            asm!(
                "tileloadd tmm0, [{sums} + {line}]",
                "2:",
                "tileloadd tmm4, [{input} + {line}]",
                "tileloadd tmm5, [{other} + {line}]",
                "tileloadd tmm6, [{group} + {line}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm0, tmm5, tmm6",
                "lea {input}, [{input} + 2 * {part}]",
                "lea {other}, [{other} + 2 * {part}]",
                "add {group}, 1024",
                "dec {count}",
                "jnz 2b",
                "tilestored [{sums} + {line}], tmm0",
                sums = in(reg) sums,
                line = in(reg) LINE,
                part = in(reg) part,
                input = inout(reg) input => _,
                other = inout(reg) input.add(part) => _,
                group = inout(reg) self.group(group) => _,
                count = inout(reg) self.count => _,
                out("tmm0") _, out("tmm4") _, out("tmm5") _, out("tmm6") _,
                options(nostack),
            );
        }
    }
}
