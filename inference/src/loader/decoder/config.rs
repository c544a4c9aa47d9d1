//! A `config.json` as a [`DecoderConfig`]: a family's defaults beneath the file's words, then one
//! reading for all families.

use std::path::Path;

use serde_json::{Map, Value};

use super::families::{FAMILIES, Family, Sliding};
use super::keys::{Keys, LARGEST_SIZE};
use super::rotary::{Rotaries, parse_rotaries};
use crate::ModelError;
use crate::loader::file_error;
use crate::models::decoder::{Activation, DecoderConfig, ExpertsConfig, LayerConfig};

/// A decoder as a checkpoint holds it.
pub(super) struct Architecture {
    pub config: DecoderConfig,
    /// The checkpoint holds norm weights as their difference from one.
    pub zero_centered_norms: bool,
}

/// Reads a `config.json`; `path` is for its errors.
pub(super) fn parse_config(path: &Path, config: &Value) -> Result<Architecture, ModelError> {
    let words = config.as_object().ok_or_else(|| file_error(path, "not a JSON object"))?;
    let family = family(Keys { path, words })?;
    let words = with_defaults(text_words(words), family);
    let keys = Keys { path, words: &words };
    check_support(keys)?;
    let config = decoder(keys, family)?;
    Ok(Architecture { config, zero_centered_norms: family.traits.zero_centered_norms })
}

fn family(keys: Keys) -> Result<&'static Family, ModelError> {
    let model_type = match keys.text("model_type").unwrap_or("none") {
        // A Gemma 3 that also sees; its text model is described inside.
        "gemma3" => "gemma3_text",
        other => other,
    };
    FAMILIES.iter().find(|family| family.name == model_type).ok_or_else(|| {
        let names: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
        keys.unsupported(format!(
            "model_type `{model_type}`; the architectures that run here are {}. \
             Others can be served by another program and attached with %model http://HOST:PORT/v1#NAME",
            names.join(", ")
        ))
    })
}

/// The words about text, of a model that also sees.
fn text_words(words: &Map<String, Value>) -> Map<String, Value> {
    let Some(Value::Object(text)) = words.get("text_config") else { return words.clone() };
    let mut text = text.clone();
    for shared in ["tie_word_embeddings", "quantization_config"] {
        if let Some(value) = words.get(shared) {
            text.entry(shared).or_insert_with(|| value.clone());
        }
    }
    text
}

fn with_defaults(mut words: Map<String, Value>, family: &Family) -> Map<String, Value> {
    if let Value::Object(defaults) = (family.defaults)() {
        for (key, value) in defaults {
            words.entry(key).or_insert(value);
        }
    }
    words
}

/// Refuses what would be computed wrongly.
fn check_support(keys: Keys) -> Result<(), ModelError> {
    if keys.get("quantization_config").is_some() {
        return Err(keys.unsupported("quantized weights; get the model's unquantized checkpoint"));
    }
    let features = [
        ("use_bidirectional_attention", "attention in both directions"),
        ("kv_lora_rank", "multi-head latent attention"),
        ("clip_qkv", "clipped queries, keys and values"),
        ("n_shared_experts", "shared experts"),
        ("shared_intermediate_size", "shared experts"),
    ];
    for (key, feature) in features {
        let off = |value: &Value| value == false || value == 0;
        if keys.get(key).is_some_and(|value| !off(value)) {
            return Err(keys.unsupported(format!("`{key}`: {feature}")));
        }
    }
    Ok(())
}

fn decoder(keys: Keys, family: &Family) -> Result<DecoderConfig, ModelError> {
    let hidden_size = keys.size("hidden_size")?;
    let heads = keys.size("num_attention_heads")?;
    let head_dim = keys.optional_size("head_dim")?.unwrap_or(hidden_size / heads);
    let positions = keys.optional_size("max_position_embeddings")?.unwrap_or(2048);
    let key_value_heads = keys.optional_size("num_key_value_heads")?.unwrap_or(heads);
    if !heads.is_multiple_of(key_value_heads) {
        return Err(keys.invalid("num_attention_heads is not a multiple of num_key_value_heads"));
    }
    let Rotaries { full, sliding, stretched_positions } = parse_rotaries(keys, head_dim, positions)?;
    let experts = experts(keys)?;
    let layers = layers(keys, family, experts.is_some())?;
    let factor = |key: &str| keys.positive(key).map(|factor| factor.unwrap_or(1.0));
    let query_scale = keys.positive("query_pre_attn_scalar")?.map(|scalar| scalar.powf(-0.5));
    let bias = keys.flag("attention_bias");
    let separate_bias = family.traits.query_key_value_bias;
    let own_scale = if family.traits.scaled_embeddings { (hidden_size as f64).sqrt() } else { 1.0 };
    let soft_cap = keys.positive("attn_logit_softcapping")?;
    Ok(DecoderConfig {
        vocab_size: keys.size("vocab_size")?,
        hidden_size,
        intermediate_size: keys.size("intermediate_size")?,
        num_hidden_layers: layers.len(),
        num_attention_heads: heads,
        num_key_value_heads: key_value_heads,
        head_dim,
        activation: activation(keys, family)?,
        rms_norm_eps: keys.positive("rms_norm_eps")?.unwrap_or(1e-6),
        rotary: full,
        sliding_rotary: sliding,
        layers,
        experts,
        tie_word_embeddings: keys.flag("tie_word_embeddings"),
        qk_norm: family.traits.qk_norm,
        output_norms: family.traits.output_norms,
        attention_bias: bias || separate_bias,
        attention_output_bias: bias && !separate_bias,
        mlp_bias: keys.flag("mlp_bias"),
        attention_scale: keys.positive("attention_multiplier")?.or(query_scale),
        attention_soft_cap: soft_cap.filter(|_| family.traits.attention_soft_cap),
        logit_soft_cap: keys.positive("final_logit_softcapping")?,
        embedding_multiplier: own_scale * factor("embedding_multiplier")?,
        residual_multiplier: factor("residual_multiplier")?,
        logit_divisor: factor("logits_scaling")?,
        max_position_embeddings: stretched_positions
            .map_or(positions, |stretched| positions.max(stretched.min(LARGEST_SIZE as f64) as usize)),
    })
}

