//! Tensors by Hugging Face's names. Each tensor of the file becomes one of theirs, or, where experts
//! are stacked, one for each expert.

use std::collections::HashMap;

use codriver_formats::gguf::architecture::{Architecture, EXPERTS, GLOBAL};
use codriver_formats::gguf::{GgufFile, TensorInfo};

use super::format_error;
use crate::ModelError;
use crate::loader::file_error;

/// What one of Hugging Face's tensors is in the file.
pub(super) struct Piece {
    pub(super) tensor: String,
    pub(super) shape: Vec<usize>,
    /// The first element, where it is a part of the file's tensor.
    pub(super) start: usize,
    pub(super) change: Change,
}

/// What was changed on the way into the file, and is undone.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    None,
    /// One was added.
    MinusOne,
    /// Rows are in llama.cpp's order.
    Unpermute {
        heads: usize,
    },
}

/// What is no weight of the network but part of its configuration.
pub(super) const ROTARY_FACTORS: [&str; 3] =
    ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];

/// All of Hugging Face's tensors that the file holds.
pub(super) fn pieces(file: &GgufFile, architecture: Architecture) -> Result<HashMap<String, Piece>, ModelError> {
    let size = |key: &str| {
        let key = format!("{}.attention.{key}", architecture.name);
        file.metadata().get::<usize>(&key).map_err(format_error)
    };
    let heads = size("head_count")?.unwrap_or(1);
    let names = Names { architecture, heads, key_value_heads: size("head_count_kv")?.unwrap_or(heads) };
    let mut pieces = HashMap::with_capacity(file.tensors().len());
    for info in file.tensors() {
        if ROTARY_FACTORS.contains(&info.name.as_str()) {
            continue;
        }
        // A tensor that is left out would be an answer that is wrong.
        let found = names.pieces(info).ok_or_else(|| {
            let reason = format!("tensor {} is no part of a {} model known here", info.name, architecture.name);
            file_error(file.path(), reason)
        })?;
        pieces.extend(found);
    }
    Ok(pieces)
}

struct Names {
    architecture: Architecture,
    heads: usize,
    key_value_heads: usize,
}

impl Names {
    /// What a tensor of the file is; `None` where it is unknown.
    fn pieces(&self, info: &TensorInfo) -> Option<Vec<(String, Piece)>> {
        let (stem, kind) = info.name.rsplit_once('.')?;
        let Some(layer) = stem.strip_prefix("blk.") else {
            let (_, name) = GLOBAL.iter().find(|(known, _)| *known == stem)?;
            return Some(vec![self.whole(info, stem, format!("{name}.{kind}"))]);
        };
        let (layer, part) = layer.split_once('.')?;
        let layer: usize = layer.parse().ok()?;
        let prefix = format!("model.layers.{layer}");
        if let Some((_, name, _)) = EXPERTS.iter().find(|(stacked, ..)| *stacked == part) {
            return stacked(info, |expert| format!("{prefix}.mlp.experts.{expert}.{name}.{kind}"));
        }
        // Files from before experts were stacked: `ffn_gate.3`.
        if let Some((part, expert)) = part.split_once('.') {
            let (_, name, _) = EXPERTS.iter().find(|(stacked, ..)| stacked.strip_suffix("_exps") == Some(part))?;
            let expert: usize = expert.parse().ok()?;
            return Some(vec![self.whole(info, part, format!("{prefix}.mlp.experts.{expert}.{name}.{kind}"))]);
        }
        let name = self.architecture.layer_part(part)?;
        Some(vec![self.whole(info, part, format!("{prefix}.{name}.{kind}"))])
    }

    fn whole(&self, info: &TensorInfo, part: &str, name: String) -> (String, Piece) {
        let change = match part {
            "attn_q" if self.architecture.permuted => Change::Unpermute { heads: self.heads },
            "attn_k" if self.architecture.permuted => Change::Unpermute { heads: self.key_value_heads },
            norm if self.architecture.norms_with_one && norm.ends_with("_norm") => Change::MinusOne,
            _ => Change::None,
        };
        (name, Piece { tensor: info.name.clone(), shape: info.shape.clone(), start: 0, change })
    }
}

fn stacked(info: &TensorInfo, name: impl Fn(usize) -> String) -> Option<Vec<(String, Piece)>> {
    let (experts, shape) = info.shape.split_first()?;
    let size: usize = shape.iter().product();
    let piece = |expert: usize| {
        let shape = shape.to_vec();
        (name(expert), Piece { tensor: info.name.clone(), shape, start: expert * size, change: Change::None })
    };
    Some((0..*experts).map(piece).collect())
}
