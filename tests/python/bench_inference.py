"""Codriver's engine beside llama.cpp: the same GGUF files, engines taking turns.

Prints one JSON object: for each format the medians of both engines (tokens a second for a prompt and
for an answer, seconds to load, bytes of memory). The models have the shape of Qwen3-0.6B and
random weights; speed does not depend on what they are.

    python bench_inference.py CODRIVER FOLDER --formats q8_0 q4_0 q4_k --rounds 3
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

VOCABULARY, HIDDEN, LAYERS, HEADS, KEY_VALUE_HEADS, HEAD_SIZE, WIDE = 151936, 1024, 28, 16, 8, 128, 3072
MATRICES = {
    "attn_q": (HEADS * HEAD_SIZE, HIDDEN),
    "attn_k": (KEY_VALUE_HEADS * HEAD_SIZE, HIDDEN),
    "attn_v": (KEY_VALUE_HEADS * HEAD_SIZE, HIDDEN),
    "attn_output": (HIDDEN, HEADS * HEAD_SIZE),
    "ffn_gate": (WIDE, HIDDEN),
    "ffn_up": (WIDE, HIDDEN),
    "ffn_down": (HIDDEN, WIDE),
}
NORMS = {"attn_norm": HIDDEN, "ffn_norm": HIDDEN, "attn_q_norm": HEAD_SIZE, "attn_k_norm": HEAD_SIZE}


def make(path, format):
    """Writes a model; its layers share their numbers, which costs a reader the same."""
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

    writer = gguf.GGUFWriter(path, "qwen3")
    writer.add_name("bench")
    writer.add_context_length(4096)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(WIDE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE_HEADS)
    writer.add_key_length(HEAD_SIZE)
    writer.add_value_length(HEAD_SIZE)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    letters = [chr(code) for code in range(33, 33 + 94)]
    tokens = letters + ['!"'] + [f"<{number}>" for number in range(VOCABULARY - len(letters) - 2)] + ["<|end|>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (VOCABULARY - 1) + [3])
    writer.add_token_merges(['! "'])
    writer.add_eos_token_id(VOCABULARY - 1)
    writer.add_tensor("token_embd.weight", matrix(VOCABULARY, HIDDEN), raw_dtype=kind)
    writer.add_tensor("output_norm.weight", numpy.ones(HIDDEN, numpy.float32))
    matrices = {name: matrix(*shape) for name, shape in MATRICES.items()}
    for layer in range(LAYERS):
        for name, values in matrices.items():
            writer.add_tensor(f"blk.{layer}.{name}.weight", values, raw_dtype=kind)
        for name, size in NORMS.items():
            writer.add_tensor(f"blk.{layer}.{name}.weight", numpy.ones(size, numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def codriver(program, path, prompt, generate):
    command = [program, "model", "bench", path, "--prompt", str(prompt), "-n", str(generate), "--repeats", "1", "--json"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    speeds = {test["test"]: test["tokens_per_second"] for test in report["tests"]}
    return {
        "prompt": speeds[f"pp{prompt}"],
        "answer": speeds[f"tg{generate}"],
        "load": report["load_seconds"],
        "memory": report["memory_bytes"],
    }


def measure_llama_cpp(path, prompt, generate, threads):
    """Runs in a process of its own, as Codriver does."""
    import llama_cpp
    import numpy

    before = resident()
    begin = time.perf_counter()
    model = llama_cpp.Llama(
        path, n_ctx=prompt + generate, n_batch=512, n_threads=threads, n_threads_batch=threads, verbose=False
    )
    load = time.perf_counter() - begin
    tokens = numpy.random.default_rng(1).integers(0, VOCABULARY - 1, max(prompt, generate)).tolist()
    model.eval(tokens[:16])
    model.reset()
    begin = time.perf_counter()
    model.eval(tokens[:prompt])
    reading = time.perf_counter() - begin
    model.reset()
    model.eval(tokens[:1])
    begin = time.perf_counter()
    for token in tokens[:generate]:
        model.eval([token])
    writing = time.perf_counter() - begin
    return {"prompt": prompt / reading, "answer": generate / writing, "load": load, "memory": resident() - before}


def resident():
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("codriver")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--formats", nargs="+", default=["q8_0", "q4_0", "q4_k"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--peer", help="measure llama.cpp on this file, in this process")
    options = parser.parse_args()
    if options.peer:
        print(json.dumps(measure_llama_cpp(options.peer, options.prompt, options.generate, options.threads)))
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    figures = {}
    for format in options.formats:
        path = options.folder / f"qwen3-0.6b-{format}.gguf"
        if not path.exists():
            partial = path.with_suffix(".partial")
            make(partial, format)
            partial.rename(path)
        figures[format] = {"codriver": [], "llama.cpp": []}
    for _ in range(options.rounds):
        for format, engines in figures.items():
            path = str(options.folder / f"qwen3-0.6b-{format}.gguf")
            engines["codriver"].append(codriver(options.codriver, path, options.prompt, options.generate))
            peer = subprocess.run(
                [sys.executable, __file__, *sys.argv[1:], "--peer", path], check=True, capture_output=True, text=True
            )
            engines["llama.cpp"].append(json.loads(peer.stdout.splitlines()[-1]))
    medians = {
        format: {
            engine: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            for engine, runs in engines.items()
        }
        for format, engines in figures.items()
    }
    import llama_cpp

    # With which instructions it was built says how fair a peer it is.
    print(json.dumps(medians | {"peer": llama_cpp.llama_print_system_info().decode()}))


if __name__ == "__main__":
    main()
