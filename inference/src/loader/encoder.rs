//! Checkpoints of BERT, RoBERTa, XLM-R, MPNet, DistilBERT and ModernBERT as [`Encoder`]s.

mod bert;
mod modern;

use std::path::Path;

use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::Device;
use codriver_kernels::ActivationFunction;
use serde_json::Value;

use super::checkpoint::Checkpoint;
use super::memory::{self, Demand};
use super::packing::Packing;
use super::{file_error, read_json, read_optional_json};
use crate::ModelError;
use crate::embedder::BATCH_TOKENS;
use crate::models::encoder::{Encoder, SCORES};

/// An encoder, and what its inputs must be like.
#[derive(Debug)]
pub(crate) struct LoadedEncoder {
    pub(crate) encoder: Encoder,
    /// Tokens are below.
    pub(crate) vocabulary: usize,
    pub(crate) hidden_size: usize,
    /// Tokens of the longest text that can be read.
    pub(crate) window: usize,
    /// How many parts of a text the encoder tells apart; 0 where it tells none.
    pub(crate) token_types: usize,
}

/// Loads the encoder in a folder.
pub(crate) fn load(folder: &Path, device: &Device) -> Result<LoadedEncoder, ModelError> {
    let path = folder.join("config.json");
    let config: Value = read_json(&path)?;
    let model_type = config["model_type"].as_str().unwrap_or("none").to_string();
    let open = || Checkpoint::open(folder, device);
    if model_type == "modernbert" {
        return modern::load(&path, config, open, device);
    }
    match bert::Family::named(&model_type) {
        Some(family) => bert::load(&path, config, family, open, device),
        None => Err(unsupported(
            &path,
            &format!(
                "model_type `{model_type}`; the encoders that run here are bert, roberta, xlm-roberta, camembert, \
                 mpnet, distilbert and modernbert"
            ),
        )),
    }
}

/// What the encoder in a folder takes to embed a batch; `None` where it is none.
pub(crate) fn demand(folder: &Path, device: &Device) -> Result<Option<Demand>, ModelError> {
    let path = folder.join("config.json");
    let config = read_optional_json(&path)?.unwrap_or_default();
    let model_type = config["model_type"].as_str().unwrap_or_default();
    if model_type != "modernbert" && bert::Family::named(model_type).is_none() {
        return Ok(None);
    }
    let size = |names: [&str; 2]| names.into_iter().find_map(|name| config[name].as_u64()).unwrap_or_default();
    let (hidden, wide) = (size(["hidden_size", "dim"]), size(["intermediate_size", "hidden_dim"]));
    let memory::Sizes { weights, largest, .. } = memory::sizes(&Checkpoint::open(folder, device)?, Packing::Tensors);
    // The parts of a layer, and its scores before and after softmax.
    let batch = (BATCH_TOKENS as u64).saturating_mul(hidden.saturating_mul(8).saturating_add(wide.saturating_mul(3)));
    let floats = batch.saturating_add(3 * SCORES as u64);
    Ok(Some(Demand {
        weights,
        fixed: floats.saturating_mul(4).saturating_add(largest),
        cache_per_token: 0,
        workspace_per_token: 0,
        window: size(["max_position_embeddings", ""]) as usize,
    }))
}

fn unsupported(path: &Path, what: &str) -> ModelError {
    ModelError::Unsupported(format!("{}: {what}", path.display()))
}

/// No dimension of a model that fits a machine is larger; products of two stay far from overflow.
const LARGEST_SIZE: usize = 1 << 28;

fn check_sizes(path: &Path, sizes: &[(&str, usize)]) -> Result<(), ModelError> {
    match sizes.iter().find(|(_, size)| !(1..=LARGEST_SIZE).contains(size)) {
        Some((name, size)) => Err(file_error(path, format!("`{name}` is {size}, not a size"))),
        None => Ok(()),
    }
}

fn check_heads(path: &Path, hidden_size: usize, heads: usize) -> Result<(), ModelError> {
    if hidden_size.is_multiple_of(heads) {
        return Ok(());
    }
    Err(file_error(path, "hidden_size is not a multiple of num_attention_heads"))
}

fn check_positive(path: &Path, name: &str, value: f64) -> Result<(), ModelError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(file_error(path, format!("{name} must be positive, and is {value}")))
}

pub(crate) fn activation(path: &Path, name: &str) -> Result<ActivationFunction, ModelError> {
    match name {
        "gelu" => Ok(ActivationFunction::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(ActivationFunction::GeluTanh),
        "relu" => Ok(ActivationFunction::Relu),
        "silu" | "swish" => Ok(ActivationFunction::Silu),
        other => Err(unsupported(path, &format!("the activation `{other}`"))),
    }
}

/// A layer normalization from `NAME.weight`, and `NAME.bias` where it has one.
pub(crate) fn layer_norm(
    checkpoint: &Checkpoint,
    name: &str,
    size: usize,
    epsilon: f64,
    bias: bool,
    device: &Device,
) -> Result<LayerNorm, ModelError> {
    let gamma = checkpoint.parameter(&format!("{name}.weight"), [size])?;
    let beta = bias.then(|| checkpoint.parameter(&format!("{name}.bias"), [size])).transpose()?;
    let mut norm = LayerNormConfig::new(size).with_epsilon(epsilon).init(device);
    norm.gamma = gamma;
    norm.beta = beta;
    Ok(norm)
}
