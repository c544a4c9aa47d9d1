//! What a `config.json` leaves unsaid: each family's defaults, and what its code has and its
//! configuration has no word for. After transformers 5 (`configuration_*.py`, `modeling_*.py`).

use serde_json::{Value, json};

/// A family of models, by the `model_type` in its files.
pub(super) struct Family {
    pub name: &'static str,
    /// Words of `config.json` with their values where a file says nothing, a JSON object.
    pub defaults: fn() -> Value,
    pub sliding: Sliding,
    pub traits: Traits,
}

/// Which layers have the sliding window, where `layer_types` doesn't say.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sliding {
    /// None, even if a window is given.
    Never,
    /// All, if a window is given.
    Always,
    /// All, with `use_sliding_window`.
    Switched,
    /// Those from `max_window_layers` on, with `use_sliding_window`.
    Upper,
    /// Those without rotary positions, with `use_sliding_window`.
    Unrotated,
    /// All but every `sliding_window_pattern`th.
    Pattern,
}

/// What a family has whatever its configuration says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traits {
    pub qk_norm: bool,
    pub output_norms: bool,
    /// Norm weights are stored as their difference from one.
    pub zero_centered_norms: bool,
    /// Embeddings are multiplied by the root of the hidden size.
    pub scaled_embeddings: bool,
    /// Query, key and value projections have biases and the output has none (Qwen2).
    pub query_key_value_bias: bool,
    /// `attn_logit_softcapping` counts.
    pub attention_soft_cap: bool,
    /// The activation "gelu" is the approximate one (the first Gemma's files).
    pub gelu_is_approximate: bool,
    /// Every fourth layer has no rotary positions, where `no_rope_layers` doesn't say.
    pub unrotated_layers: bool,
}

const PLAIN: Traits = Traits {
    qk_norm: false,
    output_norms: false,
    zero_centered_norms: false,
    scaled_embeddings: false,
    query_key_value_bias: false,
    attention_soft_cap: false,
    gelu_is_approximate: false,
    unrotated_layers: false,
};
const GEMMA: Traits = Traits { zero_centered_norms: true, scaled_embeddings: true, ..PLAIN };

pub(super) const FAMILIES: [Family; 13] = [
    Family { name: "llama", defaults: || json!({}), sliding: Sliding::Never, traits: PLAIN },
    Family {
        name: "mistral",
        defaults: || json!({ "sliding_window": 4096, "num_key_value_heads": 8 }),
        sliding: Sliding::Always,
        traits: PLAIN,
    },
    Family {
        name: "qwen2",
        defaults: || json!({ "sliding_window": 4096, "max_window_layers": 28 }),
        sliding: Sliding::Upper,
        traits: Traits { query_key_value_bias: true, ..PLAIN },
    },
    Family {
        name: "qwen3",
        defaults: || json!({ "sliding_window": 4096, "max_window_layers": 28, "head_dim": 128 }),
        sliding: Sliding::Upper,
        traits: Traits { qk_norm: true, ..PLAIN },
    },
    Family {
        name: "gemma",
        defaults: || {
            json!({ "head_dim": 256, "hidden_act": "gelu_pytorch_tanh", "tie_word_embeddings": true,
                    "max_position_embeddings": 8192 })
        },
        sliding: Sliding::Never,
        traits: Traits { gelu_is_approximate: true, ..GEMMA },
    },
    Family {
        name: "gemma2",
        defaults: || {
            json!({ "head_dim": 256, "num_key_value_heads": 4, "hidden_activation": "gelu_pytorch_tanh",
                    "tie_word_embeddings": true, "query_pre_attn_scalar": 256, "sliding_window": 4096,
                    "sliding_window_pattern": 2, "final_logit_softcapping": 30.0,
                    "attn_logit_softcapping": 50.0, "max_position_embeddings": 8192 })
        },
        sliding: Sliding::Pattern,
        traits: Traits { output_norms: true, attention_soft_cap: true, ..GEMMA },
    },
    Family {
        name: "gemma3_text",
        // Published files say of the text model only what differs from these.
        defaults: || {
            json!({ "vocab_size": 262_208, "hidden_size": 2304, "intermediate_size": 9216,
                    "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4,
                    "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": true,
                    "query_pre_attn_scalar": 256, "sliding_window": 4096, "sliding_window_pattern": 6,
                    "rope_theta": 1_000_000.0, "rope_local_base_freq": 10_000.0,
                    "max_position_embeddings": 131_072 })
        },
        sliding: Sliding::Pattern,
        traits: Traits { qk_norm: true, output_norms: true, ..GEMMA },
    },
    Family {
        name: "phi3",
        defaults: || {
            json!({ "rms_norm_eps": 1e-5, "max_position_embeddings": 4096,
                    "original_max_position_embeddings": 4096 })
        },
        sliding: Sliding::Always,
        traits: PLAIN,
    },
    Family {
        name: "smollm3",
        defaults: || {
            json!({ "num_key_value_heads": 4, "rope_theta": 2_000_000.0, "tie_word_embeddings": true,
                    "max_position_embeddings": 32768 })
        },
        sliding: Sliding::Unrotated,
        traits: Traits { unrotated_layers: true, ..PLAIN },
    },
    Family { name: "granite", defaults: granite, sliding: Sliding::Never, traits: PLAIN },
    Family {
        name: "granitemoe",
        defaults: || {
            let mut words = granite();
            words["num_local_experts"] = json!(8);
            words["num_experts_per_tok"] = json!(2);
            words["norm_topk_prob"] = json!(true);
            words
        },
        sliding: Sliding::Never,
        traits: PLAIN,
    },
    Family {
        name: "mixtral",
        defaults: || {
            json!({ "num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_theta": 1_000_000.0,
                    "num_local_experts": 8, "num_experts_per_tok": 2, "norm_topk_prob": true,
                    "max_position_embeddings": 131_072 })
        },
        sliding: Sliding::Always,
        traits: PLAIN,
    },
    Family {
        name: "qwen3_moe",
        defaults: || {
            json!({ "num_key_value_heads": 4, "sliding_window": 4096, "num_experts": 128, "num_experts_per_tok": 8,
                    "moe_intermediate_size": 768, "decoder_sparse_step": 1,
                    "max_position_embeddings": 32768 })
        },
        sliding: Sliding::Switched,
        traits: Traits { qk_norm: true, ..PLAIN },
    },
];

fn granite() -> Value {
    json!({ "attention_multiplier": 1.0, "embedding_multiplier": 1.0, "residual_multiplier": 1.0,
            "logits_scaling": 1.0 })
}
