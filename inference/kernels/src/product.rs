//! Input times weights.

use std::cell::RefCell;
use std::ops::Range;

use crate::activations::{Activations, TILE, Tile};
#[cfg(target_arch = "x86_64")]
use crate::format::Format;
use crate::format::Meaning;
use crate::level::Level;
#[cfg(target_arch = "aarch64")]
use crate::neon;
use crate::packed::{Group, PackedMatrix, ROWS};
use crate::unpack::{CHUNK, Line, Numbers, SHORT_CHUNK, Unpacked};
#[cfg(target_arch = "x86_64")]
use crate::{amx, avx2, avx512, split::Split};
use crate::{pool, portable};

/// `input` times the transposed `weights`: `[tokens, rows]`, on all of the processor's cores.
/// Zeros where the input's columns are not the weights'.
///
/// A token's numbers are the same to the last bit whichever tokens share the call and however many
/// threads there are: integers are summed exactly, and floats in the order of the columns.
pub fn multiply(weights: &PackedMatrix, input: &Activations) -> Vec<f32> {
    multiply_all(&[weights], input).pop().unwrap_or_default()
}

/// [`multiply`] with several weights, which costs no more than with one matrix of all their rows.
pub fn multiply_all(weights: &[&PackedMatrix], input: &Activations) -> Vec<Vec<f32>> {
    multiply_with(Level::best(), weights, input)
}

/// [`multiply`] with chosen instructions, or with the portable ones where the processor lacks them.
pub fn multiply_at(level: Level, weights: &PackedMatrix, input: &Activations) -> Vec<f32> {
    let level = if Level::available().contains(&level) { level } else { Level::Portable };
    multiply_with(level, &[weights], input).pop().unwrap_or_default()
}

/// Tokens that are multiplied before the next rows are unpacked.
const TOKENS: usize = 512;
/// Groups whose sums are kept while the input's columns stay in a near cache.
const BAND: usize = 4;
/// Chunks between the one at hand and the one asked for: farther than the processor looks by itself.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 3;
/// What a task reads at least: handing it over costs nothing beside that.
const TASK_BYTES: usize = 48 * 1024;

thread_local! {
    static UNPACKED: RefCell<Box<Unpacked>> = RefCell::new(Box::new(Unpacked::new()));
}

/// The products with instructions that the processor has.
fn multiply_with(level: Level, weights: &[&PackedMatrix], input: &Activations) -> Vec<Vec<f32>> {
    let mut products: Vec<Vec<f32>> = weights.iter().map(|weights| vec![0.0; input.tokens * weights.rows]).collect();
    weights.iter().for_each(|weights| weights.pack_now());
    let mut tasks = Vec::new();
    for (weights, products) in weights.iter().copied().zip(&mut products) {
        if input.columns != weights.columns || weights.rows == 0 || input.tokens == 0 {
            continue;
        }
        if weights.format.meaning().is_some() {
            input.rounded();
        }
        let groups = weights.groups();
        let output = Output { values: products.as_mut_ptr(), rows: weights.rows, tokens: input.tokens };
        let group_bytes = (weights.size() / groups).max(1) * input.tokens;
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut))]
        let mut band = BAND;
        #[cfg(target_arch = "x86_64")]
        if split(level, weights, input).is_some() {
            band = amx::BAND.min(groups.div_ceil(pool::threads()));
        }
        let least = TASK_BYTES.div_ceil(group_bytes).max(if input.tokens > TILE { band } else { 1 });
        // Several tasks a thread, so that none waits long for the last.
        let size = groups.div_ceil(8 * pool::threads()).max(least);
        tasks.extend((0..groups).step_by(size).map(|start| (weights, start..groups.min(start + size), output)));
    }
    pool::run(tasks.len(), |task| {
        let Some((weights, groups, output)) = tasks.get(task) else { return };
        match weights.format.meaning() {
            Some(meaning) => UNPACKED.with_borrow_mut(|unpacked| {
                integers(level, weights, meaning, input, groups.clone(), *output, unpacked);
            }),
            None => numbers(level, weights, input, groups.clone(), *output),
        }
    });
    products
}

