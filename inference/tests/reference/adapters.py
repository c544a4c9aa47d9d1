"""Writes random models and LoRA adapters for them into a folder, and says what torch computes with
the adapters applied by hand, as PEFT defines them.

    python adapters.py FOLDER SEED

Prints a list of models: {model, tokens, cases, rounded}. A case has its adapters and weights, and
the scores after each token. `rounded` are the cases on the model's weights as Q8_0 has them.
"""

import json
import math
import pathlib
import re
import sys

import torch
from gguf import GGMLQuantizationType, quants
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM
from vocabularies import byte_level

SIZES = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    initializer_range=0.2,
    tie_word_embeddings=False,
    pad_token_id=None,
)
ALL = r".*\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
LLAMA = {
    "plain": dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
    "regex-rslora": dict(r=9, lora_alpha=6, target_modules=ALL, use_rslora=True, dtype=torch.bfloat16),
    "patterns": dict(
        r=4,
        lora_alpha=4,
        target_modules=["gate_proj", "down_proj", "lm_head"],
        rank_pattern={"layers.1.mlp.gate_proj": 7, ".*down_proj": 2},
        alpha_pattern={"lm_head": 16, "gate_proj": 3, r"layers\.1\..*": 100},
    ),
    "dora": dict(r=5, lora_alpha=10, target_modules=["o_proj", "up_proj", "k_proj"], use_dora=True),
    "embedding": dict(r=3, lora_alpha=6, target_modules=["embed_tokens", "k_proj"]),
    "saved": dict(r=2, lora_alpha=2, target_modules=["q_proj"], modules_to_save=["lm_head", "norm"]),
    "transposed": dict(r=4, lora_alpha=8, target_modules=["q_proj", "o_proj"], fan_in_fan_out=True),
}
# Queries, keys and values are one matrix there, gate and up another.
PHI = {
    "fused": dict(r=4, lora_alpha=8, target_modules=["qkv_proj", "gate_up_proj"]),
    "fused-dora": dict(r=3, lora_alpha=6, target_modules=["qkv_proj", "gate_up_proj", "o_proj", "down_proj"], use_dora=True),
    "fused-saved": dict(r=2, lora_alpha=5, target_modules=["down_proj"], modules_to_save=["qkv_proj"]),
}
MODELS = {"llama": (LlamaForCausalLM, LlamaConfig, LLAMA), "phi": (Phi3ForCausalLM, Phi3Config, PHI)}


def main():
    folder, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    torch.manual_seed(seed)
    tokenizer = byte_level()
    json.dump([write_model(folder / name, tokenizer, *MODELS[name]) for name in MODELS], sys.stdout)


def write_model(folder, tokenizer, model_class, config_class, adapters):
    model = model_class(config_class(vocab_size=tokenizer.vocab_size, **SIZES)).eval()
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    base = {name: value.clone() for name, value in model.state_dict().items()}
    changes = {name: write(folder / name, base, **settings) for name, settings in adapters.items()}
    tokens = torch.randint(2, tokenizer.vocab_size, (20,))
    single = [[(name, 1.0)] for name in adapters]
    first, second, third, *_ = adapters
    several = [[], [(first, 0.0)], [(first, -0.5)], [(first, 1.0), (second, 0.25), (third, 0.5)]]

    def compute(base, chosen):
        state = {name: value.clone() for name, value in base.items()}
        for name, weight in chosen:
            for tensor, change in changes[name].items():
                state[tensor] += weight * (change(base[tensor]) - base[tensor])
        model.load_state_dict(state)
        with torch.no_grad():
            logits = model(tokens[None]).logits[0]
        adapters = [{"folder": str(folder / name), "weight": weight} for name, weight in chosen]
        return {"adapters": adapters, "logits": logits.tolist()}

    rounded = {name: round_to_eight_bits(value) for name, value in base.items()}
    return {
        "model": str(folder / "model"),
        "tokens": tokens.tolist(),
        "cases": [compute(base, chosen) for chosen in single + several],
        "rounded": [compute(rounded, chosen) for chosen in single + several[-1:]],
    }


def round_to_eight_bits(values):
    """What a Q8_0 file holds: matrices rounded, vectors not."""
    if values.dim() < 2:
        return values
    kind = GGMLQuantizationType.Q8_0
    return torch.from_numpy(quants.dequantize(quants.quantize(values.numpy(), kind), kind).copy())


def write(folder, base, *, dtype=torch.float32, **settings):
    """Writes a random adapter; returns how it changes each of its tensors."""
    config = {"peft_type": "LORA", "base_model_name_or_path": "random/model", "bias": "none", **settings}
    tensors, changes = {}, {}
    for name, weight in base.items():
        module = name.removesuffix(".weight")
        key = f"base_model.model.{module}"
        if module.split(".")[-1] in settings.get("modules_to_save", []):
            saved = weight + torch.randn_like(weight) * 0.1
            tensors[f"{key}.weight"] = saved
            changes[name] = lambda weight, saved=saved: saved
        elif targeted(settings["target_modules"], module):
            rank = pattern(settings.get("rank_pattern", {}), module, settings["r"])
            alpha = pattern(settings.get("alpha_pattern", {}), module, settings["lora_alpha"])
            scale = alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
            flipped = module.endswith("embed_tokens") or settings.get("fan_in_fan_out", False)
            rows, columns = weight.T.shape if flipped else weight.shape
            down = (torch.randn(rank, columns) * 0.2).to(dtype)
            up = (torch.randn(rows, rank) * 0.2).to(dtype)
            delta = scale * (up.float() @ down.float())
            delta = delta.T if flipped else delta
            magnitude = None
            if settings.get("use_dora"):
                magnitude = torch.rand(rows) * 2 + 0.5
                tensors[f"{key}.lora_magnitude_vector"] = magnitude
            changes[name] = lambda weight, delta=delta, magnitude=magnitude: changed(weight, delta, magnitude)
            if module.endswith("embed_tokens"):
                tensors |= {f"{key}.lora_embedding_A": down, f"{key}.lora_embedding_B": up}
            else:
                tensors |= {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}
    folder.mkdir()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return changes


def changed(weight, delta, magnitude):
    weight = weight + delta
    return weight if magnitude is None else weight * (magnitude / weight.norm(dim=1))[:, None]


def targeted(targets, module):
    if isinstance(targets, str):
        return re.fullmatch(targets, module) is not None
    return any(module == target or module.endswith("." + target) for target in targets)


def pattern(patterns, module, otherwise):
    """PEFT's get_pattern_key: the first key that matches the end of the module's path."""
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module)), otherwise)


if __name__ == "__main__":
    main()
