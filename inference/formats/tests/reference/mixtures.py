"""Random GGUF files of few rows, and what llama.cpp's quantizer makes of them.

FOLDER SEED   writes the files; prints for each its path and those of what llama.cpp made of it, by type
"""

import ctypes
import json
import sys
from pathlib import Path

import gguf
import llama_cpp
import numpy as np

FILE_TYPES = dict(
    F32=0, F16=1, Q4_0=2, Q4_1=3, Q8_0=7, Q5_0=8, Q5_1=9, Q2_K=10, Q3_K_S=11, Q3_K_M=12, Q3_K_L=13, Q4_K_S=14,
    Q4_K_M=15, Q5_K_S=16, Q5_K_M=17, Q6_K=18, IQ4_NL=25, IQ4_XS=30, BF16=32,
)
ROWS = 3


def main():
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    chance = np.random.default_rng(seed)
    cases = []
    for number, model in enumerate(models(chance)):
        source = folder / f"{number}.gguf"
        write(source, chance, **model)
        made = {name: str(quantize(source, name, kind)) for name, kind in FILE_TYPES.items()}
        cases.append({"what": str(model), "source": str(source), "made": made})
    print(json.dumps(cases))


def models(chance):
    """What the choice of types depends on: family, layers, shared heads, experts, ties, widths."""
    layers = lambda: int(chance.integers(1, 50))
    plain = dict(width=256, heads=8, shared=8, experts=0, tied=False, kind=np.float32)
    return [
        {**plain, "name": "llama", "layers": layers(), "shared": 2},
        {**plain, "name": "llama", "layers": layers(), "tied": True, "kind": np.float16},
        {**plain, "name": "llama", "layers": 80, "shared": 1},
        {**plain, "name": "qwen2", "layers": 80},
        {**plain, "name": "qwen3", "layers": layers(), "shared": 4, "tied": bool(chance.integers(2))},
        {**plain, "name": "llama", "layers": layers(), "experts": 8, "shared": 2},
        {**plain, "name": "qwen3moe", "layers": layers(), "experts": int(chance.choice([4, 16])), "shared": 1},
        {**plain, "name": "phi3", "layers": layers()},
        {**plain, "name": "gemma3", "layers": layers(), "tied": True},
        # Rows that are not whole blocks of 256, and not even of 32.
        {**plain, "name": "llama", "layers": layers(), "width": 288, "shared": 2},
        {**plain, "name": "llama", "layers": 2, "width": 72, "tied": True},
    ]


def write(path, chance, name, layers, width, heads, shared, experts, tied, kind):
    writer = gguf.GGUFWriter(path, name)
    writer.add_vocab_size(ROWS)
    writer.add_block_count(layers)
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(width)
    writer.add_head_count(heads)
    writer.add_head_count_kv(shared)
    writer.add_layer_norm_rms_eps(1e-5)
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(2)
        writer.add_expert_feed_forward_length(width)

    def add(tensor, *shape, kind=kind):
        writer.add_tensor(tensor, (chance.standard_normal(shape) * 0.05).astype(kind))

    matrix = lambda tensor: add(f"{tensor}.weight", ROWS, width)
    vector = lambda tensor: add(tensor, width, kind=np.float32)
    matrix("token_embd")
    vector("output_norm.weight")
    if not tied:
        matrix("output")
    for layer in range(layers):
        part = f"blk.{layer}."
        vector(part + "attn_norm.weight")
        vector(part + "ffn_norm.weight")
        for projection in ["attn_qkv"] if name == "phi3" else ["attn_q", "attn_k", "attn_v"]:
            matrix(part + projection)
            if name == "qwen2":
                vector(part + projection + ".bias")
        matrix(part + "attn_output")
        if experts:
            add(part + "ffn_gate_inp.weight", experts, width, kind=np.float32)
        for projection in ["ffn_up", "ffn_down"] if name == "phi3" else ["ffn_gate", "ffn_up", "ffn_down"]:
            if experts:
                add(f"{part}{projection}_exps.weight", experts, ROWS, width)
            else:
                matrix(part + projection)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantize(source, name, kind):
    target = source.with_suffix(f".{name}.gguf")
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = kind
    parameters.nthread = 1
    failed = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters))
    assert failed == 0, (source, name)
    return target


if __name__ == "__main__":
    main()
