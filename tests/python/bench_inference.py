"""The engines that Codriver's is measured beside: each measurement in a process of its own.

    python bench_inference.py checkpoint FOLDER SHAPE FORMAT     writes a model, says where
    python bench_inference.py texts FILE COUNT                   writes real texts as a JSON list
    python bench_inference.py describe PEER                      says what the peer was built with
    python bench_inference.py measure PEER TEST OPTIONS          measures, prints a JSON object
    python bench_inference.py cosine FILE FILE                   the least cosine of two sets of vectors

`cargo xtask bench inference` calls these in turn and makes the table.
"""

import argparse
import importlib.metadata
import json
import pathlib
import sys
import time

from bench_checkpoints import checkpoint, texts


def resident():
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    return 0


def random_tokens(vocabulary, count, seed=1):
    import numpy

    return numpy.random.default_rng(seed).integers(0, vocabulary - 1, count).tolist()


class LlamaCpp:
    """llama.cpp through llama-cpp-python's plain bindings."""

    def __init__(self, options, sequences=1):
        import llama_cpp

        self.library, self.options = llama_cpp, options
        llama_cpp.llama_log_set(quiet(llama_cpp), None)
        llama_cpp.llama_backend_init()
        before, self.begin = resident(), time.perf_counter()
        settings = llama_cpp.llama_model_default_params()
        self.model = llama_cpp.llama_model_load_from_file(options.path.encode(), settings)
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = sequences * (options.prompt + 2 * options.generate + 64)
        settings.n_batch = settings.n_ubatch = 512
        settings.n_seq_max = sequences
        settings.n_threads = settings.n_threads_batch = options.threads
        self.context = llama_cpp.llama_init_from_model(self.model, settings)
        if not self.context:
            raise SystemExit(f"llama.cpp does not load {options.path}")
        self.load, self.before = time.perf_counter() - self.begin, before
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.batch = llama_cpp.llama_batch_init(512, 0, 1)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))

    def decode(self, entries):
        """Reads (token, position, sequence, whether its scores are wanted), 512 at most."""
        self.batch.n_tokens = len(entries)
        for index, (token, position, sequence, wanted) in enumerate(entries):
            self.batch.token[index] = token
            self.batch.pos[index] = position
            self.batch.n_seq_id[index] = 1
            self.batch.seq_id[index][0] = sequence
            self.batch.logits[index] = wanted
        if status := self.library.llama_decode(self.context, self.batch):
            raise SystemExit(f"llama_decode answered {status}")
        self.library.llama_synchronize(self.context)

    def read(self, tokens, start=0, sequences=1):
        """Reads tokens into each of some sequences; the scores after the last one are wanted."""
        last = len(tokens) - 1
        entries = [
            (token, start + index, sequence, index == last)
            for sequence in range(sequences)
            for index, token in enumerate(tokens)
        ]
        for first in range(0, len(entries), 512):
            self.decode(entries[first : first + 512])

    def write(self, tokens, start, sequences=1):
        for index, token in enumerate(tokens):
            self.decode([(token, start + index, sequence, True) for sequence in range(sequences)])

    def forget(self):
        self.library.llama_memory_clear(self.memory, True)

    def generation(self):
        options = self.options
        tokens = random_tokens(self.vocabulary, max(options.prompt, options.generate) + 1)
        self.read(tokens[:16])
        ready = time.perf_counter() - self.begin
        self.forget()
        reading = timed(lambda: self.read(tokens[: options.prompt]))
        self.forget()
        self.read(tokens[:1])
        writing = timed(lambda: self.write(tokens[: options.generate], 1))
        return {
            "prompt": options.prompt / reading,
            "answer": options.generate / writing,
            "load": self.load,
            "ready": ready,
            "memory": resident() - self.before,
        }

    def concurrency(self):
        """Requests of 16 tokens each, read and answered: one alone, and all in one batch."""
        options = self.options
        tokens = random_tokens(self.vocabulary, 16 + options.generate)

        def answer(count):
            self.read(tokens[:16], 0, count)
            # The scores after the prompt give the first token of the answer.
            self.write(tokens[16:-1], 16, count)

        answer(1)
        figures = {}
        for name, count in (("one", 1), ("many", options.concurrency)):
            self.forget()
            figures[name] = count * options.generate / timed(lambda: answer(count))
        return figures

    def conversation(self):
        """A prompt, an answer of 16 tokens and 16 more: the second turn as it comes, and unread."""
        options = self.options
        tokens = random_tokens(self.vocabulary, options.prompt + 32)
        self.read(tokens[:16])
        self.forget()
        cold = timed(lambda: self.read(tokens))
        self.forget()
        self.read(tokens[: options.prompt])
        self.write(tokens[options.prompt : options.prompt + 16], options.prompt)
        second = timed(lambda: self.read(tokens[options.prompt + 16 :], options.prompt + 16))
        return {"cold": cold, "second": second}


