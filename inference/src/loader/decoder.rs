//! Llama, Mistral, Qwen2 and Qwen3 checkpoints as [`Decoder`]s.

use std::path::Path;

use burn::nn::RmsNorm;
use burn::tensor::Device;
use serde_json::Value;

use super::checkpoint::Checkpoint;
use super::lora::Adapter;
use super::{file_error, read_config};
use crate::ModelError;
use crate::models::decoder::{Attention, Decoder, DecoderConfig, DecoderLayer, FeedForward};
use crate::models::rotary::RopeScaling;

/// Loads the decoder in a folder, adapters merged into it.
pub(crate) fn load(
    folder: &Path,
    adapters: &[Adapter],
    device: &Device,
) -> Result<Decoder, ModelError> {
    let (path, config) = read_config(folder)?;
    let config = parse_config(&path, &config)?;
    let checkpoint = Checkpoint::open(folder, device)?.adapted(adapters)?;
    build(config, &checkpoint)
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
    build(
        parse_config(path, &config)?,
        &Checkpoint::embedded(name, weights, device)?,
    )
}

fn build(config: DecoderConfig, checkpoint: &Checkpoint) -> Result<Decoder, ModelError> {
    // Checkpoints of the bare network, without its language model head, have no prefix.
    let prefix = if checkpoint.contains("embed_tokens.weight") {
        ""
    } else {
        "model."
    };
    let hidden = config.hidden_size;
    let norm = |name: &str, size: usize| norm(checkpoint, name, size, config.rms_norm_eps);
    let layer = |index: usize| -> Result<DecoderLayer, ModelError> {
        let name = |part: &str| format!("{prefix}layers.{index}.{part}");
        let linear =
            |part: &str, input, output, bias| checkpoint.linear(&name(part), input, output, bias);
        let query_size = config.num_attention_heads * config.head_dim;
        let key_value_size = config.num_key_value_heads * config.head_dim;
        let head_norm = |part: &str| {
            config
                .qk_norm
                .then(|| norm(&name(part), config.head_dim))
                .transpose()
        };
        Ok(DecoderLayer {
            input_layernorm: norm(&name("input_layernorm"), hidden)?,
            self_attn: Attention {
                q_proj: linear(
                    "self_attn.q_proj",
                    hidden,
                    query_size,
                    config.attention_bias,
                )?,
                k_proj: linear(
                    "self_attn.k_proj",
                    hidden,
                    key_value_size,
                    config.attention_bias,
                )?,
                v_proj: linear(
                    "self_attn.v_proj",
                    hidden,
                    key_value_size,
                    config.attention_bias,
                )?,
                o_proj: linear(
                    "self_attn.o_proj",
                    query_size,
                    hidden,
                    config.attention_output_bias,
                )?,
                q_norm: head_norm("self_attn.q_norm")?,
                k_norm: head_norm("self_attn.k_norm")?,
            },
            post_attention_layernorm: norm(&name("post_attention_layernorm"), hidden)?,
            mlp: FeedForward {
                gate_proj: linear(
                    "mlp.gate_proj",
                    hidden,
                    config.intermediate_size,
                    config.mlp_bias,
                )?,
                up_proj: linear(
                    "mlp.up_proj",
                    hidden,
                    config.intermediate_size,
                    config.mlp_bias,
                )?,
                down_proj: linear(
                    "mlp.down_proj",
                    config.intermediate_size,
                    hidden,
                    config.mlp_bias,
                )?,
            },
        })
    };
    let lm_head = (!config.tie_word_embeddings)
        .then(|| checkpoint.linear("lm_head", hidden, config.vocab_size, false))
        .transpose()?;
    Ok(Decoder {
        embed_tokens: checkpoint.embedding(
            &format!("{prefix}embed_tokens"),
            config.vocab_size,
            hidden,
        )?,
        layers: (0..config.num_hidden_layers)
            .map(layer)
            .collect::<Result<_, _>>()?,
        norm: norm(&format!("{prefix}norm"), hidden)?,
        lm_head,
        config: config.clone(),
    })
}

fn norm(
    checkpoint: &Checkpoint,
    name: &str,
    size: usize,
    epsilon: f64,
) -> Result<RmsNorm, ModelError> {
    Ok(RmsNorm {
        gamma: checkpoint.parameter(&format!("{name}.weight"), [size])?,
        epsilon,
    })
}

