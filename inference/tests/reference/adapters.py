"""Writes a random Llama and LoRA adapters for it into a folder, and says what torch computes with
the adapters applied by hand, as PEFT defines them.

    python adapters.py FOLDER SEED

Prints {model, cases}: for each case its adapters and weights, and the scores after each token.
"""

import json
import math
import pathlib
import re
import sys

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HIDDEN, WIDE, LAYERS, VOCABULARY = 32, 56, 3, 64


def main():
    folder, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=WIDE,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.2,
        tie_word_embeddings=False,
        pad_token_id=None,
    )
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(folder / "model")
    vocabulary = {f"w{index}": index for index in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="w1").save_pretrained(folder / "model")
    base = {name: value.clone() for name, value in model.state_dict().items()}
    changes = {name: write(folder / name, base, **settings) for name, settings in ADAPTERS.items()}

    tokens = torch.randint(2, VOCABULARY, (20,))
    cases = []
    for chosen in CASES:
        state = {name: value.clone() for name, value in base.items()}
        for name, weight in chosen:
            for tensor, changed in changes[name].items():
                state[tensor] += weight * (changed - base[tensor])
        model.load_state_dict(state)
        with torch.no_grad():
            logits = model(tokens[None]).logits[0]
        adapters = [{"folder": str(folder / name), "weight": weight} for name, weight in chosen]
        cases.append({"adapters": adapters, "logits": logits.tolist()})
    json.dump({"model": str(folder / "model"), "tokens": tokens.tolist(), "cases": cases}, sys.stdout)


ALL = r".*\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
ADAPTERS = {
    "plain": dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
    "regex-rslora": dict(r=9, lora_alpha=6, target_modules=ALL, use_rslora=True, dtype=torch.bfloat16),
    "patterns": dict(
        r=4,
        lora_alpha=4,
        target_modules=["gate_proj", "down_proj", "lm_head"],
        rank_pattern={"layers.1.mlp.gate_proj": 7, ".*down_proj": 2},
        alpha_pattern={"lm_head": 16, "gate_proj": 3, r"layers\.1\..*": 100},
    ),
    "dora": dict(r=5, lora_alpha=10, target_modules=["o_proj", "up_proj"], use_dora=True),
    "embedding": dict(r=3, lora_alpha=6, target_modules=["embed_tokens", "k_proj"]),
    "saved": dict(r=2, lora_alpha=2, target_modules=["q_proj"], modules_to_save=["lm_head", "norm"]),
    "transposed": dict(r=4, lora_alpha=8, target_modules=["q_proj", "o_proj"], fan_in_fan_out=True),
}
CASES = [[(name, 1.0)] for name in ADAPTERS]
CASES += [
    [],
    [("plain", 0.0)],
    [("plain", -0.5)],
    [("plain", 1.0), ("regex-rslora", 0.25), ("saved", 0.5)],
]


def write(folder, base, *, dtype=torch.float32, **settings):
    """Writes a random adapter; returns the tensors it changes, changed."""
    config = {"peft_type": "LORA", "base_model_name_or_path": "random/llama", "bias": "none", **settings}
    tensors, changed = {}, {}
    for name, weight in base.items():
        module = name.removesuffix(".weight")
        key = f"base_model.model.{module}"
        if module.split(".")[-1] in settings.get("modules_to_save", []):
            changed[name] = weight + torch.randn_like(weight) * 0.1
            tensors[f"{key}.weight"] = changed[name]
        elif targeted(settings["target_modules"], module):
            rank = pattern(settings.get("rank_pattern", {}), module, settings["r"])
            alpha = pattern(settings.get("alpha_pattern", {}), module, settings["lora_alpha"])
            scale = alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
            flipped = module.endswith("embed_tokens") or settings.get("fan_in_fan_out", False)
            rows, columns = weight.T.shape if flipped else weight.shape
            down = (torch.randn(rank, columns) * 0.2).to(dtype)
            up = (torch.randn(rows, rank) * 0.2).to(dtype)
            delta = scale * (up.float() @ down.float())
            changed[name] = weight + (delta.T if flipped else delta)
            if settings.get("use_dora"):
                magnitude = torch.rand(rows) * 2 + 0.5
                changed[name] *= (magnitude / changed[name].norm(dim=1))[:, None]
                tensors[f"{key}.lora_magnitude_vector"] = magnitude
            if module.endswith("embed_tokens"):
                tensors |= {f"{key}.lora_embedding_A": down, f"{key}.lora_embedding_B": up}
            else:
                tensors |= {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}
    folder.mkdir()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return changed


def targeted(targets, module):
    if isinstance(targets, str):
        return re.fullmatch(targets, module) is not None
    return any(module == target or module.endswith("." + target) for target in targets)


def pattern(patterns, module, otherwise):
    """PEFT's get_pattern_key: the first key that matches the end of the module's path."""
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module)), otherwise)


if __name__ == "__main__":
    main()
