//! Grouped-query attention.

use burn::module::Module;
use burn::nn::RmsNorm;
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Device, Tensor};

use super::super::projection::Projection;
use super::super::rotary::{RotaryConfig, Rotation};
use super::cache::LayerCache;
use super::{DecoderConfig, LayerConfig};

#[derive(Module, Debug)]
pub struct Attention {
    pub q_proj: Projection,
    pub k_proj: Projection,
    pub v_proj: Projection,
    pub o_proj: Projection,
    pub q_norm: Option<RmsNorm>,
    pub k_norm: Option<RmsNorm>,
}

impl Attention {
    pub(super) fn forward(
        &self,
        hidden: Tensor<3>,
        view: View,
        cache: Option<&mut LayerCache>,
        config: &DecoderConfig,
    ) -> Tensor<3> {
        let [batch, length, _] = hidden.dims();
        let (heads, key_value_heads) = (config.num_attention_heads, config.num_key_value_heads);
        let head_dim = config.head_dim;
        let split = |projected: Tensor<3>, heads: usize, norm: Option<&RmsNorm>| {
            let split = projected.reshape([batch, length, heads, head_dim]);
            let normed = match norm {
                Some(norm) => norm.forward(split),
                None => split,
            };
            normed.swap_dims(1, 2)
        };
        let queries = split(self.q_proj.forward(hidden.clone()), heads, self.q_norm.as_ref());
        let keys = split(self.k_proj.forward(hidden.clone()), key_value_heads, self.k_norm.as_ref());
        let values = split(self.v_proj.forward(hidden), key_value_heads, None);

        let (queries, keys) = match view.rotation {
            Some(rotation) => (rotation.apply(queries), rotation.apply(keys)),
            None => (queries, keys),
        };
        let (keys, values) = match cache {
            Some(cache) => cache.extend(view.sight.past, view.sight.unseen, keys, values),
            None => (keys, values),
        };

        // The queries that share a key head are stacked as rows of one matrix: grouped heads
        // cost no copies of keys and values.
        let rows = heads / key_value_heads * length;
        let queries = queries.reshape([batch, key_value_heads, rows, head_dim]);
        let seen = keys.dims()[2];
        let scale = config.attention_scale.unwrap_or_else(|| (head_dim as f64).powf(-0.5));
        let scores = queries.matmul(keys.swap_dims(2, 3)) * scale;
        let scores = match config.attention_soft_cap {
            Some(cap) => (scores / cap).tanh() * cap,
            None => scores,
        };
        let scores = scores.reshape([batch, heads, length, seen]);
        let scores = match &view.sight.mask {
            Some(mask) => {
                let mask = mask.clone().expand([batch, heads, length, seen]);
                scores.mask_fill(mask, f32::NEG_INFINITY)
            }
            None => scores,
        };
        let weights = softmax(scores, 3).reshape([batch, key_value_heads, rows, seen]);
        let mixed = weights.matmul(values).reshape([batch, heads, length, head_dim]);
        self.o_proj.forward(mixed.swap_dims(1, 2).reshape([batch, length, heads * head_dim]))
    }
}

/// How a layer sees the positions that are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    rotation: Option<&'a Rotation>,
    sight: &'a Sight,
}

/// The views of a model's layers, each rotation and mask computed once.
pub(super) struct Views {
    rotation: Rotation,
    sliding_rotation: Option<Rotation>,
    /// Of layers that see all positions.
    full: Sight,
    /// Of the others, by their windows.
    sliding: Vec<(usize, Sight)>,
}

impl Views {
    /// The views of `length` positions after `past` ones, of a sequence that is expected to reach
    /// `expected_length`.
    pub(super) fn new(
        config: &DecoderConfig,
        past: usize,
        length: usize,
        expected_length: usize,
        device: &Device,
    ) -> Self {
        let total = past + length;
        let regime = config.regime(expected_length.max(total));
        let rotation = |rotary: &RotaryConfig| rotary.rotation(config.head_dim, regime, past..total, device);
        let mut sliding: Vec<(usize, Sight)> = Vec::new();
        // A window that holds all positions so far is none.
        for window in config.layers.iter().filter_map(|layer| layer.sliding_window).filter(|window| *window < total) {
            if sliding.iter().all(|(known, _)| *known != window) {
                sliding.push((window, Sight::sliding(past, length, window, device)));
            }
        }
        Self {
            rotation: rotation(&config.rotary),
            sliding_rotation: config.sliding_rotary.as_ref().map(rotation),
            full: Sight::full(past, length, device),
            sliding,
        }
    }

    /// The view of a layer of the model that these are for.
    pub(super) fn of(&self, layer: LayerConfig) -> View<'_> {
        let sliding_rotation = self.sliding_rotation.as_ref().filter(|_| layer.sliding_window.is_some());
        let sliding = self.sliding.iter().find(|(window, _)| Some(*window) == layer.sliding_window);
        View {
            rotation: (!layer.unrotated).then_some(sliding_rotation.unwrap_or(&self.rotation)),
            sight: sliding.map_or(&self.full, |(_, sight)| sight),
        }
    }
}

/// Which keys the queries see.
#[derive(Debug)]
struct Sight {
    /// Positions read before.
    past: usize,
    /// The first of those that no query sees: they are left out.
    unseen: usize,
    /// Which keys a query does not see, `[1, 1, queries, keys]`; `None` where each sees all.
    mask: Option<Tensor<4, Bool>>,
}

impl Sight {
    fn full(past: usize, length: usize, device: &Device) -> Self {
        // A single query sees every key: no mask.
        let mask = (length > 1).then(|| later([length, past + length], past, device).unsqueeze());
        Self { past, unseen: 0, mask }
    }

    fn sliding(past: usize, length: usize, window: usize, device: &Device) -> Self {
        let unseen = (past + 1).saturating_sub(window);
        let mask = (length > 1).then(|| {
            let shape = [length, past + length - unseen];
            let offset = (past + 1) as i64 - (unseen + window) as i64;
            let earlier = Tensor::<2, Bool>::triu_mask(shape, offset, device);
            later(shape, past - unseen, device).bool_or(earlier).unsqueeze()
        });
        Self { past, unseen, mask }
    }
}

/// The keys after each query, of which the first is at the key of index `own`.
fn later(shape: [usize; 2], own: usize, device: &Device) -> Tensor<2, Bool> {
    Tensor::<2, Bool>::tril_mask(shape, own as i64, device)
}
