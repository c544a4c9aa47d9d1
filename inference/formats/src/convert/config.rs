//! A `config.json` as metadata.

use std::f64::consts::PI;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::tokenizer::read_json;
use crate::FormatError;
use crate::gguf::architecture::Architecture;
use crate::gguf::{GgufWriter, Value};

/// The `config.json` of a decoder.
pub(super) struct Config {
    path: PathBuf,
    name: String,
    words: Json,
    pub(super) architecture: Architecture,
}

/// Where a word is the same as a metadata key but for its name.
const SIZES: [(&str, &str); 9] = [
    ("vocab_size", "vocab_size"),
    ("hidden_size", "embedding_length"),
    ("intermediate_size", "feed_forward_length"),
    ("num_hidden_layers", "block_count"),
    ("num_experts_per_tok", "expert_used_count"),
    ("moe_intermediate_size", "expert_feed_forward_length"),
    ("head_dim", "attention.key_length"),
    ("head_dim", "attention.value_length"),
    ("original_max_position_embeddings", "rope.scaling.original_context_length"),
];
const NUMBERS: [(&str, &str); 7] = [
    ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
    ("attention_multiplier", "attention.scale"),
    ("embedding_multiplier", "embedding_scale"),
    ("residual_multiplier", "residual_scale"),
    ("logits_scaling", "logit_scale"),
    ("attn_logit_softcapping", "attn_logit_softcapping"),
    ("final_logit_softcapping", "final_logit_softcapping"),
];

impl Config {
    pub(super) fn open(folder: &Path) -> Result<Self, FormatError> {
        let path = folder.join("config.json");
        let whole = read_json(&path)?;
        let model_type = whole["model_type"].as_str().unwrap_or("none");
        let architecture = Architecture::of_model_type(model_type).ok_or_else(|| {
            FormatError::new(&path, format!("models of type `{model_type}` are not converted; those of Llama, Mistral, Qwen 2 and 3, Gemma, Phi 3, Granite and SmolLM are"))
        })?;
        let words = match &whole["text_config"] {
            Json::Object(_) => whole["text_config"].clone(),
            _ => whole,
        };
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
        let name = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let config = Self { path, name, words, architecture };
        config.check()?;
        Ok(config)
    }

