//! The Llama/Qwen family of decoders: RMSNorm, rotary positions, grouped-query attention and
//! SwiGLU, with optional query/key norms, biases and tied embeddings.
//!
//! One module both trains (on a device with autodiff) and decodes (with a [`KvCache`]).
//! Fields are named as in Hugging Face checkpoints: `layers.0.self_attn.q_proj`, ...

use burn::module::{Initializer, Module};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::tensor::activation::{silu, softmax};
use burn::tensor::{Bool, Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use super::rotary::{RopeScaling, Rotation, frequencies};
use super::{project, project_weight};

/// The shape of a decoder. The defaults are Llama's; [`DecoderConfig::init`] makes the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DecoderConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    /// Divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Even; need not be `hidden_size / num_attention_heads`.
    pub head_dim: usize,
    pub rms_norm_eps: f64,
    pub rope_theta: f32,
    pub rope_scaling: Option<RopeScaling>,
    pub tie_word_embeddings: bool,
    /// Normalizes queries and keys by head (Qwen3).
    pub qk_norm: bool,
    /// Biases on the query, key and value projections (Qwen2).
    pub attention_bias: bool,
    /// A bias on the attention's output projection too (Llama with `attention_bias`).
    pub attention_output_bias: bool,
    pub mlp_bias: bool,
    pub max_position_embeddings: usize,
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self {
            vocab_size: 32000,
            hidden_size: 4096,
            intermediate_size: 11008,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: 32,
            head_dim: 128,
            rms_norm_eps: 1e-6,
            rope_theta: 10000.0,
            rope_scaling: None,
            tie_word_embeddings: false,
            qk_norm: false,
            attention_bias: false,
            attention_output_bias: false,
            mlp_bias: false,
            max_position_embeddings: 2048,
        }
    }
}

impl DecoderConfig {
    /// A decoder with random weights: normal with deviation 0.02, the projections back into the
    /// residual stream scaled down by the depth. `Device::seed` fixes them.
    pub fn init(&self, device: &Device) -> Decoder {
        let embedding = EmbeddingConfig::new(self.vocab_size, self.hidden_size)
            .with_initializer(normal(INITIAL_DEVIATION));
        Decoder {
            embed_tokens: embedding.init(device),
            layers: (0..self.num_hidden_layers)
                .map(|_| self.init_layer(device))
                .collect(),
            norm: self.init_norm(self.hidden_size, device),
            lm_head: (!self.tie_word_embeddings).then(|| {
                linear(
                    self.hidden_size,
                    self.vocab_size,
                    false,
                    INITIAL_DEVIATION,
                    device,
                )
            }),
            config: self.clone(),
        }
    }

    fn init_layer(&self, device: &Device) -> DecoderLayer {
        let query_size = self.num_attention_heads * self.head_dim;
        let key_value_size = self.num_key_value_heads * self.head_dim;
        let projection =
            |input, output, bias| linear(input, output, bias, INITIAL_DEVIATION, device);
        let residual_deviation = INITIAL_DEVIATION / (2.0 * self.num_hidden_layers as f64).sqrt();
        let residual =
            |input, bias| linear(input, self.hidden_size, bias, residual_deviation, device);
        let head_norm = || self.qk_norm.then(|| self.init_norm(self.head_dim, device));
        DecoderLayer {
            input_layernorm: self.init_norm(self.hidden_size, device),
            self_attn: Attention {
                q_proj: projection(self.hidden_size, query_size, self.attention_bias),
                k_proj: projection(self.hidden_size, key_value_size, self.attention_bias),
                v_proj: projection(self.hidden_size, key_value_size, self.attention_bias),
                o_proj: residual(query_size, self.attention_output_bias),
                q_norm: head_norm(),
                k_norm: head_norm(),
            },
            post_attention_layernorm: self.init_norm(self.hidden_size, device),
            mlp: FeedForward {
                gate_proj: projection(self.hidden_size, self.intermediate_size, self.mlp_bias),
                up_proj: projection(self.hidden_size, self.intermediate_size, self.mlp_bias),
                down_proj: residual(self.intermediate_size, self.mlp_bias),
            },
        }
    }

