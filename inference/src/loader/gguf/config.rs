//! Metadata as a `config.json`.

use codriver_formats::gguf::architecture::Architecture;
use codriver_formats::gguf::{Array, FromValue, GgufFile};
use serde_json::{Map, Value, json};

use super::format_error;
use crate::ModelError;
use crate::loader::file_error;

/// What the model's `config.json` would say, as far as the network needs it.
pub(super) fn config(file: &GgufFile, architecture: Architecture) -> Result<Value, ModelError> {
    let keys = Keys { file, architecture };
    let mut words = Map::new();
    let mut say = |key: &str, value: Value| {
        words.insert(key.to_string(), value);
    };
    let embeddings = file.tensor_info("token_embd.weight");
    let vocabulary = embeddings.and_then(|info| info.shape.first().copied());
    let (hidden, heads) = (keys.size("embedding_length")?, keys.size("attention.head_count")?);
    let head_dim = match keys.get::<usize>("attention.key_length")? {
        Some(size) => size,
        None => hidden.checked_div(heads).unwrap_or_default(),
    };
    let experts = keys.get::<usize>("expert_count")?.filter(|count| *count > 0);
    let mixtral = architecture.name == "llama" && experts.is_some();
    say("model_type", json!(if mixtral { "mixtral" } else { architecture.model_type }));
    say("vocab_size", json!(vocabulary.unwrap_or_default()));
    say("hidden_size", json!(hidden));
    say("intermediate_size", json!(keys.size("feed_forward_length")?));
    say("num_hidden_layers", json!(keys.size("block_count")?));
    say("num_attention_heads", json!(heads));
    say("num_key_value_heads", json!(keys.get("attention.head_count_kv")?.unwrap_or(heads)));
    say("head_dim", json!(head_dim));
    say("max_position_embeddings", json!(keys.size("context_length")?));
    say("rms_norm_eps", decimal(keys.require("attention.layer_norm_rms_epsilon")?));
    say("tie_word_embeddings", json!(!file.contains("output.weight")));
    say("attention_bias", json!(file.contains("blk.0.attn_q.bias")));
    say("mlp_bias", json!(file.contains("blk.0.ffn_down.bias")));
    say("rope_theta", decimal(keys.get("rope.freq_base")?.unwrap_or(10000.0)));
    if let Some(theta) = keys.get("rope.freq_base_swa")? {
        say("rope_local_base_freq", decimal(theta));
    }
    if let Some(rotated) = keys.get::<usize>("rope.dimension_count")?.filter(|rotated| *rotated != head_dim) {
        // The half keeps the product's whole part what it was.
        say("partial_rotary_factor", json!((rotated as f64 + 0.5) / head_dim as f64));
    }
    if let Some(scaling) = keys.rope_scaling()? {
        say("rope_scaling", scaling);
    }
    for (key, word) in [
        ("attention.scale", "attention_multiplier"),
        ("embedding_scale", "embedding_multiplier"),
        ("residual_scale", "residual_multiplier"),
        ("logit_scale", "logits_scaling"),
        ("attn_logit_softcapping", "attn_logit_softcapping"),
        ("final_logit_softcapping", "final_logit_softcapping"),
    ] {
        if let Some(number) = keys.get(key)?.filter(|number: &f32| *number != 0.0) {
            say(word, decimal(number));
        }
    }
    if let Some(experts) = experts {
        say("num_experts", json!(experts));
        say("num_local_experts", json!(experts));
        say("num_experts_per_tok", json!(keys.size("expert_used_count")?));
        say("norm_topk_prob", json!(true));
        if let Some(size) = keys.get::<usize>("expert_feed_forward_length")? {
            say("moe_intermediate_size", json!(size));
        }
        if keys.get::<usize>("expert_shared_feed_forward_length")?.is_some_and(|size| size > 0) {
            say("n_shared_experts", json!(1));
        }
    }
    // As llama.cpp does, whose files don't say it: the largest Gemmas scale by the share of a head.
    let largest = match architecture.name {
        "gemma2" => keys.size("block_count")? == 46,
        "gemma3" => keys.size("block_count")? == 62,
        _ => false,
    };
    if architecture.output_norms {
        let scalar = if largest { hidden.checked_div(heads).unwrap_or_default() } else { head_dim };
        say("query_pre_attn_scalar", json!(scalar));
    }
    keys.sliding(&mut say)?;
    Ok(Value::Object(words))
}