def quiet(library):
    global nothing
    nothing = library.llama_log_callback(lambda *_: None)
    return nothing


def timed(work):
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def transformers(options):
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(options.threads)
    before, begin = resident(), time.perf_counter()
    model = AutoModelForCausalLM.from_pretrained(options.path, dtype=torch.bfloat16).eval()
    load = time.perf_counter() - begin
    tokens = torch.tensor([random_tokens(model.config.vocab_size, max(options.prompt, options.generate) + 1)])
    with torch.inference_mode():
        model(tokens[:, :16])
        ready = time.perf_counter() - begin
        reading = timed(lambda: model(tokens[:, : options.prompt], logits_to_keep=1))
        past = model(tokens[:, :1]).past_key_values

        def write():
            nonlocal past
            for index in range(options.generate):
                past = model(tokens[:, index : index + 1], past_key_values=past).past_key_values

        writing = timed(write)
    return {
        "prompt": options.prompt / reading,
        "answer": options.generate / writing,
        "load": load,
        "ready": ready,
        "memory": resident() - before,
    }


def sentence_transformers(options):
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(options.threads)
    begin = time.perf_counter()
    model = SentenceTransformer(options.path, device="cpu")
    load = time.perf_counter() - begin
    return embeddings(options, load, lambda texts: model.encode(texts, batch_size=32, show_progress_bar=False))


