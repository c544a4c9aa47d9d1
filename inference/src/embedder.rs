//! Texts as vectors, by sentence embedding models of the MiniLM kind.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde_json::Value;
use tokenizers::Tokenizer;

use crate::ModelError;
use crate::device::{self, DeviceChoice, caught};
use crate::loader::{self, file_error, read_optional_json};
use crate::models::encoder::Encoder;

/// An encoder with its tokenizer and pooling.
pub struct TextEmbedder {
    name: String,
    dimensions: usize,
    tokenizer: Tokenizer,
    vocabulary: usize,
    pooling: Pooling,
    normalize: bool,
    device: Device,
    encoder: Mutex<Encoder>,
}

/// How the tokens' vectors become the text's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pooling {
    Mean,
    First,
    Maximum,
}

/// Texts computed at once, at most.
const BATCH: usize = 32;

impl TextEmbedder {
    /// Loads the model in a folder: `config.json`, `model.safetensors`, `tokenizer.json` and, as
    /// sentence-transformers writes them, `1_Pooling/config.json` and `modules.json`.
    pub fn open(folder: &Path, device: DeviceChoice) -> Result<Self, ModelError> {
        if !folder.is_dir() {
            return Err(file_error(
                folder,
                "no such folder; an embedding model is a folder with config.json in it",
            ));
        }
        let device = device::resolve(device)?;
        let (config, encoder) = loader::encoder::load(folder, &device)?;
        let pooling_config = read_optional_json(&folder.join("1_Pooling").join("config.json"))?;
        let modules = read_optional_json(&folder.join("modules.json"))?;
        let longest = read_optional_json(&folder.join("sentence_bert_config.json"))?
            .and_then(|settings| settings["max_seq_length"].as_u64())
            .map_or(config.max_position_embeddings, |longest| longest as usize)
            .clamp(1, config.max_position_embeddings);
        Ok(Self {
            name: loader::model_name(folder),
            dimensions: config.hidden_size,
            tokenizer: loader::tokenizer::open(folder, Some(longest))?,
            vocabulary: config.vocab_size,
            pooling: pooling(folder, pooling_config.as_ref())?,
            normalize: normalizes(folder, modules.as_ref())?,
            device,
            encoder: Mutex::new(encoder),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The length of the vectors.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// A vector for each text, in order. Text beyond the model's window is not read.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        let encode = |text: &&str| {
            let encoding = self.tokenizer.encode_fast(*text, true);
            encoding.map(|encoding| encoding.get_ids().to_vec())
        };
        let tokens = texts.iter().map(encode).collect::<Result<Vec<_>, _>>();
        let tokens = tokens.map_err(|error| ModelError::Tokenizer(error.to_string()))?;
        self.check(&tokens)?;
        // Texts of like length share a batch, so that little of it is padding.
        let mut order: Vec<usize> = (0..tokens.len()).collect();
        order.sort_by_key(|index| tokens[*index].len());
        let mut vectors = vec![Vec::new(); texts.len()];
        for batch in order.chunks(BATCH) {
            let rows: Vec<&[u32]> = batch
                .iter()
                .map(|index| tokens[*index].as_slice())
                .collect();
            let computed = self.embed_batch(&rows)?;
            for (index, vector) in batch.iter().zip(computed) {
                vectors[*index] = vector;
            }
        }
        Ok(vectors)
    }

    fn check(&self, tokens: &[Vec<u32>]) -> Result<(), ModelError> {
        if tokens.iter().any(Vec::is_empty) {
            return Err(ModelError::Tokenizer(
                "a text has no tokens, not even special ones".to_string(),
            ));
        }
        match tokens
            .iter()
            .flatten()
            .find(|token| **token as usize >= self.vocabulary)
        {
            Some(token) => Err(ModelError::Tokenizer(format!(
                "token {token} is not in the model's vocabulary of {}; tokenizer.json is not this model's",
                self.vocabulary
            ))),
            None => Ok(()),
        }
    }

    fn embed_batch(&self, rows: &[&[u32]]) -> Result<Vec<Vec<f32>>, ModelError> {
        let longest = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let shape = [rows.len(), longest];
        let padded = |row: &&[u32]| {
            row.iter()
                .map(|id| *id as i32)
                .chain(std::iter::repeat(0))
                .take(longest)
                .collect::<Vec<_>>()
        };
        let ids: Vec<i32> = rows.iter().flat_map(padded).collect();
        let real = |row: &&[u32]| {
            (0..longest)
                .map(|column| f32::from(column < row.len()))
                .collect::<Vec<_>>()
        };
        let mask: Vec<f32> = rows.iter().flat_map(real).collect();
        let encoder = self.encoder.lock().unwrap_or_else(PoisonError::into_inner);
        let computed = caught(|| {
            let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, shape), &self.device);
            let mask = Tensor::<2>::from_data(TensorData::new(mask, shape), &self.device);
            let hidden = encoder.forward(ids, mask.clone());
            let pooled = self.pool(hidden, mask);
            pooled.try_into_vec_as::<f32>()
        });
        drop(encoder);
        let failed = |reason: String| ModelError::Numeric(format!("the device failed: {reason}"));
        let values = computed
            .map_err(failed)?
            .map_err(|error| failed(error.to_string()))?;
        if values.iter().any(|value| !value.is_finite()) {
            let reason = format!(
                "{} computed a vector that is not finite; its weights may be corrupt",
                self.name
            );
            return Err(ModelError::Numeric(reason));
        }
        Ok(values
            .chunks(self.dimensions)
            .map(<[f32]>::to_vec)
            .collect())
    }

    fn pool(&self, hidden: Tensor<3>, mask: Tensor<2>) -> Tensor<2> {
        let mask = mask.unsqueeze_dim::<3>(2);
        let pooled = match self.pooling {
            Pooling::Mean => (hidden * mask.clone()).sum_dim(1) / mask.sum_dim(1),
            Pooling::First => hidden.narrow(1, 0, 1),
            Pooling::Maximum => (hidden * mask.clone() + (mask - 1.0) * f32::MAX).max_dim(1),
        };
        let pooled: Tensor<2> = pooled.squeeze_dim(1);
        if !self.normalize {
            return pooled;
        }
        let norm = pooled
            .clone()
            .square()
            .sum_dim(1)
            .sqrt()
            .clamp_min(SMALLEST_NORM);
        pooled / norm
    }
}

