"""The decoders that are compared with transformers: families, and their features in all variations."""

from dataclasses import dataclass, field

import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3Config,
    Gemma3ForCausalLM,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    GraniteMoeConfig,
    GraniteMoeForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)

WINDOW = 512


@dataclass
class Spec:
    name: str
    config: type
    model: type
    settings: dict = field(default_factory=dict)
    dtype: torch.dtype = torch.float32
    # The largest shard.
    shard: str = "1GB"
    # How the configuration is written: as transformers 5 does, or as files were before it ("old"),
    # or without what the defaults say ("terse").
    words: str = "new"
    # How experts are written: one by one, or stacked.
    stacked: bool = False
    # The prompt's tokens.
    prompt: int = WINDOW - 41
    # Whether the reference reads all anew for each token, because old positions change.
    anew: bool = False


def specs(chance):
    """All specs, with what is drawn from `chance` drawn."""

    def window():
        return chance.randrange(5, 60)

    def rope(rope_type, **parameters):
        return dict(rope_parameters=dict(rope_type=rope_type, rope_theta=chance.choice([500.0, 10000.0]), **parameters))

    def factors(pairs):
        return dict(
            short_factor=[chance.uniform(1, 1.5) for _ in range(pairs)],
            long_factor=[chance.uniform(1, 8) for _ in range(pairs)],
        )

    def gemma(**settings):
        return dict(head_dim=chance.choice([12, 16, 20]), query_pre_attn_scalar=chance.randrange(8, 40), **settings)

    def granite(**settings):
        return dict(
            embedding_multiplier=chance.uniform(2, 12),
            attention_multiplier=chance.uniform(0.1, 0.4),
            residual_multiplier=chance.uniform(0.2, 0.9),
            logits_scaling=chance.uniform(1.2, 4),
            **settings,
        )

    llama, mistral = (LlamaConfig, LlamaForCausalLM), (MistralConfig, MistralForCausalLM)
    qwen2, qwen3 = (Qwen2Config, Qwen2ForCausalLM), (Qwen3Config, Qwen3ForCausalLM)
    gemma1, gemma2 = (GemmaConfig, GemmaForCausalLM), (Gemma2Config, Gemma2ForCausalLM)
    gemma3, seeing = (Gemma3TextConfig, Gemma3ForCausalLM), (gemma3_that_sees, Gemma3ForConditionalGeneration)
    phi3, smollm3 = (Phi3Config, Phi3ForCausalLM), (SmolLM3Config, SmolLM3ForCausalLM)
    granite3, granite_moe = (GraniteConfig, GraniteForCausalLM), (GraniteMoeConfig, GraniteMoeForCausalLM)
    mixtral, qwen3_moe = (MixtralConfig, MixtralForCausalLM), (Qwen3MoeConfig, Qwen3MoeForCausalLM)

    llama3 = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)
    yarn = dict(factor=4.0, original_max_position_embeddings=128)
    scales = dict(mscale=chance.uniform(0.5, 1.5), mscale_all_dim=chance.uniform(0.5, 1.5))
    soft_caps = dict(attn_logit_softcapping=chance.uniform(2, 20), final_logit_softcapping=chance.uniform(5, 30))
    local_rope = dict(
        full_attention=dict(rope_type="linear", factor=8.0, rope_theta=100000.0),
        sliding_attention=dict(rope_type="default", rope_theta=chance.choice([500.0, 10000.0])),
    )
    experts = dict(num_local_experts=chance.randrange(4, 8), num_experts_per_tok=chance.randrange(1, 4))
    moe_size = dict(moe_intermediate_size=chance.randrange(11, 60), head_dim=14)
    original = chance.randrange(300, 320)
    return [
        Spec("llama-gqa", *llama, rope("llama3", **llama3)),
        Spec(
            "llama-biased",
            *llama,
            dict(num_key_value_heads=8, attention_bias=True, mlp_bias=True, **rope("linear", factor=2.0)),
            torch.float16,
            words="old",
        ),
        Spec("llama-yarn", *llama, rope("yarn", **yarn), words="old"),
        Spec("llama-yarn-scales", *llama, rope("yarn", truncate=False, beta_fast=16.0, beta_slow=2.0, **yarn, **scales)),
        Spec("llama-yarn-factor", *llama, rope("yarn", attention_factor=chance.uniform(0.7, 1.4), **yarn)),
        Spec("llama-dynamic", *llama, dict(max_position_embeddings=128, **rope("dynamic", factor=4.0)), words="old"),
        Spec("llama-gelu", *llama, dict(hidden_act="gelu", tie_word_embeddings=True), words="terse"),
        Spec("mistral", *mistral, dict(head_dim=12, sliding_window=None), shard="60KB"),
        Spec("mistral-sliding", *mistral, dict(sliding_window=window()), torch.bfloat16),
        Spec("qwen2", *qwen2, dict(num_key_value_heads=1), torch.bfloat16, "40KB"),
        Spec(
            "qwen2-sliding",
            *qwen2,
            dict(tie_word_embeddings=True, use_sliding_window=True, sliding_window=window(), max_window_layers=1),
            words="old",
        ),
        Spec("qwen3", *qwen3, dict(head_dim=24, tie_word_embeddings=True), words="terse"),
        Spec(
            "qwen3-untied",
            *qwen3,
            dict(head_dim=10, hidden_size=60, num_attention_heads=6, num_key_value_heads=3, attention_bias=True),
            torch.bfloat16,
        ),
        Spec("gemma", *gemma1, dict(head_dim=14), words="terse"),
        Spec("gemma2", *gemma2, gemma(sliding_window=window(), num_hidden_layers=4, **soft_caps), torch.bfloat16),
        Spec("gemma2-terse", *gemma2, gemma(sliding_window=window()), words="terse"),
        Spec("gemma3", *gemma3, gemma(sliding_window=window(), num_hidden_layers=7, rope_parameters=local_rope)),
        Spec("gemma3-old", *gemma3, gemma(sliding_window=window(), num_hidden_layers=6), words="old", shard="50KB"),
        Spec(
            "gemma3-attention",
            *gemma3,
            gemma(sliding_window=window(), layer_types=["full_attention", "sliding_attention", "full_attention"]),
            torch.float16,
        ),
        Spec("gemma3-sees", *seeing, gemma(sliding_window=window(), num_hidden_layers=7), words="terse"),
        Spec("phi3", *phi3, dict(sliding_window=window(), hidden_size=96, partial_rotary_factor=0.75)),
        Spec(
            "phi3-partial",
            *phi3,
            dict(
                hidden_size=128,
                original_max_position_embeddings=64,
                partial_rotary_factor=0.75,
                tie_word_embeddings=True,
                **rope("longrope", **factors(6), partial_rotary_factor=0.75),
            ),
            torch.bfloat16,
            anew=True,
        ),
        Spec(
            "phi3-crossing",
            *phi3,
            dict(original_max_position_embeddings=original, **rope("longrope", **factors(4))),
            words="old",
            prompt=original - 15,
            anew=True,
        ),
        Spec("smollm3", *smollm3, dict(num_hidden_layers=5)),
        Spec(
            "smollm3-sliding",
            *smollm3,
            dict(no_rope_layers=[1, 0, 1], use_sliding_window=True, sliding_window=window(), attention_bias=True),
            words="terse",
        ),
        Spec("granite", *granite3, granite(attention_bias=True), torch.bfloat16),
        Spec("granite-tied", *granite3, granite(tie_word_embeddings=True, mlp_bias=True), words="terse"),
        Spec("granite-experts", *granite_moe, granite(**experts), words="terse"),
        Spec("granite-experts-stacked", *granite_moe, granite(**experts), stacked=True),
        Spec("mixtral", *mixtral, dict(experts), torch.bfloat16, words="terse"),
        Spec("mixtral-sliding", *mixtral, dict(experts, sliding_window=window(), head_dim=6), stacked=True),
        Spec(
            "qwen3-experts",
            *qwen3_moe,
            dict(experts, mlp_only_layers=[1], norm_topk_prob=True, **moe_size),
            words="old",
            shard="90KB",
        ),
        Spec(
            "qwen3-experts-stacked",
            *qwen3_moe,
            dict(
                experts,
                num_hidden_layers=4,
                decoder_sparse_step=2,
                use_sliding_window=True,
                sliding_window=window(),
                **moe_size,
            ),
            torch.float16,
            stacked=True,
        ),
    ]