    fn init_norm(&self, size: usize, device: &Device) -> RmsNorm {
        RmsNormConfig::new(size)
            .with_epsilon(self.rms_norm_eps)
            .init(device)
    }
}

const INITIAL_DEVIATION: f64 = 0.02;

fn normal(deviation: f64) -> Initializer {
    Initializer::Normal {
        mean: 0.0,
        std: deviation,
    }
}

fn linear(input: usize, output: usize, bias: bool, deviation: f64, device: &Device) -> Linear {
    let mut linear = LinearConfig::new(input, output)
        .with_bias(false)
        .with_initializer(normal(deviation))
        .init(device);
    linear.bias = bias.then(|| Initializer::Zeros.init([output], device));
    linear
}

/// A decoder; see the [module's page](self).
#[derive(Module, Debug)]
pub struct Decoder {
    pub embed_tokens: Embedding,
    pub layers: Vec<DecoderLayer>,
    pub norm: RmsNorm,
    /// `None` where the embeddings are tied.
    pub lm_head: Option<Linear>,
    #[module(skip)]
    pub config: DecoderConfig,
}

impl Decoder {
    /// The hidden states after the final norm, `[batch, positions, hidden_size]`.
    ///
    /// Attention is causal, so a batch is padded on the right and needs no mask. With a cache,
    /// `tokens` (a batch of one) continue what the cache holds, and are added to it.
    pub fn hidden(&self, tokens: Tensor<2, Int>, cache: Option<&mut KvCache>) -> Tensor<3> {
        self.hidden_from(self.embed_tokens.forward(tokens), cache)
    }

    /// [`Decoder::hidden`] of embeddings, `[batch, positions, hidden_size]`, that the caller looked up.
    pub fn hidden_from(&self, embedded: Tensor<3>, mut cache: Option<&mut KvCache>) -> Tensor<3> {
        let [_, length, _] = embedded.dims();
        let past = cache.as_ref().map_or(0, |cache| cache.length);
        if let Some(cache) = cache.as_deref_mut() {
            if past + length > cache.capacity {
                cache.reserve((past + length).max(2 * cache.capacity));
            }
        }
        let mut hidden = embedded;
        let device = hidden.device();
        let frequencies = frequencies(
            self.config.head_dim,
            self.config.rope_theta,
            self.config.rope_scaling,
        );
        let rotation = Rotation::new(&frequencies, past, length, &device);
        // A single query sees every position: no mask.
        let mask = (length > 1).then(|| {
            Tensor::<2, Bool>::tril_mask([length, past + length], past as i64, &device).unsqueeze()
        });
        for (index, layer) in self.layers.iter().enumerate() {
            let slot = cache
                .as_deref_mut()
                .map(|cache| (past, &mut cache.layers[index]));
            hidden = layer.forward(hidden, &rotation, mask.as_ref(), slot, &self.config);
        }
        if let Some(cache) = cache {
            cache.length = past + length;
        }
        self.norm.forward(hidden)
    }

    /// The scores of the next token at each position, `[batch, positions, vocab_size]`.
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        match &self.lm_head {
            Some(head) => project(head, hidden),
            None => project_weight(self.embed_tokens.weight.val().transpose(), hidden),
        }
    }

    /// `logits(hidden(tokens))`: what training and teacher-forced scoring need.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.logits(self.hidden(tokens, None))
    }
}

/// Keys and values of the positions read so far, for decoding one sequence.
///
/// The tensors are allocated once and written in place; when a sequence outgrows them they double.
#[derive(Debug, Clone)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    length: usize,
    capacity: usize,
}

#[derive(Debug, Clone)]
struct LayerCache {
    keys: Tensor<4>,
    values: Tensor<4>,
}

impl KvCache {
    /// An empty cache with room for `capacity` positions.
    pub fn new(config: &DecoderConfig, capacity: usize, device: &Device) -> Self {
        let capacity = capacity.max(1);
        let empty = || {
            Tensor::zeros(
                [1, config.num_key_value_heads, capacity, config.head_dim],
                device,
            )
        };
        let layers = (0..config.num_hidden_layers)
            .map(|_| LayerCache {
                keys: empty(),
                values: empty(),
            })
            .collect();
        Self {
            layers,
            length: 0,
            capacity,
        }
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
                tensor.inplace(|old| {
                    room.slice_assign([0..batch, 0..heads, 0..held, 0..head_dim], old)
                });
            }
        }
    }
}

