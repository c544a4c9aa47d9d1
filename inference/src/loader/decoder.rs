//! Checkpoints of decoders as [`Decoder`]s.

mod config;
mod experts;
mod families;
mod keys;
mod rotary;

use std::ops::Range;
use std::path::Path;

use burn::module::Param;
use burn::nn::RmsNorm;
use burn::tensor::Device;
use serde_json::Value;

use self::config::{Architecture, parse_config};
use super::checkpoint::Checkpoint;
use super::lora::Adapter;
use super::packing::Packing;
use super::{ModelFiles, file_error};
use crate::models::decoder::{Attention, Decoder, DecoderConfig, DecoderLayer, FeedForward, GatedLinear, OutputNorms};
use crate::models::projection::Projection;
use crate::{Cancellation, ModelError};

/// A decoder that is not loaded yet: what it is, and where its weights are.
pub(crate) struct DecoderSource {
    architecture: Architecture,
    checkpoint: Checkpoint,
}

impl DecoderSource {
    /// The decoder in a model's files, for a device.
    pub(crate) fn open(files: &ModelFiles, device: &Device) -> Result<Self, ModelError> {
        let (path, config) = files.config()?;
        let architecture = parse_config(&path, &config)?;
        Ok(Self { architecture, checkpoint: Checkpoint::of(files, device)? })
    }

    pub(crate) fn config(&self) -> &DecoderConfig {
        &self.architecture.config
    }

    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Reads the weights, adapters merged into them, layer by layer until it is cancelled.
    pub(crate) fn load(
        self,
        adapters: &[Adapter],
        packing: Packing<'_>,
        cancellation: &Cancellation,
    ) -> Result<Decoder, ModelError> {
        build(&self.architecture, &self.checkpoint.adapted(adapters)?, packing, cancellation)
    }
}

/// Loads a decoder that is part of the program; `name` is for its errors.
pub(crate) fn load_embedded(
    name: &str,
    config: &str,
    weights: &'static [u8],
    device: &Device,
) -> Result<Decoder, ModelError> {
    let path = Path::new(name);
    let config: Value = serde_json::from_str(config).map_err(|error| file_error(path, error))?;
    let checkpoint = Checkpoint::embedded(name, weights, device)?;
    build(&parse_config(path, &config)?, &checkpoint, Packing::Tensors, &Cancellation::new())
}

/// Loads the decoder in a folder, adapters merged into it.
pub(crate) fn load(
    folder: &Path,
    adapters: &[Adapter],
    packing: Packing<'_>,
    device: &Device,
) -> Result<Decoder, ModelError> {
    DecoderSource::open(&ModelFiles::open(folder)?, device)?.load(adapters, packing, &Cancellation::new())
}

fn build(
    architecture: &Architecture,
    checkpoint: &Checkpoint,
    packing: Packing<'_>,
    cancellation: &Cancellation,
) -> Result<Decoder, ModelError> {
    let config = &architecture.config;
    let (prefix, head) = names(checkpoint);
    let weights = Weights { checkpoint, architecture, packing, prefix: prefix.to_owned() };
    let (hidden, vocabulary) = (config.hidden_size, config.vocab_size);
    let layers = (0..config.num_hidden_layers).map(|index| {
        if cancellation.is_cancelled() {
            return Err(ModelError::Cancelled);
        }
        let prefix = format!("{prefix}layers.{index}.");
        Weights { checkpoint, architecture, packing, prefix }.layer(index)
    });
    // In the order in which they are needed: so they are packed.
    Ok(Decoder {
        embed_tokens: checkpoint.table(packing, &weights.name("embed_tokens"), vocabulary, hidden)?,
        layers: layers.collect::<Result<_, _>>()?,
        norm: weights.norm("norm", hidden)?,
        lm_head: (!config.tie_word_embeddings)
            .then(|| checkpoint.head(packing, head, hidden, vocabulary))
            .transpose()?,
        config: config.clone(),
    })
}

/// What the names of the decoder's tensors begin with, and its head's name. Checkpoints of the bare
/// network have no prefix; in models that also see, the decoder is a part.
fn names(checkpoint: &Checkpoint) -> (&'static str, &'static str) {
    let usual = ("model.", "lm_head");
    let known = [
        usual,
        ("", "lm_head"),
        ("language_model.model.", "language_model.lm_head"),
        ("model.language_model.", "lm_head"),
    ];
    let held = |(prefix, _): &(&str, &str)| checkpoint.contains(&format!("{prefix}embed_tokens.weight"));
    known.into_iter().find(held).unwrap_or(usual)
}

/// The weights of a part of the decoder.
struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    architecture: &'a Architecture,
    packing: Packing<'a>,
    /// What the names of the part's tensors begin with.
    prefix: String,
}

