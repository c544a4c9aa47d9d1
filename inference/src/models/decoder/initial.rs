//! Decoders with random weights, to be trained.

use burn::module::Initializer;
use burn::nn::{EmbeddingConfig, LinearConfig, RmsNorm, RmsNormConfig};
use burn::tensor::Device;

use super::super::projection::{Projection, Table};
use super::{Attention, Decoder, DecoderConfig, DecoderLayer, FeedForward, GatedLinear, MixtureOfExperts, OutputNorms};

const INITIAL_DEVIATION: f64 = 0.02;

impl DecoderConfig {
    /// A decoder with random weights: normal with deviation 0.02, the projections back into the
    /// residual stream scaled down by the depth. `Device::seed` fixes them.
    pub fn init(&self, device: &Device) -> Decoder {
        let embedding =
            EmbeddingConfig::new(self.vocab_size, self.hidden_size).with_initializer(normal(INITIAL_DEVIATION));
        Decoder {
            embed_tokens: Table::Dense(embedding.init(device)),
            layers: (0..self.num_hidden_layers).map(|index| self.init_layer(index, device)).collect(),
            norm: self.init_norm(self.hidden_size, device),
            lm_head: (!self.tie_word_embeddings)
                .then(|| linear(self.hidden_size, self.vocab_size, false, INITIAL_DEVIATION, device)),
            config: self.clone(),
        }
    }

    fn init_layer(&self, index: usize, device: &Device) -> DecoderLayer {
        let query_size = self.num_attention_heads * self.head_dim;
        let key_value_size = self.num_key_value_heads * self.head_dim;
        let projection = |output, bias| linear(self.hidden_size, output, bias, INITIAL_DEVIATION, device);
        let head_norm = || self.qk_norm.then(|| self.init_norm(self.head_dim, device));
        let layer_norm = || self.init_norm(self.hidden_size, device);
        DecoderLayer {
            input_layernorm: layer_norm(),
            self_attn: Attention {
                q_proj: projection(query_size, self.attention_bias),
                k_proj: projection(key_value_size, self.attention_bias),
                v_proj: projection(key_value_size, self.attention_bias),
                o_proj: self.init_residual(query_size, self.attention_output_bias, device),
                q_norm: head_norm(),
                k_norm: head_norm(),
            },
            post_attention_layernorm: layer_norm(),
            output_norms: self.output_norms.then(|| OutputNorms {
                pre_feedforward_layernorm: layer_norm(),
                post_feedforward_layernorm: layer_norm(),
            }),
            mlp: match self.layer_experts(index) {
                None => FeedForward::Dense(self.init_gated(self.intermediate_size, device)),
                Some(experts) => FeedForward::Sparse(MixtureOfExperts {
                    gate: projection(experts.num_experts, false),
                    experts: (0..experts.num_experts)
                        .map(|_| self.init_gated(experts.intermediate_size, device))
                        .collect(),
                    config: experts,
                }),
            },
        }
    }

    fn init_gated(&self, intermediate_size: usize, device: &Device) -> GatedLinear {
        let projection = || linear(self.hidden_size, intermediate_size, self.mlp_bias, INITIAL_DEVIATION, device);
        GatedLinear {
            gate_proj: projection(),
            up_proj: projection(),
            down_proj: self.init_residual(intermediate_size, self.mlp_bias, device),
        }
    }

    /// A projection back into the residual stream.
    fn init_residual(&self, input: usize, bias: bool, device: &Device) -> Projection {
        let deviation = INITIAL_DEVIATION / (2.0 * self.num_hidden_layers as f64).sqrt();
        linear(input, self.hidden_size, bias, deviation, device)
    }

    fn init_norm(&self, size: usize, device: &Device) -> RmsNorm {
        RmsNormConfig::new(size).with_epsilon(self.rms_norm_eps).init(device)
    }
}

fn normal(deviation: f64) -> Initializer {
    Initializer::Normal { mean: 0.0, std: deviation }
}

fn linear(input: usize, output: usize, bias: bool, deviation: f64, device: &Device) -> Projection {
    let mut linear = LinearConfig::new(input, output).with_bias(false).with_initializer(normal(deviation)).init(device);
    linear.bias = bias.then(|| Initializer::Zeros.init([output], device));
    Projection::Dense(linear)
}
