//! The starter's files: written by training, part of the program afterwards.

use std::path::Path;

use burn::tensor::Tensor;
use half::f16;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::json;

use super::vocabulary::Vocabulary;
use crate::ModelError;
use crate::models::decoder::{Decoder, DecoderConfig, FeedForward};
use crate::models::projection::Projection;

/// Writes `model.safetensors` (f16, Hugging Face names), `config.json` and `tokenizer.json`:
/// a checkpoint that any engine for Llama opens.
pub(super) fn save(
    decoder: &Decoder,
    embeddings: Tensor<2>,
    vocabulary: &Vocabulary,
    config: &DecoderConfig,
    folder: &Path,
) -> Result<(), ModelError> {
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    let mut add = |name: String, shape: Vec<usize>, values: Vec<f32>| {
        tensors.push((name, shape, values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()));
    };
    add("model.embed_tokens.weight".to_owned(), embeddings.dims().to_vec(), values(embeddings)?);
    for (index, layer) in decoder.layers.iter().enumerate() {
        let name = |part: &str| format!("model.layers.{index}.{part}.weight");
        let attention = &layer.self_attn;
        let FeedForward::Dense(mlp) = &layer.mlp else {
            return Err(ModelError::Unsupported("the starter has no experts".to_owned()));
        };
        let linears = [
            ("self_attn.q_proj", &attention.q_proj),
            ("self_attn.k_proj", &attention.k_proj),
            ("self_attn.v_proj", &attention.v_proj),
            ("self_attn.o_proj", &attention.o_proj),
            ("mlp.gate_proj", &mlp.gate_proj),
            ("mlp.up_proj", &mlp.up_proj),
            ("mlp.down_proj", &mlp.down_proj),
        ];
        for (part, linear) in linears {
            let weight = rows(linear)?;
            add(name(part), weight.dims().to_vec(), values(weight)?);
        }
        for (part, norm) in
            [("input_layernorm", &layer.input_layernorm), ("post_attention_layernorm", &layer.post_attention_layernorm)]
        {
            add(name(part), vec![config.hidden_size], values(norm.gamma.val())?);
        }
    }
    add("model.norm.weight".to_owned(), vec![config.hidden_size], values(decoder.norm.gamma.val())?);
    let broken =
        |name: &str, reason: String| ModelError::File { path: folder.join(name).display().to_string(), reason };
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            Ok((
                name.clone(),
                TensorView::new(Dtype::F16, shape.clone(), bytes)
                    .map_err(|error| broken("model.safetensors", error.to_string()))?,
            ))
        })
        .collect::<Result<Vec<_>, ModelError>>()?;
    let bytes = serialize(views, None).map_err(|error| broken("model.safetensors", error.to_string()))?;
    let config = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rotary.theta,
        "tie_word_embeddings": true,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_position_embeddings,
        "sayable_tokens": vocabulary.sayable,
    });
    write(folder, "config.json", format!("{config:#}\n").as_bytes())?;
    write(folder, "tokenizer.json", vocabulary.to_json()?.as_bytes())?;
    write(folder, "model.safetensors", &bytes)
}

/// A linear layer's weight as checkpoints hold it, `[output, input]`.
fn rows(projection: &Projection) -> Result<Tensor<2>, ModelError> {
    let linear =
        projection.dense().ok_or_else(|| ModelError::Unsupported("packed weights cannot be saved".to_owned()))?;
    Ok(linear.weight.val().transpose())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, ModelError> {
    tensor
        .inner()
        .into_data()
        .convert::<f32>()
        .try_into_vec()
        .map_err(|error| ModelError::Numeric(format!("{error:?}")))
}

/// Replaces a file whole: a run that is stopped leaves the old one.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), ModelError> {
    let failed = |error: std::io::Error| ModelError::File {
        path: folder.join(name).display().to_string(),
        reason: error.to_string(),
    };
    fs_err::create_dir_all(folder).map_err(failed)?;
    let partial = folder.join(format!("{name}.partial"));
    fs_err::write(&partial, bytes).map_err(failed)?;
    fs_err::rename(&partial, folder.join(name)).map_err(failed)
}
