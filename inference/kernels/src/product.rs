//! Input times weights.

use rayon::prelude::*;

use crate::activations::Activations;
use crate::level::Level;
use crate::packed::{Group, PackedMatrix, ROWS};
use crate::portable;
#[cfg(target_arch = "x86_64")]
use crate::{avx2, avx512};

/// `input` times the transposed `weights`: `[tokens, rows]`, on all of the processor's cores.
/// Zeros where the input's columns are not the weights'.
pub fn multiply(weights: &PackedMatrix, input: &Activations) -> Vec<f32> {
    static LEVEL: std::sync::OnceLock<Level> = std::sync::OnceLock::new();
    multiply_with(*LEVEL.get_or_init(Level::detect), weights, input)
}

/// [`multiply`] with chosen instructions, or with the portable ones where the processor lacks them.
pub fn multiply_at(level: Level, weights: &PackedMatrix, input: &Activations) -> Vec<f32> {
    multiply_with(if Level::available().contains(&level) { level } else { Level::Portable }, weights, input)
}

/// The product with instructions that the processor has.
fn multiply_with(level: Level, weights: &PackedMatrix, input: &Activations) -> Vec<f32> {
    let rows = weights.rows;
    let mut output = vec![0.0; input.tokens * rows];
    if input.columns != weights.columns || rows == 0 {
        return output;
    }
    let target = Output { values: output.as_mut_ptr(), rows, tokens: input.tokens };
    // Enough groups a task that handing it over costs nothing beside it.
    let group_bytes = weights.size() / weights.groups().max(1) * input.tokens.max(1);
    let least = (TASK_BYTES / group_bytes.max(1)).clamp(1, weights.groups());
    (0..weights.groups()).into_par_iter().with_min_len(least).for_each(|group| {
        let view = weights.group(group);
        let mut token = 0;
        while token < input.tokens {
            token += multiply_some(level, view, input, token, |of_token, products| {
                target.write(of_token, group, products);
            });
        }
    });
    output
}

/// What a task reads at least.
const TASK_BYTES: usize = 64 * 1024;

/// Multiplies a group with some tokens from `first` on, and says with how many.
fn multiply_some(
    level: Level,
    group: Group<'_>,
    input: &Activations,
    first: usize,
    mut write: impl FnMut(usize, &[f32; ROWS]),
) -> usize {
    /// As many tokens as a product's registers hold.
    macro_rules! tile {
        ($instructions:ident, $($tokens:literal),+) => {{
            $(if input.tokens - first >= $tokens {
                let tokens = std::array::from_fn(|index| input.token(first + index));
                // SAFETY: the level was found to be available, and the group's and the tokens'
                // slices have the lengths of their layout.
                let products = unsafe { $instructions::multiply::<$tokens>(group, &tokens) };
                for (index, products) in products.iter().enumerate() {
                    write(first + index, products);
                }
                return $tokens;
            })+
        }};
    }
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Vnni => tile!(avx512, 8, 4, 2, 1),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => tile!(avx2, 2, 1),
        _ => write(first, &portable::multiply(group, input.token(first))),
    }
    1
}

/// The result, which every task writes its own rows of.
struct Output {
    values: *mut f32,
    rows: usize,
    tokens: usize,
}

// SAFETY: groups write disjoint rows, see `write`.
unsafe impl Sync for Output {}

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