impl Weights<'_> {
    fn layer(&self, index: usize) -> Result<DecoderLayer, ModelError> {
        self.check_all_is_read()?;
        let config = self.config();
        let norm = |part: &str| self.norm(part, config.hidden_size);
        let output_norms = || -> Result<_, ModelError> {
            Ok(OutputNorms {
                pre_feedforward_layernorm: norm("pre_feedforward_layernorm")?,
                post_feedforward_layernorm: norm("post_feedforward_layernorm")?,
            })
        };
        Ok(DecoderLayer {
            input_layernorm: norm("input_layernorm")?,
            self_attn: self.attention()?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            output_norms: config.output_norms.then(output_norms).transpose()?,
            mlp: match config.layer_experts(index) {
                None => FeedForward::Dense(self.gated()?),
                Some(experts) => FeedForward::Sparse(self.mixture(experts)?),
            },
        })
    }

    /// Refuses a layer with weights of a feature that the configuration doesn't have: without them it
    /// would compute something else than what it was trained to.
    fn check_all_is_read(&self) -> Result<(), ModelError> {
        let config = self.config();
        let telling = [
            ("self_attn.q_norm.weight", config.qk_norm),
            ("self_attn.q_proj.bias", config.attention_bias),
            ("self_attn.qkv_proj.bias", false),
            ("self_attn.o_proj.bias", config.attention_output_bias),
            ("self_attn.sinks", false),
            ("pre_feedforward_layernorm.weight", config.output_norms),
            ("post_feedforward_layernorm.weight", config.output_norms),
            ("mlp.down_proj.bias", config.mlp_bias),
            ("mlp.shared_expert.down_proj.weight", false),
            ("mlp.shared_experts.down_proj.weight", false),
            ("shared_mlp.output_linear.weight", false),
        ];
        let unread = telling.iter().find(|(part, read)| !read && self.checkpoint.contains(&self.name(part)));
        unread.map_or(Ok(()), |(part, _)| {
            Err(ModelError::Unsupported(format!(
                "the weights hold {}, of a feature that config.json's model_type does not have here; \
                 the model would answer wrongly without it",
                self.name(part)
            )))
        })
    }

    fn attention(&self) -> Result<Attention, ModelError> {
        let config = self.config();
        let hidden = config.hidden_size;
        let query_size = config.num_attention_heads * config.head_dim;
        let key_value_size = config.num_key_value_heads * config.head_dim;
        let head_norm = |part: &str| config.qk_norm.then(|| self.norm(part, config.head_dim)).transpose();
        let fused = "self_attn.qkv_proj";
        let (q_proj, k_proj, v_proj) = if self.holds(fused) {
            let total = query_size + 2 * key_value_size;
            let rows = |start, size| self.rows(fused, total, start..start + size, config.attention_bias);
            (
                rows(0, query_size)?,
                rows(query_size, key_value_size)?,
                rows(query_size + key_value_size, key_value_size)?,
            )
        } else {
            let linear = |part: &str, size| self.linear(part, hidden, size, config.attention_bias);
            (
                linear("self_attn.q_proj", query_size)?,
                linear("self_attn.k_proj", key_value_size)?,
                linear("self_attn.v_proj", key_value_size)?,
            )
        };
        Ok(Attention {
            q_proj,
            k_proj,
            v_proj,
            o_proj: self.linear("self_attn.o_proj", query_size, hidden, config.attention_output_bias)?,
            q_norm: head_norm("self_attn.q_norm")?,
            k_norm: head_norm("self_attn.k_norm")?,
        })
    }

    fn gated(&self) -> Result<GatedLinear, ModelError> {
        let config = self.config();
        let (hidden, wide, bias) = (config.hidden_size, config.intermediate_size, config.mlp_bias);
        let fused = "mlp.gate_up_proj";
        let (gate_proj, up_proj) = if self.holds(fused) {
            let rows = |rows| self.rows(fused, 2 * wide, rows, bias);
            (rows(0..wide)?, rows(wide..2 * wide)?)
        } else {
            (self.linear("mlp.gate_proj", hidden, wide, bias)?, self.linear("mlp.up_proj", hidden, wide, bias)?)
        };
        let down_proj = self.linear("mlp.down_proj", wide, hidden, bias)?;
        Ok(GatedLinear { gate_proj, up_proj, down_proj })
    }

    /// One of the projections of the hidden states that a checkpoint holds as one of `total` rows.
    fn rows(&self, part: &str, total: usize, rows: Range<usize>, bias: bool) -> Result<Projection, ModelError> {
        let name = format!("{}.weight", self.name(part));
        if bias {
            let reason = format!("{name} holds several projections, whose biases are not read");
            return Err(ModelError::Unsupported(reason));
        }
        self.checkpoint.projection_rows(self.packing, &name, &[total, self.config().hidden_size], rows)
    }

    fn holds(&self, part: &str) -> bool {
        self.checkpoint.contains(&format!("{}.weight", self.name(part)))
    }

    fn linear(&self, part: &str, input: usize, output: usize, bias: bool) -> Result<Projection, ModelError> {
        self.checkpoint.projection(self.packing, &self.name(part), input, output, bias)
    }

    fn norm(&self, part: &str, size: usize) -> Result<RmsNorm, ModelError> {
        let gamma = self.checkpoint.parameter(&format!("{}.weight", self.name(part)), [size])?;
        let gamma = if self.architecture.zero_centered_norms { Param::from_tensor(gamma.val() + 1.0) } else { gamma };
        Ok(RmsNorm { gamma, epsilon: self.config().rms_norm_eps })
    }

    fn name(&self, part: &str) -> String {
        format!("{}{part}", self.prefix)
    }

    fn config(&self) -> &DecoderConfig {
        &self.architecture.config
    }
}
