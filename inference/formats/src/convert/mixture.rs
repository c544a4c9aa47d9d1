//! Which type each tensor of a file is written as, chosen as llama.cpp's quantizer chooses where it
//! has no importance matrix (`src/llama-quant.cpp`): the same names mean the same files.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use super::Tensor;
use crate::gguf::{FromValue, GgufWriter, TensorType, Value};

/// What a file is called by what its weights mostly are: one type, or a mixture in which the tensors
/// on which more depends have more bits.
#[allow(non_camel_case_types, reason = "the names that people know files by")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    F32,
    F16,
    BF16,
    Q8_0,
    Q6_K,
    Q5_K_M,
    Q5_K_S,
    Q5_1,
    Q5_0,
    Q4_K_M,
    Q4_K_S,
    Q4_1,
    Q4_0,
    IQ4_NL,
    IQ4_XS,
    Q3_K_L,
    Q3_K_M,
    Q3_K_S,
    Q2_K,
}

use FileType as F;
use TensorType as T;

/// Each with its number in files (`llama_ftype`), its name, and what a tensor is of which nothing
/// else is known.
const FILE_TYPES: [(FileType, u32, &str, TensorType); 19] = [
    (F::F32, 0, "F32", T::F32),
    (F::F16, 1, "F16", T::F16),
    (F::BF16, 32, "BF16", T::BF16),
    (F::Q8_0, 7, "Q8_0", T::Q8_0),
    (F::Q6_K, 18, "Q6_K", T::Q6_K),
    (F::Q5_K_M, 17, "Q5_K_M", T::Q5_K),
    (F::Q5_K_S, 16, "Q5_K_S", T::Q5_K),
    (F::Q5_1, 9, "Q5_1", T::Q5_1),
    (F::Q5_0, 8, "Q5_0", T::Q5_0),
    (F::Q4_K_M, 15, "Q4_K_M", T::Q4_K),
    (F::Q4_K_S, 14, "Q4_K_S", T::Q4_K),
    (F::Q4_1, 3, "Q4_1", T::Q4_1),
    (F::Q4_0, 2, "Q4_0", T::Q4_0),
    (F::IQ4_NL, 25, "IQ4_NL", T::IQ4_NL),
    (F::IQ4_XS, 30, "IQ4_XS", T::IQ4_XS),
    (F::Q3_K_L, 13, "Q3_K_L", T::Q3_K),
    (F::Q3_K_M, 12, "Q3_K_M", T::Q3_K),
    (F::Q3_K_S, 11, "Q3_K_S", T::Q3_K),
    (F::Q2_K, 10, "Q2_K", T::Q2_K),
];

impl FileType {
    /// All that can be written.
    pub fn all() -> impl Iterator<Item = Self> {
        FILE_TYPES.iter().map(|(file_type, ..)| *file_type)
    }

