//! What makes one decoder differ from another, as data.

use super::super::rotary::{Regime, RotaryConfig};

/// The shape of a decoder and the features it has. The defaults are Llama's, without any feature
/// of its relatives; [`DecoderConfig::init`](Self::init) makes the module.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    /// Divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Even, where all of it is rotated; need not be `hidden_size / num_attention_heads`.
    pub head_dim: usize,
    pub activation: Activation,
    pub rms_norm_eps: f64,
    pub rotary: RotaryConfig,
    /// The positions of layers with a sliding window, where they differ (Gemma 3). Not of a
    /// scaling that depends on the length.
    pub sliding_rotary: Option<RotaryConfig>,
    /// How layers differ from each other, from the first on; layers past the end are like
    /// [`LayerConfig::default`].
    pub layers: Vec<LayerConfig>,
    /// What the layers have that are [sparse](LayerConfig::sparse).
    pub experts: Option<ExpertsConfig>,
    pub tie_word_embeddings: bool,
    /// Normalizes queries and keys by head (Qwen3, Gemma 3).
    pub qk_norm: bool,
    /// Normalizes what attention and feed-forward blocks put out, too (Gemma 2).
    pub output_norms: bool,
    /// Biases on the query, key and value projections (Qwen2).
    pub attention_bias: bool,
    /// A bias on the attention's output projection too (Llama with `attention_bias`).
    pub attention_output_bias: bool,
    pub mlp_bias: bool,
    /// What attention scores are multiplied by; `None`: the inverse root of `head_dim`.
    pub attention_scale: Option<f64>,
    /// Attention scores are bent to stay below this, by a hyperbolic tangent (Gemma 2).
    pub attention_soft_cap: Option<f64>,
    /// The same for the scores of the next token.
    pub logit_soft_cap: Option<f64>,
    /// What embeddings are multiplied by (Gemma, Granite).
    pub embedding_multiplier: f64,
    /// What blocks' outputs are multiplied by before they are added (Granite).
    pub residual_multiplier: f64,
    /// What the scores of the next token are divided by (Granite).
    pub logit_divisor: f64,
    /// Positions a sequence can have.
    pub max_position_embeddings: usize,
}

/// What is particular to a layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LayerConfig {
    /// How many positions attention sees, the own one among them; `None`: all before it.
    pub sliding_window: Option<usize>,
    /// Whether queries and keys are left without positions (SmolLM3's "NoPE" layers).
    pub unrotated: bool,
    /// Whether the feed-forward block is a mixture of experts.
    pub sparse: bool,
}

/// A mixture of experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpertsConfig {
    pub num_experts: usize,
    /// At most `num_experts`.
    pub num_experts_per_tok: usize,
    /// Of each expert.
    pub intermediate_size: usize,
    /// Whether the shares of a token's experts are scaled to add up to one.
    pub norm_topk_prob: bool,
}

/// The function of the feed-forward blocks' gates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Activation {
    #[default]
    Silu,
    Gelu,
    /// GELU by its approximation with a hyperbolic tangent.
    GeluTanh,
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
            activation: Activation::Silu,
            rms_norm_eps: 1e-6,
            rotary: RotaryConfig::default(),
            sliding_rotary: None,
            layers: Vec::new(),
            experts: None,
            tie_word_embeddings: false,
            qk_norm: false,
            output_norms: false,
            attention_bias: false,
            attention_output_bias: false,
            mlp_bias: false,
            attention_scale: None,
            attention_soft_cap: None,
            logit_soft_cap: None,
            embedding_multiplier: 1.0,
            residual_multiplier: 1.0,
            logit_divisor: 1.0,
            max_position_embeddings: 2048,
        }
    }
}

impl DecoderConfig {
    pub fn layer(&self, index: usize) -> LayerConfig {
        self.layers.get(index).copied().unwrap_or_default()
    }

    /// The experts of a layer, where it has some.
    pub fn layer_experts(&self, index: usize) -> Option<ExpertsConfig> {
        self.experts.filter(|_| self.layer(index).sparse)
    }

    /// The regime of the positions of a sequence of `length`.
    pub fn regime(&self, length: usize) -> Regime {
        self.rotary.regime(length)
    }
}
