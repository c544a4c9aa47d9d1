"""What the engines are measured on: models of a known shape with random weights, and real texts.

The layers of a model share their numbers, which costs a reader the same and a writer less.
"""

import json
import pathlib
import re
import subprocess

SHAPES = {
    "qwen3-0.6b": dict(
        architecture="qwen3", vocabulary=151936, hidden=1024, layers=28, heads=16, key_value_heads=8, head=128,
        wide=3072, theta=1e6, epsilon=1e-6, head_norms=True, pre="qwen2", model_class="Qwen3ForCausalLM",
    ),
    "llama-3.2-1b": dict(
        architecture="llama", vocabulary=128256, hidden=2048, layers=16, heads=32, key_value_heads=8, head=64,
        wide=8192, theta=5e5, epsilon=1e-5, head_norms=False, pre="llama-bpe", model_class="LlamaForCausalLM",
    ),
}
CONTEXT = 4096


def checkpoint(folder, shape, format):
    """The model's path, written if it is not there; and how many bytes its weights are."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (f"{shape}-{format}" if format == "bf16" else f"{shape}-{format}.gguf")
    if not path.exists():
        partial = path.with_name(path.name + ".partial")
        (write_folder if format == "bf16" else write_gguf)(partial, SHAPES[shape], format)
        partial.rename(path)
    weights = path / "model.safetensors" if path.is_dir() else path
    return {"path": str(path), "bytes": weights.stat().st_size, **{key: SHAPES[shape][key] for key in ("layers", "key_value_heads", "head")}}


def matrices(shape):
    queries, keys = shape["heads"] * shape["head"], shape["key_value_heads"] * shape["head"]
    hidden, wide = shape["hidden"], shape["wide"]
    return {
        ("attn_q", "self_attn.q_proj"): (queries, hidden),
        ("attn_k", "self_attn.k_proj"): (keys, hidden),
        ("attn_v", "self_attn.v_proj"): (keys, hidden),
        ("attn_output", "self_attn.o_proj"): (hidden, queries),
        ("ffn_gate", "mlp.gate_proj"): (wide, hidden),
        ("ffn_up", "mlp.up_proj"): (wide, hidden),
        ("ffn_down", "mlp.down_proj"): (hidden, wide),
    }


def norms(shape):
    found = {
        ("attn_norm", "input_layernorm"): shape["hidden"],
        ("ffn_norm", "post_attention_layernorm"): shape["hidden"],
    }
    if shape["head_norms"]:
        found |= {("attn_q_norm", "self_attn.q_norm"): shape["head"], ("attn_k_norm", "self_attn.k_norm"): shape["head"]}
    return found


def vocabulary(shape):
    """Tokens that no text is made of but for the printable characters; one merge, one end."""
    letters = [chr(code) for code in range(33, 33 + 94)]
    return letters + ['!"'] + [f"<{number}>" for number in range(shape["vocabulary"] - len(letters) - 2)] + ["<|end|>"]


def write_gguf(path, shape, format):
    import gguf
    import numpy

    kind = gguf.GGMLQuantizationType[format.upper()]
    random = numpy.random.default_rng(0)

    def matrix(rows, columns):
        if format == "q4_k":
            # The gguf package writes no K-quants: random bits, with scales of an ordinary size.
            blocks = random.integers(0, 256, (rows * columns // 256, 144), dtype=numpy.uint8)
            blocks[:, :4] = numpy.array([0.0004, 0.003], dtype=numpy.float16).view(numpy.uint8)
            return blocks.reshape(rows, -1)
        values = random.standard_normal((rows, columns), dtype=numpy.float32) * 0.03
        return gguf.quants.quantize(values, kind)

    writer = gguf.GGUFWriter(path, shape["architecture"])
    writer.add_name("bench")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape["hidden"])
    writer.add_block_count(shape["layers"])
    writer.add_feed_forward_length(shape["wide"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["key_value_heads"])
    writer.add_key_length(shape["head"])
    writer.add_value_length(shape["head"])
    writer.add_rope_dimension_count(shape["head"])
    writer.add_layer_norm_rms_eps(shape["epsilon"])
    writer.add_rope_freq_base(shape["theta"])
    tokens = vocabulary(shape)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(shape["pre"])
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (len(tokens) - 1) + [3])
    writer.add_token_merges(['! "'])
    writer.add_bos_token_id(len(tokens) - 1)
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_tensor("token_embd.weight", matrix(shape["vocabulary"], shape["hidden"]), raw_dtype=kind)
    writer.add_tensor("output_norm.weight", numpy.ones(shape["hidden"], numpy.float32))
    values = {name: matrix(*size) for (name, _), size in matrices(shape).items()}
    for layer in range(shape["layers"]):
        for name, value in values.items():
            writer.add_tensor(f"blk.{layer}.{name}.weight", value, raw_dtype=kind)
        for (name, _), size in norms(shape).items():
            writer.add_tensor(f"blk.{layer}.{name}.weight", numpy.ones(size, numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_folder(path, shape, format):
    """A folder as transformers writes it, in bf16."""
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers

    path.mkdir(exist_ok=True)
    torch.manual_seed(0)

    def matrix(size):
        return (torch.randn(size) * 0.03).to(torch.bfloat16)

    tensors = {
        "model.embed_tokens.weight": matrix((shape["vocabulary"], shape["hidden"])),
        "model.norm.weight": torch.ones(shape["hidden"], dtype=torch.bfloat16),
    }
    values = {name: matrix(size) for (_, name), size in matrices(shape).items()}
    for layer in range(shape["layers"]):
        for name, value in values.items():
            tensors[f"model.layers.{layer}.{name}.weight"] = value.clone()
        for (_, name), size in norms(shape).items():
            tensors[f"model.layers.{layer}.{name}.weight"] = torch.ones(size, dtype=torch.bfloat16)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": [shape["model_class"]],
        "model_type": shape["architecture"],
        "vocab_size": shape["vocabulary"],
        "hidden_size": shape["hidden"],
        "num_hidden_layers": shape["layers"],
        "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["key_value_heads"],
        "head_dim": shape["head"],
        "intermediate_size": shape["wide"],
        "rms_norm_eps": shape["epsilon"],
        "rope_theta": shape["theta"],
        "max_position_embeddings": CONTEXT,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "bos_token_id": shape["vocabulary"] - 1,
        "eos_token_id": shape["vocabulary"] - 1,
        "dtype": "bfloat16",
        "torch_dtype": "bfloat16",
    }
    (path / "config.json").write_text(json.dumps(config, indent=2))
    tokens = {token: number for number, token in enumerate(vocabulary(shape))}
    tokenizer = Tokenizer(models.BPE(vocab=tokens, merges=[("!", '"')]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(path / "tokenizer.json"))


def texts(count):
    """Paragraphs of the standard library's documentation, as they come: of all lengths."""
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], check=True, capture_output=True, text=True).stdout.strip()
    library = pathlib.Path(sysroot) / "lib/rustlib/src/rust/library"
    found = []
    for part in ("core", "alloc", "std"):
        for file in sorted((library / part / "src").rglob("*.rs")):
            comment = []
            for line in [*file.read_text(errors="replace").splitlines(), ""]:
                if match := re.match(r"\s*//[/!] ?(.*)", line):
                    comment.append(match[1])
                elif comment:
                    found += [paragraph.strip() for paragraph in "\n".join(comment).split("\n\n")]
                    comment = []
    found = [text for text in dict.fromkeys(found) if len(text) >= 20]
    if len(found) < count:
        raise SystemExit(f"{library} has {len(found)} paragraphs, fewer than {count}: rustup component add rust-src")
    # Evenly from all files.
    return [found[number * len(found) // count] for number in range(count)]