    /// The name, as it is in names of files.
    pub fn name(self) -> &'static str {
        self.entry().2
    }

    /// `general.file_type` in files.
    pub fn number(self) -> u32 {
        self.entry().1
    }

    /// What most tensors are.
    pub fn tensor_type(self) -> TensorType {
        self.entry().3
    }

    fn entry(self) -> &'static (Self, u32, &'static str, TensorType) {
        // The table is in the enum's order (a test sees to it).
        &FILE_TYPES[self as usize]
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for FileType {
    type Err = String;

    /// By the name in either case; `q4_k` and its like mean the medium mixture, as they do to llama.cpp.
    fn from_str(text: &str) -> Result<Self, String> {
        let named = |name: &str| FileType::all().find(|known| known.name().eq_ignore_ascii_case(name));
        named(text).or_else(|| named(&format!("{text}_M"))).ok_or_else(|| {
            let names: Vec<&str> = FileType::all().map(FileType::name).collect();
            let known = text.parse::<TensorType>().is_ok();
            let why = if known { "is read but not written" } else { "is no type of weights" };
            format!("{text} {why}; those there are: {}", names.join(", "))
        })
    }
}

/// What the choice depends on beside a tensor's name and shape, from a file's metadata.
pub(super) struct Mixture {
    file_type: FileType,
    layers: usize,
    experts: usize,
    /// Query heads that share a key and value head.
    sharing: usize,
    /// Models of 70 billion parameters, whose values are a small part of them.
    is_huge: bool,
    /// No output layer of its own: the embeddings are that too.
    tied: bool,
    /// The tensors of attention's values, by their order among all.
    values: HashMap<String, usize>,
    /// The feed-forward outputs, likewise.
    downs: HashMap<String, usize>,
}

impl Mixture {
    /// For the tensors of a file whose metadata is set.
    pub(super) fn new<Source>(file_type: FileType, writer: &GgufWriter, tensors: &[Tensor<Source>]) -> Self {
        let architecture = writer.value("general.architecture").and_then(<&str>::from_value).unwrap_or_default();
        let size = |key: &str| writer.value(&format!("{architecture}.{key}")).and_then(first).unwrap_or_default();
        let (layers, heads) = (size("block_count"), size("attention.head_count"));
        let shared = size("attention.head_count_kv");
        let experts = size("expert_count");
        let is_huge =
            layers == 80 && (architecture == "qwen2" || architecture == "llama" && experts != 8 && heads != shared);
        let tied = !tensors.iter().any(|tensor| tensor.name == "output.weight");
        let order = |is_meant: &dyn Fn(&str) -> bool| {
            let names = tensors.iter().map(|tensor| tensor.name.as_str());
            let mut names: Vec<&str> = names.filter(|name| is_meant(name)).collect();
            names.sort_by_key(|name| (layer_of(name), *name));
            names.into_iter().enumerate().map(|(position, name)| (name.to_string(), position)).collect()
        };
        Self {
            file_type,
            layers,
            experts,
            sharing: heads.checked_div(shared).unwrap_or_default(),
            is_huge,
            tied,
            values: order(&|name| Part::of(name) == Part::Value),
            downs: order(&|name| Part::of(name) == Part::Down && name.ends_with(".weight")),
        }
    }

    /// What a tensor is written as; `None` for those that stay as they are.
    pub(super) fn type_of(&self, name: &str, shape: &[usize]) -> Option<TensorType> {
        if !is_quantized(name, shape) {
            return None;
        }
        let usual = self.file_type.tensor_type();
        if usual.block_size() == 1 {
            return Some(usual);
        }
        let row = shape.last().copied().unwrap_or_default();
        let fits = |tensor_type: TensorType| row.is_multiple_of(tensor_type.block_size());
        let wanted = self.wanted(name, fits(usual));
        let narrower = match wanted {
            T::Q2_K | T::Q3_K => T::Q4_0,
            T::IQ4_XS => T::IQ4_NL,
            T::Q4_K => T::Q5_0,
            T::Q5_K => T::Q5_1,
            T::Q6_K => T::Q8_0,
            other => other,
        };
        Some([wanted, narrower].into_iter().find(|tensor_type| fits(*tensor_type)).unwrap_or(T::F16))
    }

    /// What a tensor would be if its rows fit; `usual_fits` says whether they fit the usual type.
    fn wanted(&self, name: &str, usual_fits: bool) -> TensorType {
        let usual = self.file_type.tensor_type();
        match Part::of(name) {
            Part::Output => self.output(usual_fits),
            Part::Embeddings if self.tied => self.output(usual_fits),
            Part::Value => self.value(self.values.get(name).copied().unwrap_or_default()),
            Part::Key if self.experts == 8 => T::Q8_0,
            Part::Down => {
                let position = self.downs.get(name).copied().unwrap_or_default();
                self.down(if self.experts > 1 { layer_of(name).unwrap_or_default() } else { position })
            }
            Part::AttentionOutput => match self.file_type {
                F::Q2_K | F::Q3_K_S | F::Q3_K_M | F::Q4_K_S | F::Q4_K_M | F::IQ4_NL | F::IQ4_XS
                    if self.experts == 8 =>
                {
                    T::Q5_K
                }
                _ if self.experts == 8 => usual,
                F::Q2_K => T::Q3_K,
                F::Q3_K_M => T::Q4_K,
                F::Q3_K_L => T::Q5_K,
                _ => usual,
            },
            Part::Embeddings | Part::Key | Part::Other => usual,
        }
    }

    fn output(&self, usual_fits: bool) -> TensorType {
        if !usual_fits || self.file_type == F::Q8_0 { T::Q8_0 } else { T::Q6_K }
    }

    /// Attention's values, the `position`th of all.
    fn value(&self, position: usize) -> TensorType {
        let usual = self.file_type.tensor_type();
        let much_shared = self.sharing >= 4;
        let chosen = match self.file_type {
            F::Q2_K if much_shared => T::Q4_K,
            F::Q2_K => T::Q3_K,
            F::Q3_K_M if position < 2 => T::Q5_K,
            F::Q3_K_M => T::Q4_K,
            F::Q3_K_L => T::Q5_K,
            F::IQ4_NL | F::IQ4_XS if much_shared => T::Q5_K,
            F::Q4_K_M | F::Q5_K_M if needs_more(position, self.values.len()) => T::Q6_K,
            F::Q4_K_S if position < 4 => T::Q5_K,
            _ => usual,
        };
        match chosen {
            _ if self.experts == 8 => T::Q8_0,
            T::Q3_K | T::Q4_K if self.is_huge => T::Q5_K,
            chosen => chosen,
        }
    }

    /// The feed-forward output of a layer.
    fn down(&self, layer: usize) -> TensorType {
        let usual = self.file_type.tensor_type();
        match self.file_type {
            F::Q2_K => T::Q3_K,
            F::Q3_K_M if layer < self.layers / 16 => T::Q5_K,
            F::Q3_K_M => T::Q4_K,
            F::Q3_K_L => T::Q5_K,
            F::Q4_K_M | F::Q5_K_M if needs_more(layer, self.layers) => T::Q6_K,
            F::IQ4_NL | F::IQ4_XS | F::Q4_K_S if layer < self.layers / 8 => T::Q5_K,
            _ => usual,
        }
    }
}

/// What a tensor does, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Output,
    Embeddings,
    /// Attention's values, alone or fused with queries and keys.
    Value,
    Key,
    AttentionOutput,
    Down,
    Other,
}