fn activation(keys: Keys, family: &Family) -> Result<Activation, ModelError> {
    match keys.text("hidden_activation").or_else(|| keys.text("hidden_act")) {
        None | Some("silu" | "swish") => Ok(Activation::Silu),
        Some("gelu") if family.traits.gelu_is_approximate => Ok(Activation::GeluTanh),
        Some("gelu") => Ok(Activation::Gelu),
        Some("gelu_pytorch_tanh" | "gelu_new" | "gelu_fast") => Ok(Activation::GeluTanh),
        Some(other) => Err(keys.unsupported(format!(
            "the activation `{other}`; those that run here are silu, gelu and gelu_pytorch_tanh"
        ))),
    }
}

fn experts(keys: Keys) -> Result<Option<ExpertsConfig>, ModelError> {
    let count = match keys.optional_size("num_local_experts")? {
        Some(count) => Some(count),
        None => keys.optional_size("num_experts")?,
    };
    let Some(num_experts) = count else { return Ok(None) };
    let num_experts_per_tok = keys.size("num_experts_per_tok")?;
    if num_experts_per_tok > num_experts {
        return Err(keys.invalid("num_experts_per_tok is more than there are experts"));
    }
    let intermediate_size = match keys.optional_size("moe_intermediate_size")? {
        Some(size) => size,
        None => keys.size("intermediate_size")?,
    };
    let norm_topk_prob = keys.flag("norm_topk_prob");
    Ok(Some(ExpertsConfig { num_experts, num_experts_per_tok, intermediate_size, norm_topk_prob }))
}

/// More layers than any model has, and few enough to be listed.
const MOST_LAYERS: usize = 1 << 16;

fn layers(keys: Keys, family: &Family, has_experts: bool) -> Result<Vec<LayerConfig>, ModelError> {
    let count = keys.size("num_hidden_layers")?;
    if count > MOST_LAYERS {
        return Err(keys.invalid(format!("`num_hidden_layers` is {count}; the most that are read are {MOST_LAYERS}")));
    }
    let by_layer = |key: &str| match keys.list(key)? {
        Some(list) if list.len() < count => Err(keys.invalid(format!("`{key}` has fewer entries than layers"))),
        list => Ok(list),
    };
    let (types, rotated) = (by_layer("layer_types")?, by_layer("no_rope_layers")?);
    let dense = keys.list("mlp_only_layers")?.unwrap_or_default();
    let sparse_step = keys.optional_size("decoder_sparse_step")?.unwrap_or(1);
    let unrotated_step = keys.optional_size("no_rope_layer_interval")?.unwrap_or(4);
    let window = keys.optional_size("sliding_window")?;
    let switched = keys.flag("use_sliding_window");
    let pattern = keys.optional_size("sliding_window_pattern")?.unwrap_or(1);
    let first_sliding = keys.get("max_window_layers").and_then(Value::as_u64).unwrap_or(0);
    let layer = |index: usize| {
        let unrotated = match rotated {
            // The list says which layers do have positions.
            Some(list) => list.get(index).is_some_and(|rotated| rotated == 0 || rotated == false),
            None => family.traits.unrotated_layers && (index + 1).is_multiple_of(unrotated_step),
        };
        let (enabled, slides) = match family.sliding {
            Sliding::Never => (types.is_some(), false),
            Sliding::Always => (true, true),
            Sliding::Switched => (switched, true),
            Sliding::Upper => (switched, index as u64 >= first_sliding),
            Sliding::Unrotated => (switched, unrotated),
            Sliding::Pattern => (true, !(index + 1).is_multiple_of(pattern)),
        };
        let slides = match types.and_then(|types| types.get(index)).map(|kind| (kind.as_str(), kind)) {
            None => slides,
            Some((Some("full_attention"), _)) => false,
            Some((Some("sliding_attention"), _)) if enabled && window.is_none() => {
                return Err(keys.invalid("`layer_types` has sliding_attention, but there is no `sliding_window`"));
            }
            Some((Some("sliding_attention"), _)) => true,
            Some((_, other)) => return Err(keys.unsupported(format!("layers of type {other}"))),
        };
        Ok(LayerConfig {
            sliding_window: window.filter(|_| enabled && slides),
            unrotated,
            sparse: has_experts && (index + 1).is_multiple_of(sparse_step) && !dense.iter().any(|dense| dense == index),
        })
    };
    (0..count).map(layer).collect()
}
