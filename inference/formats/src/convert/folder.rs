//! The weights of a Hugging Face folder as the tensors of a GGUF file.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::{Tensor, config, tokenizer};
use crate::FormatError;
use crate::gguf::GgufWriter;
use crate::gguf::architecture::{Architecture, EXPERTS, GLOBAL};
use crate::safetensors::{self, SafetensorsFile};
use config::Config;

/// A folder with `config.json` and safetensors.
pub(super) struct Folder<'a> {
    path: &'a Path,
    config: Config,
    files: Vec<SafetensorsFile>,
    /// The file that holds each tensor.
    holder: HashMap<String, usize>,
}

/// Where a tensor's numbers come from.
pub(super) enum Source {
    /// One of the folder's tensors.
    Whole { name: String, change: Change },
    /// One for each expert.
    Stack(Vec<String>),
    /// The first or second half of each expert's rows, of a tensor that holds gate and up.
    Half { name: String, second: bool },
    /// What the configuration says in numbers and the file in a tensor.
    Computed(Vec<f32>),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    None,
    PlusOne,
    Permute { heads: usize },
}

impl<'a> Folder<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self, FormatError> {
        let config = Config::open(path)?;
        let mut files = Vec::new();
        let mut holder = HashMap::new();
        for file in safetensors::paths(path)? {
            let file = SafetensorsFile::open(&file)?;
            holder.extend(file.names().into_iter().map(|name| (name, files.len())));
            files.push(file);
        }
        Ok(Self { path, config, files, holder })
    }

    /// Sets all metadata.
    pub(super) fn describe(&self, writer: &mut GgufWriter) -> Result<(), FormatError> {
        self.config.describe(writer)?;
        tokenizer::describe(self.path, self.config.size("vocab_size")?, writer)
    }

    /// The tensors to write, in the order of llama.cpp's files.
    pub(super) fn tensors(&self) -> Result<Vec<Tensor<Source>>, FormatError> {
        let mut planned = BTreeMap::new();
        let mut stacks: BTreeMap<(usize, &str), BTreeMap<usize, String>> = BTreeMap::new();
        for name in self.holder.keys() {
            let Some(short) = self.short(name) else { continue };
            if let Some((layer, part, expert)) = single_expert(short) {
                stacks.entry((layer, part)).or_default().insert(expert, name.clone());
            } else {
                for (order, tensor) in self.plan(name, short)? {
                    planned.insert(order, tensor);
                }
            }
        }
        for ((layer, part), experts) in stacks {
            let names: Vec<String> = experts.into_values().collect();
            let expected = self.config.experts()?.unwrap_or_default();
            if names.len() != expected {
                let reason =
                    format!("layer {layer} has {} of {expected} experts; the download may be incomplete", names.len());
                return Err(FormatError::new(self.path, reason));
            }
            let shape = names.first().and_then(|name| self.shape(name)).unwrap_or_default();
            let shape = [&[expected], shape].concat();
            let name = format!("blk.{layer}.{part}.weight");
            planned.insert((layer + 1, name.clone()), Tensor::new(&name, &shape, Source::Stack(names)));
        }
        for (name, factors) in self.config.rotary_factors()? {
            let tensor = Tensor::new(name, &[factors.len()], Source::Computed(factors));
            planned.insert((0, name.to_string()), tensor);
        }
        Ok(planned.into_values().collect())
    }

    /// A tensor's name without what differs between publishers; `None` for those that belong to no
    /// language model, and for a copy of the embeddings.
    fn short<'n>(&self, name: &'n str) -> Option<&'n str> {
        let prefixes = ["model.language_model.", "language_model.model.", "language_model.", "model."];
        let foreign =
            ["vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."];
        let is_copy = name.ends_with("lm_head.weight") && self.config.flag("tie_word_embeddings");
        if foreign.iter().any(|prefix| name.starts_with(prefix)) || name.ends_with("rotary_emb.inv_freq") || is_copy {
            return None;
        }
        Some(prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name))
    }

    /// What one of the folder's tensors becomes, with its place in the file.
    fn plan(&self, name: &str, short: &str) -> Result<Vec<((usize, String), Tensor<Source>)>, FormatError> {
        let unknown = || {
            let reason = format!("tensor {name} is no part of a {} model known here", self.config.architecture.name);
            FormatError::new(self.path, reason)
        };
        let shape = self.shape(name).ok_or_else(unknown)?;
        let (stem, kind) = short.rsplit_once('.').ok_or_else(unknown)?;
        let Some((layer, part)) = layer_of(short) else {
            let global = GLOBAL.iter().find(|(_, known)| known.strip_prefix("model.").unwrap_or(known) == stem);
            let (part, _) = global.ok_or_else(unknown)?;
            let order = if *part == "token_embd" { 0 } else { usize::MAX };
            let name = self.whole(name, part, format!("{part}.{kind}"), shape)?;
            return Ok(vec![((order, name.name.clone()), name)]);
        };
        if let Some(stacked) = self.stacked(name, layer, part, shape) {
            return Ok(stacked);
        }
        let (part, kind) = part.rsplit_once('.').ok_or_else(unknown)?;
        let part = self.config.architecture.gguf_part(part).ok_or_else(unknown)?;
        let tensor = self.whole(name, part, format!("blk.{layer}.{part}.{kind}"), shape)?;
        Ok(vec![((layer + 1, tensor.name.clone()), tensor)])
    }

    fn whole(&self, name: &str, part: &str, new: String, shape: &[usize]) -> Result<Tensor<Source>, FormatError> {
        let architecture: Architecture = self.config.architecture;
        let change = match part {
            "attn_q" if architecture.permuted => Change::Permute { heads: self.config.heads()? },
            "attn_k" if architecture.permuted => Change::Permute { heads: self.config.key_value_heads()? },
            part if architecture.norms_with_one && part.ends_with("_norm") => Change::PlusOne,
            _ => Change::None,
        };
        Ok(Tensor::new(&new, shape, Source::Whole { name: name.to_string(), change }))
    }

    /// Experts that are stacked here too: `[experts, gate and up, hidden]` and `[experts, hidden, wide]`.
    fn stacked(
        &self,
        name: &str,
        layer: usize,
        part: &str,
        shape: &[usize],
    ) -> Option<Vec<((usize, String), Tensor<Source>)>> {
        let [experts, rows, width] = *shape else { return None };
        let tensor = |part: &str, rows: usize, source| {
            let new = format!("blk.{layer}.{part}.weight");
            ((layer + 1, new.clone()), Tensor::new(&new, &[experts, rows, width], source))
        };
        match part.strip_suffix(".weight").unwrap_or(part).rsplit_once('.')?.1 {
            "gate_up_proj" | "input_linear" => {
                let half = |second| Source::Half { name: name.to_string(), second };
                Some(vec![tensor("ffn_gate_exps", rows / 2, half(false)), tensor("ffn_up_exps", rows / 2, half(true))])
            }
            "down_proj" | "output_linear" => {
                let source = Source::Whole { name: name.to_string(), change: Change::None };
                Some(vec![tensor("ffn_down_exps", rows, source)])
            }
            _ => None,
        }
    }

    /// A tensor's numbers as they are in GGUF files.
    pub(super) fn values(&self, tensor: &Tensor<Source>) -> Result<Vec<f32>, FormatError> {
        match &tensor.source {
            Source::Computed(values) => Ok(values.clone()),
            Source::Whole { name, change: Change::None } => self.read(name),
            Source::Whole { name, change: Change::PlusOne } => {
                Ok(self.read(name)?.into_iter().map(|value| value + 1.0).collect())
            }
            Source::Whole { name, change: Change::Permute { heads } } => {
                let reason =
                    || FormatError::new(self.path, format!("tensor {name} does not divide into {heads} heads"));
                permuted(&self.read(name)?, *heads, &tensor.shape).ok_or_else(reason)
            }
            Source::Stack(names) => {
                let mut values = Vec::with_capacity(tensor.len());
                for name in names {
                    values.extend(self.read(name)?);
                }
                Ok(values)
            }
            Source::Half { name, second } => {
                let size: usize = tensor.shape.iter().skip(1).product();
                let values = self.read(name)?;
                let halves = values.chunks(size.max(1)).skip(usize::from(*second)).step_by(2);
                Ok(halves.flatten().copied().collect())
            }
        }
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, FormatError> {
        let file = self.holder.get(name).and_then(|position| self.files.get(*position));
        let missing = || FormatError::new(self.path, format!("tensor {name} is missing"));
        let file = file.ok_or_else(missing)?;
        let size = file.shape(name).ok_or_else(missing)?.iter().product();
        file.values(name, 0..size)
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.files.get(*self.holder.get(name)?)?.shape(name)
    }
}

