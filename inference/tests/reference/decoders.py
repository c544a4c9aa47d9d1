"""Writes random checkpoints of several architectures into a folder, and says what transformers
computes with them.

    python decoders.py FOLDER SEED

Prints a list of cases: the scores after each token of a `short` prompt, and the greedy
`continuation` of a long one.
"""

import json
import pathlib
import random
import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

CONTINUATION = 40
# Two implementations round differently: a choice this close says nothing about either.
TOO_CLOSE = 1e-2
WINDOW = 512


def main():
    folder, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(seed)
    tokenizer = train_tokenizer()
    json.dump([case(folder, name, *spec, tokenizer, chance) for name, spec in SPECS.items()], sys.stdout)


COMMON = dict(
    hidden_size=64,
    intermediate_size=112,
    num_hidden_layers=3,
    num_attention_heads=8,
    num_key_value_heads=2,
    max_position_embeddings=WINDOW,
    initializer_range=0.15,
    bos_token_id=0,
    eos_token_id=1,
    pad_token_id=None,
)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=500.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)
# Name: configuration class, model class, settings, type of the saved weights, largest shard.
SPECS = {
    "llama-gqa": (LlamaConfig, LlamaForCausalLM, dict(rope_parameters=LLAMA3), torch.float32, "1GB"),
    "llama-biased": (
        LlamaConfig,
        LlamaForCausalLM,
        dict(
            num_key_value_heads=8,
            attention_bias=True,
            mlp_bias=True,
            rms_norm_eps=1e-5,
            rope_parameters=dict(rope_type="linear", factor=2.0, rope_theta=10000.0),
        ),
        torch.float16,
        "1GB",
    ),
    "mistral": (MistralConfig, MistralForCausalLM, dict(head_dim=12, sliding_window=None), torch.float32, "60KB"),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, dict(num_key_value_heads=1), torch.bfloat16, "40KB"),
    "qwen2-tied": (Qwen2Config, Qwen2ForCausalLM, dict(tie_word_embeddings=True), torch.float32, "1GB"),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, dict(head_dim=24, tie_word_embeddings=True), torch.float32, "1GB"),
    "qwen3-untied": (
        Qwen3Config,
        Qwen3ForCausalLM,
        dict(head_dim=10, num_attention_heads=6, num_key_value_heads=3, attention_bias=True),
        torch.bfloat16,
        "1GB",
    ),
}


def case(folder, name, config_class, model_class, settings, dtype, shard, tokenizer, chance):
    while True:
        seed = chance.randrange(1 << 31)
        config = config_class(**{**COMMON, "vocab_size": tokenizer.vocab_size, **settings})
        model = random_model(model_class, config, seed, dtype)
        short = [chance.randrange(2, tokenizer.vocab_size) for _ in range(24)]
        # Longer than one prefill step of the engine.
        prompt = " ".join(chance.choice(WORDS) for _ in range(220))
        tokens = tokenizer(prompt)["input_ids"][: WINDOW - CONTINUATION - 1]
        prompt = tokenizer.decode(tokens)
        if tokenizer(prompt)["input_ids"] != tokens:
            continue
        continuation, closest = greedy(model, tokens)
        if closest > TOO_CLOSE:
            break
    with torch.no_grad():
        logits = model(torch.tensor([short])).logits[0]
    target = folder / name
    model.to(dtype).save_pretrained(target, max_shard_size=shard)
    tokenizer.save_pretrained(target)
    end = continuation.index(1) if 1 in continuation else len(continuation)
    return {
        "name": name,
        "folder": str(target),
        "seed": seed,
        "shards": len(list(target.glob("*.safetensors"))),
        "short": short,
        "logits": logits.tolist(),
        "prompt": prompt,
        "tokens": tokens,
        "continuation": continuation[:end],
        "text": tokenizer.decode(continuation[:end]),
    }


def random_model(model_class, config, seed, dtype):
    torch.manual_seed(seed)
    model = model_class(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Fresh models have all norms at one and all biases at zero, which would hide mistakes.
            if "norm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
            elif name.endswith("bias"):
                parameter.normal_(std=0.2)
            # What the file will hold. Not `model.to(dtype)`: that would round the rotary frequencies,
            # which are computed, not stored.
            parameter.copy_(parameter.to(dtype))
    return model


def greedy(model, tokens):
    """The greedy continuation, and how close the closest choice in it was."""
    tokens, continuation, closest = list(tokens), [], float("inf")
    with torch.no_grad():
        output = model(torch.tensor([tokens]), use_cache=True)
        for _ in range(CONTINUATION):
            best = output.logits[0, -1].topk(2)
            closest = min(closest, (best.values[0] - best.values[1]).item())
            token = best.indices[0].item()
            continuation.append(token)
            if token == 1:
                break
            output = model(torch.tensor([[token]]), past_key_values=output.past_key_values, use_cache=True)
    return continuation, closest


WORDS = """the rows of a table and what they add up to größer naïve 数据 данные select count from where
revenue customers orders by month why did it drop last week? {"name": 1} ünïcödé 🙂 fn main() -> x""".split()


def train_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


if __name__ == "__main__":
    main()