/// The products of some groups whose weights are integers.
fn integers(
    level: Level,
    weights: &PackedMatrix,
    meaning: Meaning,
    input: &Activations,
    groups: Range<usize>,
    output: Output,
    unpacked: &mut Unpacked,
) {
    let many = input.tokens > TILE;
    let (band, chunk) = if many { (BAND, CHUNK) } else { (1, SHORT_CHUNK) };
    let blocks = weights.columns / crate::activations::BLOCK;
    let rounded = input.rounded();
    #[cfg(target_arch = "x86_64")]
    let _tiles = (level == Level::Amx && input.tokens >= TILE).then(|| amx::Tiles::of_integers(meaning));
    let mut totals = vec![[0.0; ROWS]; band * input.tokens.min(TOKENS)];
    for first_token in (0..input.tokens).step_by(TOKENS) {
        let tokens = first_token..input.tokens.min(first_token + TOKENS);
        for start in groups.clone().step_by(band) {
            let band = start..groups.end.min(start + band);
            totals.fill([0.0; ROWS]);
            for first in (0..blocks).step_by(chunk) {
                let count = chunk.min(blocks - first);
                for (group, totals) in band.clone().zip(totals.chunks_exact_mut(tokens.len())) {
                    let group = weights.group(group);
                    #[cfg(target_arch = "x86_64")]
                    if !many {
                        prefetch(&group, first + AHEAD * count, count);
                    }
                    let part = Part::unpacked(level, &group, meaning, first, count, unpacked);
                    for tile in
                        rounded.tiles(tokens.clone()).filter(|tile| !(level == Level::Amx && tile.width == TILE))
                    {
                        let start = tile.first - tokens.start;
                        if let Some(totals) = totals.get_mut(start..start + tile.width) {
                            part.add(level, &tile, totals);
                        }
                    }
                    #[cfg(target_arch = "x86_64")]
                    if level == Level::Amx && tokens.len() >= TILE {
                        let part = part.signed(unpacked);
                        for tile in rounded.tiles(tokens.clone()).take_while(|tile| tile.width == TILE) {
                            let start = tile.first - tokens.start;
                            if let Some(totals) = totals.get_mut(start..start + tile.width) {
                                // SAFETY: the level was found to be available, tiles are configured
                                // for this meaning, and part, tile and totals have the sizes they say.
                                unsafe { amx::add(&part, &tile, totals) };
                            }
                        }
                    }
                }
            }
            for (group, totals) in band.zip(totals.chunks_exact(tokens.len())) {
                for (token, products) in tokens.clone().zip(totals) {
                    output.write(token, group, products);
                }
            }
        }
    }
}

/// Asks for the columns that come next, while those at hand are multiplied.
#[cfg(target_arch = "x86_64")]
fn prefetch(group: &Group<'_>, first: usize, blocks: usize) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    let layout = group.format.layout();
    let of = |bytes: &[u8], size: usize| {
        let start = bytes.as_ptr().wrapping_add(first * crate::activations::BLOCK / layout.columns * size);
        for line in 0..(blocks * crate::activations::BLOCK / layout.columns * size).div_ceil(64) {
            // SAFETY: a hint, which reads nothing; beyond this group lies the next one.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(start.wrapping_add(64 * line).cast()) };
        }
    };
    of(group.quants, layout.quants);
    of(group.scales, layout.scales);
}

/// Some columns of a group, unpacked.
pub(crate) struct Part {
    pub(crate) meaning: Meaning,
    /// The first block of 32 columns, and how many there are.
    pub(crate) first: usize,
    pub(crate) blocks: usize,
    /// Eight a block.
    pub(crate) lines: *const Line,
    /// One or two a block.
    pub(crate) scales: *const Numbers,
    pub(crate) minimums: *const Numbers,
}

impl Part {
    fn unpacked(
        level: Level,
        group: &Group<'_>,
        meaning: Meaning,
        first: usize,
        blocks: usize,
        unpacked: &mut Unpacked,
    ) -> Self {
        match level {
            // SAFETY: the level was found to be available.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni | Level::Amx => unsafe { avx512::unpack(group, first, blocks, unpacked) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::AvxVnni => unsafe { avx2::unpack(group, first, blocks, unpacked) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Level::NeonDotProd => unsafe { neon::unpack(group, first, blocks, unpacked) },
            _ => portable::unpack(group, first, blocks, unpacked),
        }
        Self {
            meaning,
            first,
            blocks,
            lines: unpacked.lines.as_ptr(),
            scales: unpacked.scales.as_ptr(),
            minimums: unpacked.minimums.as_ptr(),
        }
    }