/// Reads a `config.json`; `path` is for its errors.
pub(crate) fn parse_config(path: &Path, config: &Value) -> Result<DecoderConfig, ModelError> {
    let keys = Keys { path, config };
    let model_type = keys.text("model_type").unwrap_or("none");
    let (attention_bias, attention_output_bias, qk_norm) = match model_type {
        "llama" | "mistral" => (
            keys.flag("attention_bias"),
            keys.flag("attention_bias"),
            false,
        ),
        "qwen2" => (true, false, false),
        "qwen3" => (
            keys.flag("attention_bias"),
            keys.flag("attention_bias"),
            true,
        ),
        other => {
            return Err(ModelError::Unsupported(format!(
                "{}: model_type `{other}`; the architectures that run here are llama, mistral, qwen2 and qwen3. \
                 Others can be served by another program and attached with %model http://HOST:PORT/v1#NAME",
                path.display()
            )));
        }
    };
    if config
        .get("quantization_config")
        .is_some_and(|value| !value.is_null())
    {
        return Err(keys.unsupported("quantized weights; get the model's unquantized checkpoint"));
    }
    match keys.text("hidden_act") {
        None | Some("silu" | "swish") => {}
        Some(other) => return Err(keys.unsupported(format!("the activation `{other}`"))),
    }
    let hidden_size = keys.size("hidden_size")?;
    let heads = keys.size("num_attention_heads")?;
    let parsed = DecoderConfig {
        vocab_size: keys.size("vocab_size")?,
        hidden_size,
        intermediate_size: keys.size("intermediate_size")?,
        num_hidden_layers: keys.size("num_hidden_layers")?,
        num_attention_heads: heads,
        num_key_value_heads: keys.optional_size("num_key_value_heads")?.unwrap_or(heads),
        head_dim: keys
            .optional_size("head_dim")?
            .unwrap_or(hidden_size / heads),
        rms_norm_eps: keys.number("rms_norm_eps").unwrap_or(1e-6),
        rope_theta: keys
            .rope("rope_theta")
            .and_then(Value::as_f64)
            .unwrap_or(10000.0) as f32,
        rope_scaling: keys.rope_scaling()?,
        tie_word_embeddings: keys.flag("tie_word_embeddings"),
        qk_norm,
        attention_bias,
        attention_output_bias,
        mlp_bias: keys.flag("mlp_bias"),
        max_position_embeddings: keys.window()?,
    };
    check(&keys, parsed)
}

fn check(keys: &Keys, config: DecoderConfig) -> Result<DecoderConfig, ModelError> {
    if !config
        .num_attention_heads
        .is_multiple_of(config.num_key_value_heads)
    {
        return Err(keys.invalid("num_attention_heads is not a multiple of num_key_value_heads"));
    }
    if config.head_dim < 2 || !config.head_dim.is_multiple_of(2) {
        return Err(keys.invalid("head_dim must be even"));
    }
    if !(config.rms_norm_eps.is_finite() && config.rms_norm_eps >= 0.0) {
        return Err(keys.invalid("rms_norm_eps must be a small positive number"));
    }
    if !(config.rope_theta.is_finite() && config.rope_theta > 0.0) {
        return Err(keys.invalid("rope_theta must be positive"));
    }
    Ok(config)
}

/// Typed access to the keys of a `config.json`.
struct Keys<'a> {
    path: &'a Path,
    config: &'a Value,
}

/// No dimension of a model that fits a machine is larger; products of two stay far from overflow.
const LARGEST_SIZE: u64 = 1 << 28;

impl<'a> Keys<'a> {
    fn size(&self, key: &str) -> Result<usize, ModelError> {
        self.optional_size(key)?
            .ok_or_else(|| self.invalid(format!("the key `{key}` is missing")))
    }

    fn optional_size(&self, key: &str) -> Result<Option<usize>, ModelError> {
        match self.config.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64() {
                Some(size @ 1..=LARGEST_SIZE) => Ok(Some(size as usize)),
                _ => Err(self.invalid(format!("`{key}` is {value}, not a size"))),
            },
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.config.get(key).and_then(Value::as_f64)
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        self.config.get(key).and_then(Value::as_str)
    }

    fn flag(&self, key: &str) -> bool {
        self.config
            .get(key)
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }

    /// A rotary parameter: newer files group them, older ones spread them.
    fn rope(&self, key: &str) -> Option<&'a Value> {
        let group = |name: &str| self.config.get(name).and_then(|group| group.get(key));
        group("rope_parameters")
            .or_else(|| group("rope_scaling"))
            .or_else(|| self.config.get(key))
    }

    fn rope_scaling(&self) -> Result<Option<RopeScaling>, ModelError> {
        let name = self
            .rope("rope_type")
            .or_else(|| self.rope("type"))
            .and_then(Value::as_str);
        let parameter = |key: &str| match self.rope(key).and_then(Value::as_f64) {
            Some(value) if value.is_finite() && value > 0.0 => Ok(value as f32),
            _ => Err(self.invalid(format!(
                "the rotary parameter `{key}` is missing or not positive"
            ))),
        };
        match name {
            None | Some("default") => Ok(None),
            Some("linear") => Ok(Some(RopeScaling::Linear {
                factor: parameter("factor")?,
            })),
            Some("llama3") => Ok(Some(RopeScaling::Llama3 {
                factor: parameter("factor")?,
                low_frequency_factor: parameter("low_freq_factor")?,
                high_frequency_factor: parameter("high_freq_factor")?,
                original_positions: parameter("original_max_position_embeddings")?,
            })),
            Some(other) => Err(self.unsupported(format!("rotary scaling of type `{other}`"))),
        }
    }

    /// The positions attention can look back on: where attention slides, no more than the
    /// sliding window, within which it is the same as full attention.
    fn window(&self) -> Result<usize, ModelError> {
        let positions = self
            .optional_size("max_position_embeddings")?
            .unwrap_or(2048);
        let layers = self.config.get("layer_types").and_then(Value::as_array);
        let slides = match (layers, self.text("model_type")) {
            (Some(layers), _) => layers.iter().any(|layer| layer == "sliding_attention"),
            (None, Some("mistral")) => true,
            (None, _) => self.flag("use_sliding_window"),
        };
        let sliding = if slides {
            self.optional_size("sliding_window")?
        } else {
            None
        };
        Ok(sliding.map_or(positions, |window| window.min(positions)))
    }

    fn invalid(&self, reason: impl ToString) -> ModelError {
        file_error(self.path, reason)
    }

    fn unsupported(&self, what: impl ToString) -> ModelError {
        ModelError::Unsupported(format!("{}: {}", self.path.display(), what.to_string()))
    }
}