impl Part {
    fn of(name: &str) -> Self {
        let has = |part: &str| name.contains(part);
        match name {
            "output.weight" => Self::Output,
            "token_embd.weight" | "per_layer_token_embd.weight" => Self::Embeddings,
            _ if has("attn_qkv.weight") || has("attn_kv_b.weight") || has("attn_v.weight") => Self::Value,
            _ if has("attn_k.weight") => Self::Key,
            _ if has("attn_output.weight") => Self::AttentionOutput,
            _ if has("ffn_down") => Self::Down,
            _ => Self::Other,
        }
    }
}

/// Whether a tensor is one of the matrices that take most of a file's room. Norms, biases and
/// routers are small, and much depends on them.
fn is_quantized(name: &str, shape: &[usize]) -> bool {
    // A matrix of one row counts as a vector, as it does to ggml.
    let dimensions = shape.len() - shape.iter().take_while(|size| **size == 1).count();
    dimensions > 1
        && name.ends_with("weight")
        && !name.contains("_norm.weight")
        && !name.contains("ffn_gate_inp.weight")
}

/// The first and last eighth of the layers, and every third between them.
fn needs_more(layer: usize, layers: usize) -> bool {
    layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2
}

/// 3 for `blk.3.attn_v.weight`.
fn layer_of(name: &str) -> Option<usize> {
    name.strip_prefix("blk.")?.split_once('.')?.0.parse().ok()
}

/// A number, or the first layer's where layers have their own.
fn first(value: &Value) -> Option<usize> {
    match value {
        Value::Array(_) => usize::try_from(*Vec::<i64>::from_value(value)?.first()?).ok(),
        value => usize::from_value(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_types() {
        for (position, file_type) in FileType::all().enumerate() {
            assert_eq!(file_type as usize, position);
            assert_eq!(file_type.name().to_lowercase().parse(), Ok(file_type));
            assert!(crate::quant::is_written(file_type.tensor_type()));
        }
        assert_eq!("q4_k".parse(), Ok(FileType::Q4_K_M));
    }
}
