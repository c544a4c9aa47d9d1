"""Prints how many tokens a second transformers writes with a random model of Llama 3 8B's shape in bf16.

    python tests/python/bench_cuda.py TOKENS
"""

import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

PROMPT = 128


def main(tokens):
    if not torch.cuda.is_available():
        sys.exit("torch finds no CUDA device")
    config = LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=8192,
        rope_theta=500000.0,
    )
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = LlamaForCausalLM(config).eval()
    prompt = torch.arange(PROMPT, device="cuda")[None]
    with torch.inference_mode():
        # Greedy steps, one token each: the first ones warm up.
        output = model(prompt, use_cache=True)
        for count in (4, tokens):
            torch.cuda.synchronize()
            started = time.perf_counter()
            for _ in range(count):
                token = output.logits[:, -1:].argmax(-1)
                output = model(token, past_key_values=output.past_key_values, use_cache=True)
            torch.cuda.synchronize()
            seconds = time.perf_counter() - started
    print(tokens / seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]))
