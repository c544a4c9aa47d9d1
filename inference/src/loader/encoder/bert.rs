//! Checkpoints of BERT and its kin.

use std::path::Path;

use burn::tensor::Device;
use serde::Deserialize;
use serde_json::Value;

use super::{LoadedEncoder, activation, check_heads, check_positive, check_sizes, layer_norm, unsupported};
use crate::ModelError;
use crate::loader::checkpoint::Checkpoint;
use crate::loader::file_error;
use crate::models::encoder::Encoder;
use crate::models::encoder::bert::{BertEncoder, BertLayer, DISTANCE_BUCKETS};

/// What tells a family's checkpoints from BERT's.
pub(super) struct Family {
    /// What tensors are called by within a model with a head.
    prefix: &'static str,
    /// The path of the layers, and in a layer the paths of its eight modules, in [`BertLayer`]'s order.
    layers: &'static str,
    parts: [&'static str; 8],
    token_types: bool,
    positions: Positions,
    relative_attention: bool,
}

/// How a family numbers positions.
#[derive(Clone, Copy)]
enum Positions {
    FromZero,
    /// From behind the id of the padding token, which config.json says.
    AfterPadding,
    /// From behind an id that the family's code fixes.
    After(u32),
}

const BERT_PARTS: [&str; 8] = [
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
];
const MPNET_PARTS: [&str; 8] = [
    "attention.attn.q",
    "attention.attn.k",
    "attention.attn.v",
    "attention.attn.o",
    "attention.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
];
const DISTILBERT_PARTS: [&str; 8] = [
    "attention.q_lin",
    "attention.k_lin",
    "attention.v_lin",
    "attention.out_lin",
    "sa_layer_norm",
    "ffn.lin1",
    "ffn.lin2",
    "output_layer_norm",
];

impl Family {
    /// The family of a `model_type`.
    pub(super) fn named(model_type: &str) -> Option<Self> {
        let bert = Self {
            prefix: "bert.",
            layers: "encoder.layer",
            parts: BERT_PARTS,
            token_types: true,
            positions: Positions::FromZero,
            relative_attention: false,
        };
        match model_type {
            "bert" => Some(bert),
            "roberta" | "xlm-roberta" | "camembert" => {
                Some(Self { prefix: "roberta.", positions: Positions::AfterPadding, ..bert })
            }
            "mpnet" => Some(Self {
                prefix: "mpnet.",
                parts: MPNET_PARTS,
                token_types: false,
                positions: Positions::After(1),
                relative_attention: true,
                ..bert
            }),
            "distilbert" => Some(Self {
                prefix: "distilbert.",
                layers: "transformer.layer",
                parts: DISTILBERT_PARTS,
                token_types: false,
                ..bert
            }),
            _ => None,
        }
    }
}

/// The keys of `config.json` that shape the network; DistilBERT has names of its own.
#[derive(Debug, Deserialize)]
struct BertConfig {
    vocab_size: usize,
    #[serde(alias = "dim")]
    hidden_size: usize,
    #[serde(alias = "n_layers")]
    num_hidden_layers: usize,
    #[serde(alias = "n_heads")]
    num_attention_heads: usize,
    #[serde(alias = "hidden_dim")]
    intermediate_size: usize,
    max_position_embeddings: usize,
    #[serde(default = "default_types")]
    type_vocab_size: usize,
    #[serde(default = "default_epsilon")]
    layer_norm_eps: f64,
    #[serde(default = "default_activation", alias = "activation")]
    hidden_act: String,
    #[serde(default)]
    position_embedding_type: Option<String>,
    #[serde(default)]
    pad_token_id: Option<u32>,
}

fn default_types() -> usize {
    2
}

fn default_epsilon() -> f64 {
    1e-12
}

fn default_activation() -> String {
    "gelu".to_string()
}

pub(super) fn load(
    path: &Path,
    config: Value,
    family: Family,
    open: impl FnOnce() -> Result<Checkpoint, ModelError>,
    device: &Device,
) -> Result<LoadedEncoder, ModelError> {
    let config: BertConfig =
        serde_json::from_value(config).map_err(|error| file_error(path, format!("not the JSON expected: {error}")))?;
    check_sizes(
        path,
        &[
            ("vocab_size", config.vocab_size),
            ("hidden_size", config.hidden_size),
            ("num_hidden_layers", config.num_hidden_layers),
            ("num_attention_heads", config.num_attention_heads),
            ("intermediate_size", config.intermediate_size),
            ("max_position_embeddings", config.max_position_embeddings),
            ("type_vocab_size", config.type_vocab_size),
        ],
    )?;
    check_heads(path, config.hidden_size, config.num_attention_heads)?;
    check_positive(path, "layer_norm_eps", config.layer_norm_eps)?;
    match config.position_embedding_type.as_deref() {
        None | Some("absolute") => {}
        Some(other) => return Err(unsupported(path, &format!("positions of type `{other}`"))),
    }
    let padding_token = match family.positions {
        Positions::FromZero => None,
        Positions::AfterPadding => Some(config.pad_token_id.unwrap_or(1)),
        Positions::After(token) => Some(token),
    };
    let unused = padding_token.map_or(0, |padding| padding as usize + 1);
    let window = config.max_position_embeddings.saturating_sub(unused);
    if window == 0 {
        return Err(file_error(path, "max_position_embeddings leaves no position behind pad_token_id"));
    }
    let encoder = build(path, &config, &family, padding_token, &open()?, device)?;
    Ok(LoadedEncoder {
        encoder: Encoder::Bert(encoder),
        vocabulary: config.vocab_size,
        hidden_size: config.hidden_size,
        window,
        token_types: if family.token_types { config.type_vocab_size } else { 0 },
    })
}

fn build(
    path: &Path,
    config: &BertConfig,
    family: &Family,
    padding_token: Option<u32>,
    checkpoint: &Checkpoint,
    device: &Device,
) -> Result<BertEncoder, ModelError> {
    let prefixed = checkpoint.contains(&format!("{}embeddings.word_embeddings.weight", family.prefix));
    let prefix = if prefixed { family.prefix } else { "" };
    let hidden = config.hidden_size;
    let norm = |name: String| layer_norm(checkpoint, &name, hidden, config.layer_norm_eps, true, device);
    let embedding = |part: &str, rows| checkpoint.embedding(&format!("{prefix}embeddings.{part}"), rows, hidden);
    let activation = activation(path, &config.hidden_act)?;
    let layer = |index: usize| -> Result<BertLayer, ModelError> {
        let name = |part: &str| format!("{prefix}{}.{index}.{part}", family.layers);
        let linear = |part: &str, input, output| checkpoint.linear(&name(part), input, output, true);
        let [query, key, value, attention_output, attention_norm, intermediate, output, output_norm] = family.parts;
        Ok(BertLayer {
            query: linear(query, hidden, hidden)?,
            key: linear(key, hidden, hidden)?,
            value: linear(value, hidden, hidden)?,
            attention_output: linear(attention_output, hidden, hidden)?,
            attention_norm: norm(name(attention_norm))?,
            intermediate: linear(intermediate, hidden, config.intermediate_size)?,
            output: linear(output, config.intermediate_size, hidden)?,
            output_norm: norm(name(output_norm))?,
            activation,
        })
    };
    let relative_attention_bias = family.relative_attention.then(|| {
        let name = format!("{prefix}encoder.relative_attention_bias");
        checkpoint.embedding(&name, DISTANCE_BUCKETS, config.num_attention_heads)
    });
    let token_type_embeddings = family.token_types.then(|| embedding("token_type_embeddings", config.type_vocab_size));
    Ok(BertEncoder {
        word_embeddings: embedding("word_embeddings", config.vocab_size)?,
        position_embeddings: embedding("position_embeddings", config.max_position_embeddings)?,
        token_type_embeddings: token_type_embeddings.transpose()?,
        embeddings_norm: norm(format!("{prefix}embeddings.LayerNorm"))?,
        relative_attention_bias: relative_attention_bias.transpose()?,
        layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_, _>>()?,
        heads: config.num_attention_heads,
        padding_token,
        epsilon: config.layer_norm_eps,
    })
}
