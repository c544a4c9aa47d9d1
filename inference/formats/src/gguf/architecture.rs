//! What is special about the files of an architecture: how llama.cpp's converter names and changes
//! Hugging Face's tensors (`conversion/*.py` in its repository).

/// An architecture of decoders that is known both here and to llama.cpp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Architecture {
    /// `general.architecture`, the prefix of its metadata keys.
    pub name: &'static str,
    /// `model_type` in a `config.json`.
    pub model_type: &'static str,
    /// Rows of query and key projections are in llama.cpp's order: it rotates neighbours, Hugging
    /// Face the first half of a head with the second.
    pub permuted: bool,
    /// Norm weights are stored with the one that Gemma's code adds.
    pub norms_with_one: bool,
    /// Attention and feed-forward outputs are normalized too.
    pub output_norms: bool,
    /// Queries, keys and values are one tensor, gate and up another.
    pub fused: bool,
}

const PLAIN: Architecture = Architecture {
    name: "",
    model_type: "",
    permuted: false,
    norms_with_one: false,
    output_norms: false,
    fused: false,
};
const LLAMA: Architecture = Architecture { name: "llama", model_type: "llama", permuted: true, ..PLAIN };
const GEMMA: Architecture = Architecture { name: "gemma", model_type: "gemma", norms_with_one: true, ..PLAIN };

/// All of them.
pub const ARCHITECTURES: [Architecture; 11] = [
    LLAMA,
    Architecture { name: "granite", model_type: "granite", ..LLAMA },
    Architecture { name: "granitemoe", model_type: "granitemoe", ..LLAMA },
    Architecture { name: "smollm3", model_type: "smollm3", ..LLAMA },
    Architecture { name: "qwen2", model_type: "qwen2", ..PLAIN },
    Architecture { name: "qwen3", model_type: "qwen3", ..PLAIN },
    Architecture { name: "qwen3moe", model_type: "qwen3_moe", ..PLAIN },
    Architecture { name: "phi3", model_type: "phi3", fused: true, ..PLAIN },
    GEMMA,
    Architecture { name: "gemma2", model_type: "gemma2", output_norms: true, ..GEMMA },
    Architecture { name: "gemma3", model_type: "gemma3_text", output_norms: true, ..GEMMA },
];

/// Tensors outside of layers: their name in a GGUF file, and Hugging Face's after `model.`.
pub const GLOBAL: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

/// The parts of a layer: after `blk.N.` in a GGUF file, after `model.layers.N.` at Hugging Face.
const LAYER: [(&str, &str); 15] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_qkv", "self_attn.qkv_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_up", "mlp.gate_up_proj"),
    ("ffn_down", "mlp.down_proj"),
    ("ffn_gate_inp", "mlp.gate"),
    ("ffn_gate_inp", "block_sparse_moe.gate"),
    ("ffn_gate_inp", "block_sparse_moe.router.layer"),
];

/// Where each output is normalized too, the norm before the feed-forward part has another name.
const PLAIN_NORMS: [(&str, &str); 1] = [("ffn_norm", "post_attention_layernorm")];
const OUTPUT_NORMS: [(&str, &str); 3] = [
    ("post_attention_norm", "post_attention_layernorm"),
    ("ffn_norm", "pre_feedforward_layernorm"),
    ("post_ffw_norm", "post_feedforward_layernorm"),
];

/// Experts: stacked in one tensor in a GGUF file; one tensor each at Hugging Face, by Qwen's and by
/// Mixtral's names.
pub const EXPERTS: [(&str, &str, &str); 3] =
    [("ffn_gate_exps", "gate_proj", "w1"), ("ffn_up_exps", "up_proj", "w3"), ("ffn_down_exps", "down_proj", "w2")];

impl Architecture {
    /// By `general.architecture`.
    pub fn named(name: &str) -> Option<Self> {
        ARCHITECTURES.into_iter().find(|architecture| architecture.name == name)
    }

    /// By the `model_type` of a `config.json`.
    pub fn of_model_type(model_type: &str) -> Option<Self> {
        let model_type = match model_type {
            // Llama with a sliding window, and with experts.
            "mistral" | "mixtral" => "llama",
            "gemma3" => "gemma3_text",
            other => other,
        };
        ARCHITECTURES.into_iter().find(|architecture| architecture.model_type == model_type)
    }

    /// Hugging Face's name of a layer's part, from a GGUF file's.
    pub fn layer_part(&self, part: &str) -> Option<&'static str> {
        let fits = |name: &str| self.fused == (name == "mlp.gate_up_proj") || part != "ffn_up";
        self.parts().find(|(known, name)| *known == part && fits(name)).map(|(_, name)| name)
    }

    /// A GGUF file's name of a layer's part, from Hugging Face's.
    pub fn gguf_part(&self, part: &str) -> Option<&'static str> {
        self.parts().find(|(_, name)| *name == part).map(|(known, _)| known)
    }

    fn parts(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let norms: &[_] = if self.output_norms { &OUTPUT_NORMS } else { &PLAIN_NORMS };
        LAYER.iter().chain(norms).copied()
    }
}
