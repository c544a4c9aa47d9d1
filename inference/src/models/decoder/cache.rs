//! Keys and values of the positions read so far.

use burn::tensor::{Device, Tensor};

use super::DecoderConfig;

/// Keys and values of the positions read so far, for decoding one sequence.
///
/// The tensors are allocated once and written in place; when a sequence outgrows them they double.
/// Layers with a sliding window keep what left it, so that any beginning can be gone back to.
#[derive(Debug, Clone)]
pub struct KvCache {
    pub(super) layers: Vec<LayerCache>,
    pub(super) length: usize,
    pub(super) expected_length: usize,
    capacity: usize,
}

/// One layer's keys and values, `[1, num_key_value_heads, capacity, head_dim]` each.
#[derive(Debug, Clone)]
pub(super) struct LayerCache {
    keys: Tensor<4>,
    values: Tensor<4>,
}

impl KvCache {
    /// An empty cache with room for `capacity` positions.
    pub fn new(config: &DecoderConfig, capacity: usize, device: &Device) -> Self {
        let capacity = capacity.max(1);
        let empty = || Tensor::zeros([1, config.num_key_value_heads, capacity, config.head_dim], device);
        let layers = (0..config.num_hidden_layers).map(|_| LayerCache { keys: empty(), values: empty() }).collect();
        Self { layers, length: 0, expected_length: 0, capacity }
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Forgets all but the first `length` positions; what follows them is overwritten.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Says how long the sequence that is read in pieces will be: frequencies that depend on the
    /// length are those of the whole from the first piece on.
    pub fn expect(&mut self, length: usize) {
        self.expected_length = length;
    }

    /// Makes room for `needed` positions in all.
    pub fn reserve(&mut self, needed: usize) {
        if needed <= self.capacity {
            return;
        }
        self.capacity = needed;
        for layer in &mut self.layers {
            for tensor in [&mut layer.keys, &mut layer.values] {
                let [batch, heads, held, head_dim] = tensor.dims();
                let room = Tensor::zeros([batch, heads, self.capacity, head_dim], &tensor.device());
                tensor.inplace(|old| room.slice_assign([0..batch, 0..heads, 0..held, 0..head_dim], old));
            }
        }
    }

    /// Makes room for `length` more, by doubling.
    pub(super) fn grow(&mut self, length: usize) {
        let needed = self.length + length;
        if needed > self.capacity {
            self.reserve(needed.max(2 * self.capacity));
        }
    }
}

impl LayerCache {
    /// Writes keys and values at `past`, and returns all there are by now, but for the first `unseen`.
    pub(super) fn extend(
        &mut self,
        past: usize,
        unseen: usize,
        keys: Tensor<4>,
        values: Tensor<4>,
    ) -> (Tensor<4>, Tensor<4>) {
        let extend = |held: &mut Tensor<4>, new: Tensor<4>| {
            let [batch, heads, length, head_dim] = new.dims();
            held.inplace(|held| held.slice_assign([0..batch, 0..heads, past..past + length, 0..head_dim], new));
            held.clone().narrow(2, unseen, past + length - unseen)
        };
        (extend(&mut self.keys, keys), extend(&mut self.values, values))
    }
}
