//! How the vectors of a text's tokens become the text's, as sentence-transformers' module
//! `Pooling` does it: <https://sbert.net/docs/package_reference/sentence_transformer/models.html>.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;

use crate::ModelError;
use crate::loader::file_error;

/// Ways to pool, whose results are put one after the other, and whether a prompt takes part.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pooling {
    modes: Vec<Mode>,
    include_prompt: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The first token's vector.
    First,
    Maximum,
    Mean,
    /// The sum, divided by the square root of the length.
    MeanSqrtLength,
    /// The mean, in which the n-th token counts n times.
    WeightedMean,
    Last,
}

/// Older files have a flag for each mode, in this order; newer ones a list of the names.
const MODES: [(&str, &str, Mode); 6] = [
    ("pooling_mode_cls_token", "cls", Mode::First),
    ("pooling_mode_max_tokens", "max", Mode::Maximum),
    ("pooling_mode_mean_tokens", "mean", Mode::Mean),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", Mode::MeanSqrtLength),
    ("pooling_mode_weightedmean_tokens", "weightedmean", Mode::WeightedMean),
    ("pooling_mode_lasttoken", "lasttoken", Mode::Last),
];

impl Default for Pooling {
    fn default() -> Self {
        Self { modes: vec![Mode::Mean], include_prompt: true }
    }
}

impl Pooling {
    /// The first token's vector.
    pub(super) fn first() -> Self {
        Self { modes: vec![Mode::First], include_prompt: true }
    }

    /// Reads the module's `config.json`, for an encoder with vectors of `hidden_size`.
    pub(super) fn parse(path: &Path, config: &Value, hidden_size: usize) -> Result<Self, ModelError> {
        let size = config.get("embedding_dimension").or_else(|| config.get("word_embedding_dimension"));
        if let Some(size) = size.filter(|size| size.as_u64() != Some(hidden_size as u64)) {
            let reason = format!("pools vectors of {size} numbers, but the encoder's have {hidden_size}");
            return Err(file_error(path, reason));
        }
        let named = |name: &str| {
            let found = MODES.iter().find(|(_, known, _)| *known == name);
            found.map(|(_, _, mode)| *mode).ok_or_else(|| {
                let known: Vec<&str> = MODES.iter().map(|(_, name, _)| *name).collect();
                let reason = format!("{}: pooling by `{name}`; known are {}", path.display(), known.join(", "));
                ModelError::Unsupported(reason)
            })
        };
        let flag = |key: &str| config[key].as_bool().unwrap_or(false);
        let mut modes = match &config["pooling_mode"] {
            Value::String(name) => vec![named(name)?],
            Value::Array(names) => {
                names.iter().map(|name| named(name.as_str().unwrap_or_default())).collect::<Result<_, _>>()?
            }
            _ => MODES.iter().filter(|(key, _, _)| flag(key)).map(|(_, _, mode)| *mode).collect(),
        };
        let unknown = config.as_object().into_iter().flatten().find(|(key, value)| {
            let known = MODES.iter().any(|(flag, _, _)| flag == key);
            key.starts_with("pooling_mode_") && **value == Value::Bool(true) && !known
        });
        if let Some((key, _)) = unknown {
            return Err(ModelError::Unsupported(format!("{}: `{key}`", path.display())));
        }
        if modes.is_empty() {
            modes.push(Mode::Mean);
        }
        Ok(Self { modes, include_prompt: config["include_prompt"].as_bool().unwrap_or(true) })
    }

    /// The length of the pooled vectors.
    pub(super) fn size(&self, hidden_size: usize) -> usize {
        self.modes.len() * hidden_size
    }

    /// Pools `hidden`, `[texts, longest, hidden_size]`, to `[texts, size]`. `lengths` are the texts',
    /// in tokens, and `prompt` is how many of them are a prompt's.
    pub(super) fn pool(&self, hidden: &Tensor<3>, lengths: &[usize], prompt: usize) -> Tensor<2> {
        let prompt = if self.include_prompt { 0 } else { prompt };
        let device = hidden.device();
        let pooled = self.modes.iter().map(|mode| {
            let pooled = match mode {
                Mode::Maximum => {
                    let low = |position: usize, length: usize| {
                        if (prompt..length).contains(&position) { 0.0 } else { -f32::MAX }
                    };
                    let low = per_token(hidden, lengths, low, &device);
                    let real = low.clone().equal_elem(0.0).float();
                    (hidden.clone() * real + low).max_dim(1)
                }
                mode => {
                    let weights =
                        per_token(hidden, lengths, |position, length| mode.weight(position, prompt, length), &device);
                    weights.swap_dims(1, 2).matmul(hidden.clone())
                }
            };
            pooled.squeeze_dim::<2>(1)
        });
        Tensor::cat(pooled.collect(), 1)
    }

    /// Pools `hidden`, `[tokens, hidden_size]`, of texts that lie end to end, to `[texts, size]`, as
    /// [`pool`](Self::pool) does.
    pub(super) fn pool_rows(&self, hidden: &[f32], hidden_size: usize, lengths: &[usize], prompt: usize) -> Vec<f32> {
        let prompt = if self.include_prompt { 0 } else { prompt };
        let mut pooled = vec![0.0; lengths.len() * self.size(hidden_size)];
        let mut rows = hidden.chunks_exact(hidden_size.max(1));
        for (length, pooled) in lengths.iter().zip(pooled.chunks_exact_mut(self.size(hidden_size).max(1))) {
            let text: Vec<&[f32]> = rows.by_ref().take(*length).collect();
            for (mode, vector) in self.modes.iter().zip(pooled.chunks_exact_mut(hidden_size.max(1))) {
                if *mode == Mode::Maximum {
                    vector.fill(-f32::MAX);
                }
                for (position, row) in text.iter().enumerate().skip(prompt) {
                    match mode {
                        Mode::Maximum => {
                            vector.iter_mut().zip(*row).for_each(|(most, value)| {
                                // A NaN is kept, so that it is noticed.
                                if *value > *most || value.is_nan() {
                                    *most = *value;
                                }
                            });
                        }
                        mode => {
                            let weight = mode.weight(position, prompt, *length);
                            vector.iter_mut().zip(*row).for_each(|(sum, value)| *sum += weight * value);
                        }
                    }
                }
            }
        }
        pooled
    }
}

impl Mode {
    /// How much the token at a position counts, where tokens from `start` to `length` do.
    fn weight(self, position: usize, start: usize, length: usize) -> f32 {
        if !(start..length).contains(&position) {
            return 0.0;
        }
        let count = (length - start) as f32;
        match self {
            Self::First => f32::from(position == start),
            Self::Last => f32::from(position + 1 == length),
            Self::Mean => 1.0 / count,
            Self::MeanSqrtLength => 1.0 / count.sqrt(),
            Self::WeightedMean => {
                // The sum of start + 1 to length.
                let sum = (start + 1 + length) as f32 * count / 2.0;
                (position + 1) as f32 / sum
            }
            Self::Maximum => 1.0,
        }
    }
}

/// A number for each position of each text, `[texts, longest, 1]`.
fn per_token(hidden: &Tensor<3>, lengths: &[usize], value: impl Fn(usize, usize) -> f32, device: &Device) -> Tensor<3> {
    let [texts, longest, _] = hidden.dims();
    let values = lengths.iter().flat_map(|length| (0..longest).map(|position| value(position, *length)));
    Tensor::from_data(TensorData::new(values.collect::<Vec<f32>>(), [texts, longest, 1]), device)
}
