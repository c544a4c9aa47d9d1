//! A tile in shared memory.

use cubecl::prelude::*;

use super::{SIDE, Shape, UNITS, VECTORS};
use crate::kernels::reading::{CLASSES, Pair, added, whole};
use crate::kernels::weights::{Eight, Four, four};

/// What a cube holds of a run of eight chunks: of tokens and of rows the first halves of chunks, then
/// the second ones; of rows what weights are multiplied by, and what is added to them.
#[derive(CubeType)]
pub(super) struct Tile {
    pub(super) inputs: Shared<[Four]>,
    pub(super) weights: Shared<[Four]>,
    pub(super) scales: Shared<[f32]>,
    pub(super) offsets: Shared<[f32]>,
}

#[cube]
impl Tile {
    /// Adds a square's products of one chunk; by rows, then tokens.
    pub(super) fn multiply(&self, sums: &mut Array<f32>, across: u32, down: u32, class: u32, #[comptime] shape: Shape) {
        let mut lows = Array::<Four>::new(SIDE);
        let mut highs = Array::<Four>::new(SIDE);
        let mut wholes = Array::<f32>::new(SIDE);
        #[unroll]
        for token in 0..SIDE {
            let at = (across * comptime!((SIDE * VECTORS) as u32) + class) as usize + comptime!(token * VECTORS);
            lows[token] = self.inputs[at];
            highs[token] = self.inputs[at + comptime!(CLASSES as usize)];
            if comptime!(shape.encoding.has_offset()) {
                wholes[token] = whole(lows[token], highs[token]);
            }
        }
        #[unroll]
        for row in 0..SIDE {
            let of_tile = down * comptime!(SIDE as u32) + comptime!(row as u32);
            let at = (of_tile * comptime!(VECTORS as u32) + class) as usize;
            let detail = (of_tile * CLASSES + class) as usize;
            let mut weights = Eight {
                low: self.weights[at],
                high: self.weights[at + comptime!(CLASSES as usize)],
                scale: 1.0f32,
                offset: 0.0f32,
            };
            if comptime!(shape.encoding.is_scaled()) {
                weights.scale = self.scales[detail];
            }
            if comptime!(shape.encoding.has_offset()) {
                weights.offset = self.offsets[detail];
            }
            #[unroll]
            for token in 0..SIDE {
                let index = comptime!(row * SIDE + token);
                let of_token = Pair { low: lows[token], high: highs[token] };
                sums[index] = added(sums[index], &weights, &of_token, wholes[token], shape.encoding);
            }
        }
    }

    /// Adds what the classes have summed of a part to the totals, through the memory of the inputs.
    pub(super) fn fold(&mut self, sums: &mut Array<f32>, totals: &mut Array<Four>, #[comptime] shape: Shape) {
        let unit = UNIT_POS_X;
        let class = unit % CLASSES;
        // Tokens whose eight rows there is room for at once.
        let tokens = comptime!(shape.wide / 4);
        #[unroll]
        for round in 0..comptime!(SIDE / tokens) {
            #[unroll]
            for index in 0..tokens {
                let token = comptime!(round * tokens + index);
                let at = unit as usize + comptime!(2 * index * UNITS as usize);
                self.inputs[at] = four(
                    sums[token],
                    sums[comptime!(SIDE + token)],
                    sums[comptime!(2 * SIDE + token)],
                    sums[comptime!(3 * SIDE + token)],
                );
                self.inputs[at + comptime!(UNITS as usize)] = four(
                    sums[comptime!(4 * SIDE + token)],
                    sums[comptime!(5 * SIDE + token)],
                    sums[comptime!(6 * SIDE + token)],
                    sums[comptime!(7 * SIDE + token)],
                );
            }
            sync_cube();
            if class / comptime!(tokens as u32) == comptime!(round as u32) {
                let first = unit - class + 2 * (class % comptime!(tokens as u32)) * UNITS;
                totals[0] += self.halved(first);
                totals[1] += self.halved(first + UNITS);
            }
            sync_cube();
        }
        #[unroll]
        for index in 0..comptime!(SIDE * SIDE) {
            sums[index] = 0.0f32;
        }
    }

    /// The sum over eight classes, by halves.
    fn halved(&self, first: u32) -> Four {
        let at = first as usize;
        let even = (self.inputs[at] + self.inputs[at + 4]) + (self.inputs[at + 2] + self.inputs[at + 6]);
        let odd = (self.inputs[at + 1] + self.inputs[at + 5]) + (self.inputs[at + 3] + self.inputs[at + 7]);
        even + odd
    }
}