def common(chance):
    """Small, and odd where a size can be."""
    return dict(
        hidden_size=64,
        intermediate_size=chance.randrange(31, 150),
        num_hidden_layers=3,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=WINDOW,
        initializer_range=0.15,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=None,
    )


def gemma3_that_sees(**settings):
    vision = dict(
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        model_type="siglip_vision_model",
    )
    text = Gemma3TextConfig(**settings).to_dict()
    return Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)


SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
)


def terse(words, default):
    """The words that a class' defaults do not say."""
    keep = SIZES + ("model_type",)
    return {key: value for key, value in words.items() if key in keep or default.get(key, ...) != value}


def old(words):
    """The words as files had them before transformers 5."""
    words = dict(words)
    for new, before in [("num_local_experts", "num_experts")]:
        if new in words:
            words[before] = words.pop(new)
    words.pop("layer_types", None)
    rope = words.pop("rope_parameters")
    if "full_attention" in rope:
        words["rope_theta"] = rope["full_attention"]["rope_theta"]
        words["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        words["sliding_window_pattern"] = words.pop("_sliding_window_pattern")
        return words
    rope = dict(rope)
    words["rope_theta"] = rope.pop("rope_theta")
    if "partial_rotary_factor" in rope:
        words["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    rope["type"] = {"longrope": "su"}.get(rope["rope_type"], rope["rope_type"])
    del rope["rope_type"]
    words["rope_scaling"] = rope if rope["type"] != "default" else None
    return words