/// The metadata of an architecture.
struct Keys<'a> {
    file: &'a GgufFile,
    architecture: Architecture,
}

impl<'a> Keys<'a> {
    fn get<T: FromValue<'a>>(&self, key: &str) -> Result<Option<T>, ModelError> {
        self.file.metadata().get(&self.name(key)).map_err(format_error)
    }

    fn require<T: FromValue<'a>>(&self, key: &str) -> Result<T, ModelError> {
        self.file.metadata().require(&self.name(key)).map_err(format_error)
    }

    fn size(&self, key: &str) -> Result<usize, ModelError> {
        self.require(key)
    }

    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture.name)
    }

    /// The scaling of rotary positions. Factors by dimension are tensors in the file, which
    /// Hugging Face's `longrope` has a place for, whatever they come from.
    fn rope_scaling(&self) -> Result<Option<Value>, ModelError> {
        let positions = self.size("context_length")?;
        let original = self.get::<usize>("rope.scaling.original_context_length")?.unwrap_or(positions);
        if let (Some(long), Some(short)) =
            (self.factors("rope_factors_long.weight")?, self.factors("rope_factors_short.weight")?)
        {
            let attention = self.get("rope.scaling.attn_factor")?.unwrap_or(1.0);
            return Ok(Some(json!({
                "rope_type": "longrope", "long_factor": long, "short_factor": short,
                "original_max_position_embeddings": original, "attention_factor": decimal(attention),
            })));
        }
        if let Some(factors) = self.factors("rope_freqs.weight")? {
            return Ok(Some(json!({
                "rope_type": "longrope", "long_factor": factors, "short_factor": factors,
                "original_max_position_embeddings": positions, "attention_factor": 1.0,
            })));
        }
        let factor = match self.get::<f32>("rope.scaling.factor")? {
            Some(factor) => Some(factor),
            None => self.get("rope.scale_linear")?,
        };
        let factor = decimal(factor.filter(|factor| *factor != 0.0).unwrap_or(1.0));
        match self.get::<&str>("rope.scaling.type")? {
            None | Some("linear") if factor == 1.0 => Ok(None),
            None | Some("linear") => Ok(Some(json!({ "rope_type": "linear", "factor": factor }))),
            Some("none" | "longrope") => Ok(None),
            Some("yarn") => {
                let mut scaling = json!({
                    "rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original,
                });
                for (key, word) in
                    [("attn_factor", "attention_factor"), ("beta_fast", "beta_fast"), ("beta_slow", "beta_slow")]
                {
                    if let Some(number) = self.get::<f32>(&format!("rope.scaling.yarn_{key}"))? {
                        scaling[word] = decimal(number);
                    }
                }
                Ok(Some(scaling))
            }
            Some(other) => {
                let reason =
                    format!("rotary scaling of type `{other}`; those that run here are linear, yarn and longrope");
                Err(ModelError::Unsupported(format!("{}: {reason}", self.file.path().display())))
            }
        }
    }

    fn factors(&self, tensor: &str) -> Result<Option<Vec<f32>>, ModelError> {
        if !self.file.contains(tensor) {
            return Ok(None);
        }
        let explain = |error| file_error(self.file.path(), format!("tensor {tensor}: {error}"));
        let values = self.file.tensor(tensor).map_err(format_error)?.dequantize().map_err(explain)?;
        Ok(Some(values))
    }

    /// Which layers look back no further than a window.
    fn sliding(&self, say: &mut impl FnMut(&str, Value)) -> Result<(), ModelError> {
        let window = self.get::<usize>("attention.sliding_window")?.filter(|window| *window > 0);
        // Gemma 2's first files don't say theirs; otherwise a family's default is none of the file's.
        if window.is_some() || self.architecture.name != "gemma2" {
            say("sliding_window", json!(window));
        }
        let Some(pattern) = self.file.metadata().value(&self.name("attention.sliding_window_pattern")) else {
            return Ok(());
        };
        if let Some(Array::Bool(slides)) = <&Array>::from_value(pattern) {
            let kind = |slides: &bool| if *slides { "sliding_attention" } else { "full_attention" };
            say("layer_types", slides.iter().map(kind).collect());
        } else {
            say("sliding_window_pattern", json!(self.require::<usize>("attention.sliding_window_pattern")?));
        }
        Ok(())
    }
}

/// The decimal number that a 32-bit float was written from: 1e-6, not 9.99999997e-7.
fn decimal(number: f32) -> Value {
    number.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}