    /// Takes 128 off each integer, where that is not done with the input's sums.
    #[cfg(target_arch = "x86_64")]
    fn signed(self, unpacked: &mut Unpacked) -> Self {
        if !self.meaning.minimums {
            for line in unpacked.lines.iter_mut().take(self.blocks * crate::unpack::LINES) {
                line.iter_mut().for_each(|byte| *byte ^= 0x80);
            }
        }
        Self { lines: unpacked.lines.as_ptr(), ..self }
    }

    /// Adds the products with a tile's tokens to their totals.
    fn add(&self, level: Level, tile: &Tile<'_>, totals: &mut [Numbers]) {
        match level {
            // SAFETY: the level was found to be available; part, tile and totals have the sizes
            // that they say.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni | Level::Amx => unsafe { avx512::add(self, tile, totals) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { avx2::add(self, tile, totals) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni => unsafe { avx2::add_vnni(self, tile, totals) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Level::NeonDotProd => unsafe { neon::add(self, tile, totals) },
            // SAFETY: as above.
            _ => unsafe { portable::add(self, tile, totals) },
        }
    }
}

/// The products of some groups whose weights are numbers.
fn numbers(level: Level, weights: &PackedMatrix, input: &Activations, groups: Range<usize>, output: Output) {
    #[cfg(target_arch = "x86_64")]
    if let Some(split) = split(level, weights, input) {
        return amx::multiply(weights, groups, split, |token, group, products| output.write(token, group, products));
    }
    for group in groups {
        let view = weights.group(group);
        let mut token = 0;
        while token < input.tokens {
            token +=
                some_floats(level, view, input, token, |of_token, products| output.write(of_token, group, products));
        }
    }
}

/// The input for products in matrix registers, where there are registers for these weights.
#[cfg(target_arch = "x86_64")]
fn split<'a>(level: Level, weights: &PackedMatrix, input: &'a Activations) -> Option<&'a Split> {
    if level == Level::Amx && weights.format == Format::BF16 { input.split() } else { None }
}

/// Multiplies a group with some tokens from `first` on, and says with how many.
fn some_floats(
    level: Level,
    group: Group<'_>,
    input: &Activations,
    first: usize,
    mut write: impl FnMut(usize, &[f32; ROWS]),
) -> usize {
    /// As many tokens as a product's registers hold.
    #[cfg(target_arch = "x86_64")]
    macro_rules! tile {
        ($instructions:ident, $($tokens:literal),+) => {{
            $(if input.tokens - first >= $tokens {
                let tokens = std::array::from_fn(|index| input.values(first + index));
                // SAFETY: the level was found to be available, and the group's and the tokens'
                // slices have the lengths of their layout.
                let products = unsafe { $instructions::floats::<$tokens>(group, &tokens) };
                for (index, products) in products.iter().enumerate() {
                    write(first + index, products);
                }
                return $tokens;
            })+
        }};
    }
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Vnni | Level::Amx => tile!(avx512, 8, 4, 2, 1),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::AvxVnni => tile!(avx2, 4, 2, 1),
        _ => write(first, &portable::floats(group, input.values(first))),
    }
    1
}

/// The result, which every task writes its own rows of.
#[derive(Clone, Copy)]
struct Output {
    values: *mut f32,
    rows: usize,
    tokens: usize,
}

// SAFETY: groups write disjoint rows, see `write`.
unsafe impl Sync for Output {}
// SAFETY: as above.
unsafe impl Send for Output {}

impl Output {
    fn write(&self, token: usize, group: usize, products: &[f32; ROWS]) {
        let start = group * ROWS;
        let count = ROWS.min(self.rows.saturating_sub(start));
        if token >= self.tokens || count == 0 {
            return;
        }
        // SAFETY: the values are those of `tokens` x `rows` numbers, of which these lie within by
        // the check above; no other group has these rows.
        unsafe {
            std::ptr::copy_nonoverlapping(products.as_ptr(), self.values.add(token * self.rows + start), count);
        }
    }
}
