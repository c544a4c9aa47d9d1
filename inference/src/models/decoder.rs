//! Decoders of the Llama family and its relatives: RMSNorm, rotary positions, grouped-query
//! attention and gated feed-forward blocks, with what Mistral, Qwen, Gemma, Phi, SmolLM, Granite
//! and mixtures of experts add to them, all of it data in a [`DecoderConfig`].
//!
//! One module both trains (on a device with autodiff) and decodes (with a [`KvCache`]).
//! Fields are named as in Hugging Face checkpoints: `layers.0.self_attn.q_proj`, ...

mod attention;
mod cache;
mod config;
mod feed_forward;
mod initial;

use burn::module::Module;
use burn::nn::RmsNorm;
use burn::tensor::{Int, Tensor};

pub use attention::Attention;
pub use cache::KvCache;
pub use config::{Activation, DecoderConfig, ExpertsConfig, LayerConfig};
pub use feed_forward::{FeedForward, GatedLinear, MixtureOfExperts};

use self::attention::{View, Views};
use self::cache::LayerCache;
use super::projection::{Projection, Table};

/// A decoder; see the [module's page](self).
#[derive(Module, Debug)]
pub struct Decoder {
    pub embed_tokens: Table,
    pub layers: Vec<DecoderLayer>,
    pub norm: RmsNorm,
    /// `None` where the embeddings are tied.
    pub lm_head: Option<Projection>,
    #[module(skip)]
    pub config: DecoderConfig,
}

impl Decoder {
    /// The hidden states after the final norm, `[batch, positions, hidden_size]`.
    ///
    /// Attention is causal, so a batch is padded on the right and needs no mask. With a cache,
    /// `tokens` (a batch of one) continue what the cache holds, and are added to it.
    pub fn hidden(&self, tokens: Tensor<2, Int>, cache: Option<&mut KvCache>) -> Tensor<3> {
        let embedded = self.embed_tokens.forward(tokens);
        self.hidden_from(scaled(embedded, self.config.embedding_multiplier), cache)
    }

    /// [`Decoder::hidden`] of embeddings, `[batch, positions, hidden_size]`, that the caller looked
    /// up and scaled.
    pub fn hidden_from(&self, embedded: Tensor<3>, mut cache: Option<&mut KvCache>) -> Tensor<3> {
        let [_, length, _] = embedded.dims();
        let (past, expected) = cache.as_ref().map_or((0, 0), |cache| (cache.length, cache.expected_length));
        if let Some(cache) = cache.as_deref_mut() {
            cache.grow(length);
        }
        let mut hidden = embedded;
        let views = Views::new(&self.config, past, length, expected, &hidden.device());
        for (index, layer) in self.layers.iter().enumerate() {
            let slot = cache.as_deref_mut().and_then(|cache| cache.layers.get_mut(index));
            hidden = layer.forward(hidden, views.of(self.config.layer(index)), slot, &self.config);
        }
        if let Some(cache) = cache {
            cache.length = past + length;
        }
        self.norm.forward(hidden)
    }

    /// The scores of the next token at each position, `[batch, positions, vocab_size]`.
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        let logits = match &self.lm_head {
            Some(head) => head.forward(hidden),
            None => self.embed_tokens.scores(hidden),
        };
        let logits = scaled(logits, 1.0 / self.config.logit_divisor);
        match self.config.logit_soft_cap {
            Some(cap) => (logits / cap).tanh() * cap,
            None => logits,
        }
    }

    /// `logits(hidden(tokens))`: what training and teacher-forced scoring need.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.logits(self.hidden(tokens, None))
    }
}

#[derive(Module, Debug)]
pub struct DecoderLayer {
    pub input_layernorm: RmsNorm,
    pub self_attn: Attention,
    /// Of what goes into the feed-forward block; with [`OutputNorms`], of what comes out of attention.
    pub post_attention_layernorm: RmsNorm,
    pub output_norms: Option<OutputNorms>,
    pub mlp: FeedForward,
}

/// The norms around the feed-forward block, in layers that also normalize their blocks' outputs.
#[derive(Module, Debug)]
pub struct OutputNorms {
    pub pre_feedforward_layernorm: RmsNorm,
    pub post_feedforward_layernorm: RmsNorm,
}

impl DecoderLayer {
    fn forward(
        &self,
        hidden: Tensor<3>,
        view: View,
        cache: Option<&mut LayerCache>,
        config: &DecoderConfig,
    ) -> Tensor<3> {
        let residual = |block| scaled(block, config.residual_multiplier);
        let normed = self.input_layernorm.forward(hidden.clone());
        let attended = self.self_attn.forward(normed, view, cache, config);
        match &self.output_norms {
            None => {
                let hidden = hidden + residual(attended);
                let normed = self.post_attention_layernorm.forward(hidden.clone());
                hidden + residual(self.mlp.forward(normed, config.activation))
            }
            Some(norms) => {
                let hidden = hidden + residual(self.post_attention_layernorm.forward(attended));
                let normed = norms.pre_feedforward_layernorm.forward(hidden.clone());
                let output = self.mlp.forward(normed, config.activation);
                hidden + residual(norms.post_feedforward_layernorm.forward(output))
            }
        }
    }
}

/// A factor of one costs nothing.
fn scaled(tensor: Tensor<3>, factor: f64) -> Tensor<3> {
    if factor == 1.0 { tensor } else { tensor * factor }
}
