//! Checkpoints of ModernBERT.

use std::path::Path;

use burn::tensor::Device;
use serde::Deserialize;
use serde_json::Value;

use super::{LoadedEncoder, activation, check_heads, check_positive, check_sizes, layer_norm, unsupported};
use crate::ModelError;
use crate::loader::checkpoint::Checkpoint;
use crate::loader::file_error;
use crate::models::encoder::Encoder;
use crate::models::encoder::modern::{ModernEncoder, ModernLayer, ModernSettings};

/// The keys of `config.json` that shape the network, with the defaults of transformers.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct ModernConfig {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    hidden_activation: String,
    max_position_embeddings: usize,
    norm_eps: f64,
    norm_bias: bool,
    attention_bias: bool,
    mlp_bias: bool,
    /// Tokens that local attention sees in all.
    local_attention: usize,
    /// Older files say which layers are local by this and the two bases below it.
    global_attn_every_n_layers: usize,
    global_rope_theta: f64,
    local_rope_theta: Option<f64>,
    layer_types: Option<Vec<String>>,
    rope_parameters: Value,
}

impl Default for ModernConfig {
    fn default() -> Self {
        Self {
            vocab_size: 50368,
            hidden_size: 768,
            intermediate_size: 1152,
            num_hidden_layers: 22,
            num_attention_heads: 12,
            hidden_activation: "gelu".to_string(),
            max_position_embeddings: 8192,
            norm_eps: 1e-5,
            norm_bias: false,
            attention_bias: false,
            mlp_bias: false,
            local_attention: 128,
            global_attn_every_n_layers: 3,
            global_rope_theta: 160_000.0,
            local_rope_theta: Some(10_000.0),
            layer_types: None,
            rope_parameters: Value::Null,
        }
    }
}

pub(super) fn load(
    path: &Path,
    config: Value,
    open: impl FnOnce() -> Result<Checkpoint, ModelError>,
    device: &Device,
) -> Result<LoadedEncoder, ModelError> {
    let config: ModernConfig =
        serde_json::from_value(config).map_err(|error| file_error(path, format!("not the JSON expected: {error}")))?;
    check_sizes(
        path,
        &[
            ("vocab_size", config.vocab_size),
            ("hidden_size", config.hidden_size),
            ("intermediate_size", config.intermediate_size),
            ("num_hidden_layers", config.num_hidden_layers),
            ("num_attention_heads", config.num_attention_heads),
            ("max_position_embeddings", config.max_position_embeddings),
            ("local_attention", config.local_attention),
            ("global_attn_every_n_layers", config.global_attn_every_n_layers),
        ],
    )?;
    check_heads(path, config.hidden_size, config.num_attention_heads)?;
    check_positive(path, "norm_eps", config.norm_eps)?;
    let settings = settings(path, &config)?;
    Ok(LoadedEncoder {
        encoder: Encoder::Modern(build(path, &config, settings, &open()?, device)?),
        vocabulary: config.vocab_size,
        hidden_size: config.hidden_size,
        window: config.max_position_embeddings,
        token_types: 0,
    })
}

fn settings(path: &Path, config: &ModernConfig) -> Result<ModernSettings, ModelError> {
    let head_dim = config.hidden_size / config.num_attention_heads;
    if !head_dim.is_multiple_of(2) {
        return Err(file_error(path, "hidden_size / num_attention_heads must be even"));
    }
    let theta = |layers: &str, older: f64| {
        let parameters = &config.rope_parameters[layers];
        match parameters["rope_type"].as_str() {
            None | Some("default") => {}
            Some(other) => return Err(unsupported(path, &format!("rotary scaling of type `{other}`"))),
        }
        let theta = parameters["rope_theta"].as_f64().unwrap_or(older);
        check_positive(path, "rope_theta", theta)?;
        Ok(theta as f32)
    };
    Ok(ModernSettings {
        heads: config.num_attention_heads,
        head_dim,
        reach: config.local_attention / 2,
        global_theta: theta("full_attention", config.global_rope_theta)?,
        local_theta: theta("sliding_attention", config.local_rope_theta.unwrap_or(config.global_rope_theta))?,
        activation: activation(path, &config.hidden_activation)?,
        epsilon: config.norm_eps,
    })
}

fn build(
    path: &Path,
    config: &ModernConfig,
    settings: ModernSettings,
    checkpoint: &Checkpoint,
    device: &Device,
) -> Result<ModernEncoder, ModelError> {
    let prefix = if checkpoint.contains("model.embeddings.tok_embeddings.weight") { "model." } else { "" };
    let (hidden, wide) = (config.hidden_size, config.intermediate_size);
    let norm = |name: &str| {
        layer_norm(checkpoint, &format!("{prefix}{name}"), hidden, config.norm_eps, config.norm_bias, device)
    };
    let layer = |index: usize| -> Result<ModernLayer, ModelError> {
        let linear = |part: &str, input, output, bias| {
            checkpoint.linear(&format!("{prefix}layers.{index}.{part}"), input, output, bias)
        };
        let norm = |part: &str| norm(&format!("layers.{index}.{part}"));
        Ok(ModernLayer {
            attention_norm: (index > 0).then(|| norm("attn_norm")).transpose()?,
            query_key_value: linear("attn.Wqkv", hidden, 3 * hidden, config.attention_bias)?,
            attention_output: linear("attn.Wo", hidden, hidden, config.attention_bias)?,
            feed_forward_norm: norm("mlp_norm")?,
            wide: linear("mlp.Wi", hidden, 2 * wide, config.mlp_bias)?,
            output: linear("mlp.Wo", wide, hidden, config.mlp_bias)?,
            local: is_local(path, config, index)?,
        })
    };
    Ok(ModernEncoder {
        embeddings: checkpoint.embedding(&format!("{prefix}embeddings.tok_embeddings"), config.vocab_size, hidden)?,
        embeddings_norm: norm("embeddings.norm")?,
        layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_, _>>()?,
        final_norm: norm("final_norm")?,
        settings,
    })
}

fn is_local(path: &Path, config: &ModernConfig, layer: usize) -> Result<bool, ModelError> {
    let Some(types) = &config.layer_types else {
        return Ok(!layer.is_multiple_of(config.global_attn_every_n_layers));
    };
    match types.get(layer).map(String::as_str) {
        Some("sliding_attention") => Ok(true),
        Some("full_attention") => Ok(false),
        Some(other) => Err(unsupported(path, &format!("layers of type `{other}`"))),
        None => Err(file_error(path, format!("layer_types says nothing of layer {layer}"))),
    }
}
