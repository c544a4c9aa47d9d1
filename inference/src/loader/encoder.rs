//! BERT checkpoints as [`Encoder`]s.

use std::path::Path;

use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::Device;
use serde::Deserialize;

use super::checkpoint::Checkpoint;
use super::{file_error, read_json};
use crate::ModelError;
use crate::models::encoder::{Activation, Encoder, EncoderLayer};

/// The keys of a BERT `config.json` that shape the network.
#[derive(Debug, Deserialize)]
pub(crate) struct EncoderConfig {
    #[serde(default)]
    model_type: String,
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    pub(crate) max_position_embeddings: usize,
    type_vocab_size: usize,
    #[serde(default = "default_epsilon")]
    layer_norm_eps: f64,
    #[serde(default = "default_activation")]
    hidden_act: String,
    #[serde(default = "default_positions")]
    position_embedding_type: String,
}

fn default_epsilon() -> f64 {
    1e-12
}

fn default_activation() -> String {
    "gelu".to_string()
}

fn default_positions() -> String {
    "absolute".to_string()
}

/// Loads the encoder in a folder.
pub(crate) fn load(folder: &Path, device: &Device) -> Result<(EncoderConfig, Encoder), ModelError> {
    let path = folder.join("config.json");
    let config: EncoderConfig = read_json(&path)?;
    let activation = check(&path, &config)?;
    let encoder = build(
        &config,
        activation,
        &Checkpoint::open(folder, device)?,
        device,
    )?;
    Ok((config, encoder))
}

fn check(path: &Path, config: &EncoderConfig) -> Result<Activation, ModelError> {
    let unsupported = |what: String| {
        Err(ModelError::Unsupported(format!(
            "{}: {what}",
            path.display()
        )))
    };
    if config.model_type != "bert" {
        return unsupported(format!(
            "model_type `{}`; embedding models must be of type bert",
            config.model_type
        ));
    }
    if config.position_embedding_type != "absolute" {
        return unsupported(format!(
            "positions of type `{}`",
            config.position_embedding_type
        ));
    }
    if config.num_attention_heads == 0
        || !config
            .hidden_size
            .is_multiple_of(config.num_attention_heads)
    {
        return Err(file_error(
            path,
            "hidden_size is not a multiple of num_attention_heads",
        ));
    }
    if !(config.layer_norm_eps.is_finite() && config.layer_norm_eps > 0.0) {
        return Err(file_error(
            path,
            "layer_norm_eps must be a small positive number",
        ));
    }
    match config.hidden_act.as_str() {
        "gelu" => Ok(Activation::Gelu),
        "relu" => Ok(Activation::Relu),
        other => unsupported(format!("the activation `{other}`")),
    }
}

fn build(
    config: &EncoderConfig,
    activation: Activation,
    checkpoint: &Checkpoint,
    device: &Device,
) -> Result<Encoder, ModelError> {
    let prefix = if checkpoint.contains("bert.embeddings.word_embeddings.weight") {
        "bert."
    } else {
        ""
    };
    let hidden = config.hidden_size;
    let norm = |name: String| norm(checkpoint, &name, hidden, config.layer_norm_eps, device);
    let embedding = |part: &str, rows| {
        checkpoint.embedding(&format!("{prefix}embeddings.{part}"), rows, hidden)
    };
    let layer = |index: usize| -> Result<EncoderLayer, ModelError> {
        let name = |part: &str| format!("{prefix}encoder.layer.{index}.{part}");
        let linear =
            |part: &str, input, output| checkpoint.linear(&name(part), input, output, true);
        Ok(EncoderLayer {
            query: linear("attention.self.query", hidden, hidden)?,
            key: linear("attention.self.key", hidden, hidden)?,
            value: linear("attention.self.value", hidden, hidden)?,
            attention_output: linear("attention.output.dense", hidden, hidden)?,
            attention_norm: norm(name("attention.output.LayerNorm"))?,
            intermediate: linear("intermediate.dense", hidden, config.intermediate_size)?,
            output: linear("output.dense", config.intermediate_size, hidden)?,
            output_norm: norm(name("output.LayerNorm"))?,
            heads: config.num_attention_heads,
            activation,
        })
    };
    Ok(Encoder {
        word_embeddings: embedding("word_embeddings", config.vocab_size)?,
        position_embeddings: embedding("position_embeddings", config.max_position_embeddings)?,
        token_type_embeddings: embedding("token_type_embeddings", config.type_vocab_size)?,
        embeddings_norm: norm(format!("{prefix}embeddings.LayerNorm"))?,
        layers: (0..config.num_hidden_layers)
            .map(layer)
            .collect::<Result<_, _>>()?,
    })
}

fn norm(
    checkpoint: &Checkpoint,
    name: &str,
    size: usize,
    epsilon: f64,
    device: &Device,
) -> Result<LayerNorm, ModelError> {
    let (gamma, beta) = (
        checkpoint.parameter(&format!("{name}.weight"), [size])?,
        checkpoint.parameter(&format!("{name}.bias"), [size])?,
    );
    let mut norm = LayerNormConfig::new(size)
        .with_epsilon(epsilon)
        .init(device);
    norm.gamma = gamma;
    norm.beta = Some(beta);
    Ok(norm)
}