/// `layers.3.mlp.down_proj.weight` as 3 and `mlp.down_proj.weight`.
fn layer_of(short: &str) -> Option<(usize, &str)> {
    let (layer, part) = short.strip_prefix("layers.")?.split_once('.')?;
    Some((layer.parse().ok()?, part))
}

/// The layer, the GGUF file's name of the stack, and the expert of an expert's own tensor.
fn single_expert(short: &str) -> Option<(usize, &'static str, usize)> {
    let (layer, part) = layer_of(short)?;
    let part = part.strip_prefix("mlp.experts.").or_else(|| part.strip_prefix("block_sparse_moe.experts."))?;
    let (expert, name) = part.strip_suffix(".weight")?.split_once('.')?;
    let (stack, ..) = EXPERTS.iter().find(|(_, qwen, mixtral)| [*qwen, *mixtral].contains(&name))?;
    Some((layer, stack, expert.parse().ok()?))
}

/// Rows of query and key heads in llama.cpp's order: row `half * size / 2 + i` becomes `2 i + half`.
fn permuted(values: &[f32], heads: usize, shape: &[usize]) -> Option<Vec<f32>> {
    let rows = *shape.first()?;
    let width = shape.iter().skip(1).product::<usize>();
    let size = rows.checked_div(heads).filter(|size| size * heads == rows && size.is_multiple_of(2) && *size > 0)?;
    let mut ordered = Vec::with_capacity(values.len());
    for head in values.chunks(size * width) {
        let (first, second) = head.split_at_checked(size / 2 * width)?;
        for (first, second) in first.chunks(width).zip(second.chunks(width)) {
            ordered.extend_from_slice(first);
            ordered.extend_from_slice(second);
        }
    }
    Some(ordered)
}