impl LayerCache {
    /// Writes keys and values at `past`, and returns all there are by now.
    fn extend(
        &mut self,
        past: usize,
        keys: Tensor<4>,
        values: Tensor<4>,
    ) -> (Tensor<4>, Tensor<4>) {
        let extend = |held: &mut Tensor<4>, new: Tensor<4>| {
            let [batch, heads, length, head_dim] = new.dims();
            held.inplace(|held| {
                held.slice_assign([0..batch, 0..heads, past..past + length, 0..head_dim], new)
            });
            held.clone().narrow(2, 0, past + length)
        };
        (
            extend(&mut self.keys, keys),
            extend(&mut self.values, values),
        )
    }
}

#[derive(Module, Debug)]
pub struct DecoderLayer {
    pub input_layernorm: RmsNorm,
    pub self_attn: Attention,
    pub post_attention_layernorm: RmsNorm,
    pub mlp: FeedForward,
}

impl DecoderLayer {
    fn forward(
        &self,
        hidden: Tensor<3>,
        rotation: &Rotation,
        mask: Option<&Tensor<4, Bool>>,
        cache: Option<(usize, &mut LayerCache)>,
        config: &DecoderConfig,
    ) -> Tensor<3> {
        let normed = self.input_layernorm.forward(hidden.clone());
        let hidden = hidden
            + self
                .self_attn
                .forward(normed, rotation, mask, cache, config);
        let normed = self.post_attention_layernorm.forward(hidden.clone());
        hidden + self.mlp.forward(normed)
    }
}

#[derive(Module, Debug)]
pub struct Attention {
    pub q_proj: Linear,
    pub k_proj: Linear,
    pub v_proj: Linear,
    pub o_proj: Linear,
    pub q_norm: Option<RmsNorm>,
    pub k_norm: Option<RmsNorm>,
}

impl Attention {
    fn forward(
        &self,
        hidden: Tensor<3>,
        rotation: &Rotation,
        mask: Option<&Tensor<4, Bool>>,
        cache: Option<(usize, &mut LayerCache)>,
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
        let queries = split(
            project(&self.q_proj, hidden.clone()),
            heads,
            self.q_norm.as_ref(),
        );
        let keys = split(
            project(&self.k_proj, hidden.clone()),
            key_value_heads,
            self.k_norm.as_ref(),
        );
        let values = split(project(&self.v_proj, hidden), key_value_heads, None);

        let queries = rotation.apply(queries);
        let keys = rotation.apply(keys);
        let (keys, values) = match cache {
            Some((past, cache)) => cache.extend(past, keys, values),
            None => (keys, values),
        };

        // The queries that share a key head are stacked as rows of one matrix: grouped heads
        // cost no copies of keys and values.
        let rows = heads / key_value_heads * length;
        let queries = queries.reshape([batch, key_value_heads, rows, head_dim]);
        let seen = keys.dims()[2];
        let scores = queries.matmul(keys.swap_dims(2, 3)) * (head_dim as f64).powf(-0.5);
        let scores = scores.reshape([batch, heads, length, seen]);
        let scores = match mask {
            Some(mask) => {
                let mask = mask.clone().expand([batch, heads, length, seen]);
                scores.mask_fill(mask, f32::NEG_INFINITY)
            }
            None => scores,
        };
        let weights = softmax(scores, 3).reshape([batch, key_value_heads, rows, seen]);
        let mixed = weights
            .matmul(values)
            .reshape([batch, heads, length, head_dim]);
        project(
            &self.o_proj,
            mixed
                .swap_dims(1, 2)
                .reshape([batch, length, heads * head_dim]),
        )
    }
}

#[derive(Module, Debug)]
pub struct FeedForward {
    pub gate_proj: Linear,
    pub up_proj: Linear,
    pub down_proj: Linear,
}

impl FeedForward {
    fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        let gate = silu(project(&self.gate_proj, hidden.clone()));
        project(&self.down_proj, gate * project(&self.up_proj, hidden))
    }
}