    /// Refuses what a GGUF file has no place for: llama.cpp would compute something else.
    fn check(&self) -> Result<(), FormatError> {
        for word in ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"] {
            self.size(word)?;
        }
        let gemma = self.architecture.norms_with_one;
        let activation = ["hidden_activation", "hidden_act"].into_iter().find_map(|key| self.words[key].as_str());
        let expected: &[_] = if gemma { &["gelu_pytorch_tanh", "gelu"] } else { &["silu", "swish"] };
        let scale_is_said = self.architecture.output_norms
            && self.optional("query_pre_attn_scalar")?.is_some_and(|scalar| Some(scalar) != self.implied_scalar());
        let unrotated = self.words["no_rope_layers"].as_array().is_some_and(|layers| {
            layers
                .iter()
                .enumerate()
                .any(|(index, rotated)| (rotated == 1 || rotated == true) == ((index + 1) % 4 == 0))
        });
        let obstacles = [
            (!self.words["quantization_config"].is_null(), "quantized weights"),
            (activation.is_some_and(|activation| !expected.contains(&activation)), "its activation"),
            (scale_is_said, "its query_pre_attn_scalar"),
            (unrotated, "its no_rope_layers"),
            (self.flag("use_sliding_window"), "use_sliding_window"),
            (self.words["norm_topk_prob"] == false && self.experts()?.is_some(), "norm_topk_prob: false"),
            (self.words["mlp_only_layers"].as_array().is_some_and(|layers| !layers.is_empty()), "mlp_only_layers"),
            (self.optional("decoder_sparse_step")?.is_some_and(|step| step != 1.0), "decoder_sparse_step"),
        ];
        match obstacles.into_iter().find(|(is_there, _)| *is_there) {
            Some((_, what)) => Err(self.error(format!("GGUF files of this family have no place for {what}"))),
            None => Ok(()),
        }
    }

    /// What llama.cpp takes Gemma's queries to be scaled by.
    fn implied_scalar(&self) -> Option<f64> {
        let (hidden, heads) = (self.size("hidden_size").ok()?, self.heads().ok()?);
        let largest = match self.architecture.name {
            "gemma2" => 46,
            _ => 62,
        };
        if self.size("num_hidden_layers").ok()? == largest {
            return Some(hidden.checked_div(heads)? as f64);
        }
        self.head_dim().ok().map(|size| size as f64)
    }

    /// Sets the keys of the network.
    pub(super) fn describe(&self, writer: &mut GgufWriter) -> Result<(), FormatError> {
        writer.set("general.architecture", self.architecture.name);
        writer.set("general.type", "model");
        writer.set("general.name", self.name.as_str());
        let mut set = |key: &str, value: Value| writer.set(&format!("{}.{key}", self.architecture.name), value);
        for (word, key) in SIZES {
            if let Some(size) = self.optional_size(word)? {
                set(key, Value::U32(size));
            }
        }
        for (word, key) in NUMBERS {
            if let Some(number) = self.optional(word)? {
                set(key, Value::F32(number as f32));
            }
        }
        set("attention.head_count", Value::U32(self.heads()? as u32));
        set("attention.head_count_kv", Value::U32(self.key_value_heads()? as u32));
        if let Some(experts) = self.experts()? {
            set("expert_count", Value::U32(experts as u32));
        }
        self.describe_positions(&mut set)
    }

    fn describe_positions(&self, set: &mut impl FnMut(&str, Value)) -> Result<(), FormatError> {
        let positions = self.size("max_position_embeddings")? as u32;
        let window = self.optional_size("sliding_window")?.filter(|window| *window > 0);
        // Llama's files say nothing of windows; up to the window there is no difference.
        let bounded = if self.architecture.name == "llama" { window } else { None };
        set("context_length", Value::U32(bounded.map_or(positions, |window| window.min(positions))));
        if self.architecture.output_norms || self.architecture.name == "phi3" {
            set("attention.sliding_window", Value::U32(window.unwrap_or(0)));
        }
        if let (true, Some(layers)) = (self.architecture.output_norms, self.words["layer_types"].as_array()) {
            let slides: Vec<bool> = layers.iter().map(|layer| layer == "sliding_attention").collect();
            set("attention.sliding_window_pattern", slides.into());
        }
        let fraction = self.rope("partial_rotary_factor").and_then(Json::as_f64).unwrap_or(1.0);
        set("rope.dimension_count", Value::U32((self.head_dim()? as f64 * fraction) as u32));
        let theta = self.rope("rope_theta").and_then(Json::as_f64);
        set("rope.freq_base", Value::F32(theta.unwrap_or(10000.0) as f32));
        let sliding = &self.words["rope_parameters"]["sliding_attention"]["rope_theta"];
        if let Some(theta) = sliding.as_f64().or(self.words["rope_local_base_freq"].as_f64()) {
            set("rope.freq_base_swa", Value::F32(theta as f32));
        }
        let number = |key: &str| self.rope(key).and_then(Json::as_f64);
        let original = number("original_max_position_embeddings");
        let kind = self.rope_type();
        match kind {
            "default" | "llama3" => return Ok(()),
            "linear" | "yarn" => {
                set("rope.scaling.type", Value::from(kind));
                set("rope.scaling.factor", Value::F32(number("factor").unwrap_or(1.0) as f32));
            }
            "longrope" | "su" => {
                let original = original.unwrap_or(f64::from(positions));
                let factor = number("factor").unwrap_or(f64::from(positions) / original);
                let inferred = if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original.ln()).sqrt() };
                set("rope.scaling.type", Value::from("longrope"));
                set("rope.scaling.attn_factor", Value::F32(number("attention_factor").unwrap_or(inferred) as f32));
            }
            other => return Err(self.error(format!("GGUF files have no place for rotary scaling of type `{other}`"))),
        }
        if let Some(original) = original {
            set("rope.scaling.original_context_length", Value::U32(original as u32));
        }
        for (word, key) in [("attention_factor", "attn_factor"), ("beta_fast", "beta_fast"), ("beta_slow", "beta_slow")]
        {
            if let Some(number) = number(word).filter(|_| kind == "yarn") {
                set(&format!("rope.scaling.yarn_{key}"), Value::F32(number as f32));
            }
        }
        Ok(())
    }

    /// The divisors of rotary frequencies, which are tensors in a GGUF file.
    pub(super) fn rotary_factors(&self) -> Result<Vec<(&'static str, Vec<f32>)>, FormatError> {
        let list = |key: &str| -> Result<Vec<f32>, FormatError> {
            let numbers = self.rope(key).and_then(Json::as_array).into_iter().flatten();
            let numbers: Option<Vec<f32>> = numbers.map(|number| Some(number.as_f64()? as f32)).collect();
            let numbers = numbers.filter(|numbers| !numbers.is_empty());
            numbers.ok_or_else(|| self.error(format!("the rotary parameter `{key}` is no list of numbers")))
        };
        match self.rope_type() {
            "llama3" => Ok(vec![("rope_freqs.weight", self.llama3_factors()?)]),
            "longrope" | "su" => Ok(vec![
                ("rope_factors_long.weight", list("long_factor")?),
                ("rope_factors_short.weight", list("short_factor")?),
            ]),
            _ => Ok(Vec::new()),
        }
    }

    /// Llama 3's: long waves are stretched, short ones stay, and those between are blended.
    fn llama3_factors(&self) -> Result<Vec<f32>, FormatError> {
        let number = |key: &str| {
            let found = self.rope(key).and_then(Json::as_f64);
            found.ok_or_else(|| self.error(format!("the rotary parameter `{key}` is missing")))
        };
        let (theta, factor) = (number("rope_theta")?, number("factor")?);
        let (low, high) = (number("low_freq_factor")?, number("high_freq_factor")?);
        let original = number("original_max_position_embeddings")?;
        let size = self.head_dim()?;
        let divisor = |pair: usize| {
            let wave = 2.0 * PI * theta.powf(2.0 * pair as f64 / size as f64);
            if wave < original / high {
                1.0
            } else if wave > original / low {
                factor
            } else {
                let smooth = (original / wave - low) / (high - low);
                1.0 / ((1.0 - smooth) / factor + smooth)
            }
        };
        Ok((0..size / 2).map(|pair| divisor(pair) as f32).collect())
    }

    fn rope_type(&self) -> &str {
        let kind = self.rope("rope_type").or_else(|| self.rope("type")).and_then(Json::as_str);
        kind.unwrap_or("default")
    }

    /// A rotary parameter: newer files group them, for full attention apart, older ones spread them.
    fn rope(&self, key: &str) -> Option<&Json> {
        let parameters = &self.words["rope_parameters"];
        [&parameters["full_attention"], parameters, &self.words["rope_scaling"], &self.words]
            .into_iter()
            .map(|group| &group[key])
            .find(|value| !value.is_null())
    }

    pub(super) fn experts(&self) -> Result<Option<usize>, FormatError> {
        let words = ["num_local_experts", "num_experts"];
        let word = words.into_iter().find(|word| !self.words[word].is_null());
        word.map(|word| self.size(word)).transpose()
    }

    pub(super) fn heads(&self) -> Result<usize, FormatError> {
        self.size("num_attention_heads")
    }

    pub(super) fn key_value_heads(&self) -> Result<usize, FormatError> {
        self.optional_size("num_key_value_heads")?.map_or_else(|| self.heads(), |heads| Ok(heads as usize))
    }

    fn head_dim(&self) -> Result<usize, FormatError> {
        if let Some(size) = self.optional_size("head_dim")? {
            return Ok(size as usize);
        }
        let (hidden, heads) = (self.size("hidden_size")?, self.heads()?);
        hidden.checked_div(heads).ok_or_else(|| self.error("num_attention_heads is 0"))
    }

    pub(super) fn size(&self, word: &str) -> Result<usize, FormatError> {
        let size = self.optional_size(word)?;
        size.map(|size| size as usize).ok_or_else(|| {
            self.error(format!(
                "the key `{word}` is missing; save the model's configuration with transformers, which says all of it"
            ))
        })
    }

    fn optional_size(&self, word: &str) -> Result<Option<u32>, FormatError> {
        let Some(number) = self.optional(word)? else { return Ok(None) };
        let whole = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
        if whole { Ok(Some(number as u32)) } else { Err(self.error(format!("`{word}` is {number}, not a size"))) }
    }

    fn optional(&self, word: &str) -> Result<Option<f64>, FormatError> {
        match &self.words[word] {
            Json::Null => Ok(None),
            value => {
                let number = value.as_f64().ok_or_else(|| self.error(format!("`{word}` is {value}, not a number")))?;
                Ok(Some(number))
            }
        }
    }

    pub(super) fn flag(&self, word: &str) -> bool {
        // Gemma's embeddings are tied where nothing is said.
        let default = json!(self.architecture.norms_with_one);
        let value =
            if word == "tie_word_embeddings" && self.words[word].is_null() { &default } else { &self.words[word] };
        value == true
    }

    fn error(&self, reason: impl ToString) -> FormatError {
        FormatError::new(&self.path, reason)
    }
}
