"""Random models as Hugging Face folders, and what llama.cpp computes with the GGUF files made of them.

make FOLDER SEED [NAME...]   writes a folder for each family, or those named; prints their names, tokens and transformers' logits
run FILE TOKENS    prints llama.cpp's logits after each of the tokens (JSON), and its tokens of a text
exact FILE TOKENS  prints llama.cpp's logits with the file's weights as 32-bit floats: nothing is rounded again
continue COUNT (FILE TOKENS)...   prints llama.cpp's greedy continuations, and its logits before each token
"""

import json
import random
import sys
from pathlib import Path

import numpy as np

WINDOW = 128
COMMON = dict(
    vocab_size=384,
    hidden_size=256,
    intermediate_size=512,
    num_hidden_layers=3,
    num_attention_heads=8,
    num_key_value_heads=4,
    head_dim=32,
    max_position_embeddings=WINDOW,
    bos_token_id=0,
    eos_token_id=1,
    pad_token_id=None,
    tie_word_embeddings=False,
    initializer_range=0.1,
)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=500.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32)
PATTERN = ["sliding_attention", "full_attention", "sliding_attention"]
TEXT = "Hello, world! It's 1234567 o'clock — naïve größer 数据 🙂\n\n  fn main() { x_1 }"


def main():
    command, *arguments = sys.argv[1:]
    print(json.dumps({"make": make, "run": run, "exact": exact, "continue": continue_greedily}[command](*arguments)))


def specifications():
    from transformers import (
        Gemma2Config, Gemma3TextConfig, GraniteConfig, LlamaConfig, MistralConfig, MixtralConfig, Phi3Config,
        Qwen2Config, Qwen3Config, Qwen3MoeConfig, SmolLM3Config,
    )

    half = COMMON["head_dim"] // 2
    longrope = dict(
        rope_type="longrope",
        rope_theta=10000.0,
        short_factor=[1.0 + 0.1 * i for i in range(half)],
        long_factor=[1.5 + 0.3 * i for i in range(half)],
        original_max_position_embeddings=2 * WINDOW,
        factor=1.0,
    )
    gemma = dict(query_pre_attn_scalar=32, tie_word_embeddings=True, sliding_window=16, layer_types=PATTERN)
    experts = dict(num_experts_per_tok=2, moe_intermediate_size=256, norm_topk_prob=True)
    return {
        "llama": (LlamaConfig, dict(rope_parameters=LLAMA3)),
        "llama-tied": (LlamaConfig, dict(tie_word_embeddings=True, rope_parameters=dict(rope_type="linear", factor=2.0, rope_theta=10000.0))),
        "mistral": (MistralConfig, dict(sliding_window=None, head_dim=64)),
        "qwen2": (Qwen2Config, dict(rope_parameters=YARN)),
        "qwen3": (Qwen3Config, dict(head_dim=64, tie_word_embeddings=True)),
        "qwen3-moe": (Qwen3MoeConfig, dict(num_experts=4, **experts)),
        "mixtral": (MixtralConfig, dict(num_local_experts=4, num_experts_per_tok=2, sliding_window=None)),
        "gemma2": (Gemma2Config, gemma),
        "gemma3": (Gemma3TextConfig, {**gemma, "rope_parameters": {
            "full_attention": dict(rope_type="linear", factor=2.0, rope_theta=50000.0),
            "sliding_attention": dict(rope_type="default", rope_theta=10000.0),
        }}),
        # llama.cpp takes files called phi3 to have Phi 3's tokens.
        "phi": (Phi3Config, dict(rope_parameters=longrope, max_position_embeddings=2 * WINDOW, sliding_window=None)),
        "granite": (GraniteConfig, dict(attention_multiplier=0.2, embedding_multiplier=3.0, residual_multiplier=0.7, logits_scaling=2.0)),
        "smollm3": (SmolLM3Config, dict(no_rope_layers=[1, 1, 1])),
    }


def make(folder, seed, *names):
    import torch
    from transformers import AutoModelForCausalLM

    chance = random.Random(int(seed))
    torch.manual_seed(int(seed))
    tokenizer = train_tokenizer()
    cases = []
    for name, (config_class, settings) in specifications().items():
        if names and name not in names:
            continue
        config = config_class(**{**COMMON, **settings})
        model = AutoModelForCausalLM.from_config(config).eval().float()
        with torch.no_grad():
            for parameter, values in model.named_parameters():
                # Fresh models have norms at one and biases at zero, which would hide mistakes.
                if "norm" in parameter:
                    values.add_(torch.randn_like(values) * 0.2)
                elif parameter.endswith("bias"):
                    values.normal_(std=0.2)
                else:
                    values.normal_(std=0.05)
            tokens = [chance.randrange(2, 300) for _ in range(40)]
            logits = model(torch.tensor([tokens])).logits[0]
        target = Path(folder) / name
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)
        cases.append({
            "name": name,
            "folder": str(target),
            "tokens": tokens,
            "logits": logits.tolist(),
            "text_tokens": tokenizer(TEXT)["input_ids"],
        })
    return cases


def load(path):
    import llama_cpp

    return llama_cpp.Llama(
        path, n_ctx=WINDOW, n_batch=WINDOW, logits_all=True, verbose=False, type_k=0, type_v=0, flash_attn=False,
        # More would wait for each other longer than they compute.
        n_threads=1, n_threads_batch=1,
    )


def continue_greedily(count, *cases):
    continuations = []
    for path, tokens in zip(cases[::2], cases[1::2]):
        model, tokens = load(path), json.loads(tokens)
        model.eval(tokens)
        written, logits = [], []
        for _ in range(int(count)):
            logits.append(model.scores[model.n_tokens - 1].tolist())
            written.append(int(np.argmax(logits[-1])))
            model.eval(written[-1:])
        continuations.append({"tokens": written, "logits": logits})
    return continuations


def run(path, tokens):
    model = load(path)
    tokens = json.loads(tokens)
    model.eval(tokens)
    logits = np.array(model.scores[: len(tokens)], dtype=np.float64)
    return {"logits": logits.tolist(), "text_tokens": model.tokenize(TEXT.encode(), add_bos=False, special=False)}


def exact(path, tokens):
    import gguf

    reader = gguf.GGUFReader(path)
    whole = path + ".exact.gguf"
    writer = gguf.GGUFWriter(whole, reader.get_field("general.architecture").contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        element = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=element)
    for tensor in reader.tensors:
        shape = [int(size) for size in reversed(tensor.shape)]
        writer.add_tensor(tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return run(whole, tokens)


def train_tokenizer():
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    cut = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(cut), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=["<s>", "</s>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT, "Hello, hello world 123 456 789 main  x  \n\n naïve größer 数据"] * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", chat_template="{{ messages[0].content }}"
    )


if __name__ == "__main__":
    main()