const SMALLEST_NORM: f32 = 1e-12;

/// Mean, where the folder does not say.
fn pooling(folder: &Path, config: Option<&Value>) -> Result<Pooling, ModelError> {
    let Some(config) = config else {
        return Ok(Pooling::Mean);
    };
    let modes = config.as_object().into_iter().flatten();
    let chosen = modes.filter_map(|(key, value)| match value {
        Value::Bool(true) => key.strip_prefix("pooling_mode_"),
        Value::String(mode) if key == "pooling_mode" => Some(mode.as_str()),
        _ => None,
    });
    match chosen.collect::<Vec<_>>().as_slice() {
        [] | ["mean_tokens" | "mean"] => Ok(Pooling::Mean),
        ["cls_token" | "cls"] => Ok(Pooling::First),
        ["max_tokens" | "max"] => Ok(Pooling::Maximum),
        other => Err(ModelError::Unsupported(format!(
            "{}: pooling by {}; mean, cls and max are read",
            folder.display(),
            other.join(" and ")
        ))),
    }
}

/// Whether the vectors get length 1: as `modules.json` says, and where there is none, yes.
fn normalizes(folder: &Path, modules: Option<&Value>) -> Result<bool, ModelError> {
    let Some(modules) = modules.and_then(Value::as_array) else {
        return Ok(true);
    };
    let kinds: Vec<&str> = modules
        .iter()
        .filter_map(|module| module["type"].as_str())
        .map(|kind| kind.rsplit('.').next().unwrap_or(kind))
        .collect();
    if let Some(other) = kinds
        .iter()
        .find(|kind| !["Transformer", "Pooling", "Normalize"].contains(kind))
    {
        let reason = format!(
            "{}: the module {other} of its modules.json",
            folder.display()
        );
        return Err(ModelError::Unsupported(reason));
    }
    Ok(kinds.contains(&"Normalize"))
}