def onnxruntime(options):
    import numpy
    import onnxruntime
    from tokenizers import Tokenizer

    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = options.threads
    session_options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    graph = exported(pathlib.Path(options.path), pathlib.Path(options.folder))
    begin = time.perf_counter()
    session = onnxruntime.InferenceSession(str(graph), session_options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(f"{options.path}/tokenizer.json")
    longest = json.loads(pathlib.Path(options.path, "sentence_bert_config.json").read_text())["max_seq_length"]
    tokenizer.enable_truncation(longest)
    tokenizer.enable_padding()
    load = time.perf_counter() - begin

    def encode(texts):
        # As sentence-transformers does it: texts of like length share a batch of 32.
        order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
        vectors = numpy.zeros((len(texts), 384), numpy.float32)
        for first in range(0, len(order), 32):
            batch = order[first : first + 32]
            encoded = tokenizer.encode_batch([texts[index] for index in batch])
            mask = numpy.array([text.attention_mask for text in encoded], numpy.int64)
            inputs = {
                "input_ids": numpy.array([text.ids for text in encoded], numpy.int64),
                "attention_mask": mask,
                "token_type_ids": numpy.zeros_like(mask),
            }
            hidden = session.run(None, {input.name: inputs[input.name] for input in session.get_inputs()})[0]
            weights = mask[:, :, None].astype(numpy.float32)
            pooled = (hidden * weights).sum(1) / weights.sum(1)
            vectors[batch] = pooled / numpy.linalg.norm(pooled, axis=1, keepdims=True)
        return vectors

    return embeddings(options, load, encode)


def exported(model, folder):
    """The encoder as an ONNX graph, exported by torch and fused by onnxruntime's own tool."""
    path = folder / f"{model.name}.onnx"
    if path.exists():
        return path
    import torch
    from onnxruntime.transformers.optimizer import optimize_model
    from transformers import AutoModel

    folder.mkdir(parents=True, exist_ok=True)
    encoder = AutoModel.from_pretrained(model, attn_implementation="eager").eval()

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder

        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.encoder(input_ids, attention_mask, token_type_ids).last_hidden_state

    raw = path.with_suffix(".raw.onnx")
    names = ["input_ids", "attention_mask", "token_type_ids"]
    example = tuple(torch.ones((2, 8), dtype=torch.int64) for _ in names)
    torch.onnx.export(
        Encoder(), example, str(raw), input_names=names, output_names=["hidden"], opset_version=17, dynamo=False,
        dynamic_axes={name: {0: "texts", 1: "tokens"} for name in [*names, "hidden"]},
    )
    config = encoder.config
    fused = optimize_model(
        str(raw), model_type="bert", num_heads=config.num_attention_heads, hidden_size=config.hidden_size, opt_level=1
    )
    fused.save_model_to_file(str(path))
    raw.unlink()
    return path


def embeddings(options, load, encode):
    import numpy

    texts = json.loads(pathlib.Path(options.texts).read_text())
    encode(texts[:64])
    begin = time.perf_counter()
    vectors = encode(texts)
    seconds = time.perf_counter() - begin
    numpy.save(options.vectors, vectors)
    singles = sorted(timed(lambda text=text: encode([text])) for text in texts[:: max(1, len(texts) // 50)])
    return {"texts": len(texts) / seconds, "latency": singles[len(singles) // 2], "load": load}


def cosine(left, right):
    import numpy

    def vectors(path):
        if path.endswith(".npy"):
            return numpy.load(path).astype(numpy.float64)
        return numpy.array([json.loads(line) for line in open(path)], numpy.float64)

    left, right = vectors(left), vectors(right)
    norms = numpy.linalg.norm(left, axis=1) * numpy.linalg.norm(right, axis=1)
    return float(((left * right).sum(1) / norms).min())


def describe(peer):
    if peer == "llama.cpp":
        import llama_cpp

        version = importlib.metadata.version("llama-cpp-python")
        # With which instructions it was built says how fair a peer it is.
        return f"llama-cpp-python {version}: {llama_cpp.llama_print_system_info().decode()}"
    packages = {
        "transformers": ["transformers", "torch"],
        "sentence-transformers": ["sentence-transformers", "torch"],
        "onnxruntime": ["onnxruntime"],
    }[peer]
    words = [f"{package} {importlib.metadata.version(package)}" for package in packages]
    if "torch" in packages:
        import torch

        words.append(torch.backends.cpu.get_cpu_capability())
    else:
        import onnxruntime

        words.append(", ".join(onnxruntime.get_available_providers()))
    return ", ".join(words)


def measure(options):
    if options.peer == "llama.cpp":
        sequences = options.concurrency if options.test == "concurrency" else 1
        return getattr(LlamaCpp(options, sequences), options.test)()
    return {
        "transformers": transformers,
        "sentence-transformers": sentence_transformers,
        "onnxruntime": onnxruntime,
    }[options.peer](options)


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("checkpoint")
    command.add_argument("folder", type=pathlib.Path)
    command.add_argument("shape")
    command.add_argument("format")
    command = commands.add_parser("texts")
    command.add_argument("file", type=pathlib.Path)
    command.add_argument("count", type=int)
    command = commands.add_parser("describe")
    command.add_argument("peer")
    command = commands.add_parser("cosine")
    command.add_argument("files", nargs=2)
    command = commands.add_parser("measure")
    command.add_argument("peer")
    command.add_argument("test", choices=["generation", "concurrency", "conversation", "embeddings"])
    command.add_argument("--path", required=True)
    command.add_argument("--folder", help="where what is made on the way may be kept")
    command.add_argument("--prompt", type=int, default=512)
    command.add_argument("--generate", type=int, default=64)
    command.add_argument("--concurrency", type=int, default=8)
    command.add_argument("--threads", type=int, required=True)
    command.add_argument("--texts", help="a file with a JSON list of texts")
    command.add_argument("--vectors", help="where their vectors go (.npy)")
    options = parser.parse_args()
    match options.command:
        case "checkpoint":
            answer = checkpoint(options.folder, options.shape, options.format)
        case "texts":
            options.file.parent.mkdir(parents=True, exist_ok=True)
            options.file.write_text(json.dumps(texts(options.count)))
            answer = {"path": str(options.file)}
        case "describe":
            answer = {"peer": describe(options.peer)}
        case "cosine":
            answer = {"cosine": cosine(*options.files)}
        case "measure":
            answer = measure(options)
    # What libraries print goes before it.
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
