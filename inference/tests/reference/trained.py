"""The model that ships with Codriver, whose weights are trained, with a tokenizer that GGUF files know.

make FOLDER STARTER REQUESTS   writes it into the folder; prints the tokens of some requests, and
                               where transformers' scores after each are (32-bit floats)
run FILE TOKENS OUTPUT         writes llama.cpp's scores after each token of a GGUF file
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np

REQUESTS = 60


def main():
    command, *arguments = sys.argv[1:]
    print(json.dumps({"make": make, "run": run}[command](*arguments)))


def make(folder, starter, requests):
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM
    from vocabularies import byte_level

    folder, starter = Path(folder), Path(starter)
    model = folder / "model"
    # Its own vocabulary is words, which no GGUF file of a decoder has: tokens are given as numbers.
    byte_level().save_pretrained(model)
    for name in ["config.json", "model.safetensors"]:
        shutil.copy(starter / name, model / name)
    words = Tokenizer.from_file(str(starter / "tokenizer.json"))
    lines = Path(requests).read_text().splitlines()
    texts = [json.loads(line)["request"] for line in lines[:: len(lines) // REQUESTS]]
    tokens = [words.encode(f"<tables> <user> {text}").ids for text in texts]
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    with torch.no_grad():
        scores = [network(torch.tensor([list(ids)])).logits[0].numpy() for ids in tokens]
    output = folder / "transformers.f32"
    np.concatenate(scores).astype(np.float32).tofile(output)
    return {"model": str(model), "tokens": tokens, "scores": str(output)}


def run(path, tokens, output):
    import llama_cpp

    model = llama_cpp.Llama(
        path, n_ctx=128, n_batch=128, logits_all=True, verbose=False, type_k=0, type_v=0, flash_attn=False,
        # More would wait for each other longer than they compute.
        n_threads=1, n_threads_batch=1,
    )
    scores = []
    for ids in json.loads(tokens):
        model.reset()
        model.eval(ids)
        scores.append(np.array(model.scores[: len(ids)], dtype=np.float32))
    np.concatenate(scores).tofile(output)
    return str(output)


if __name__ == "__main__":
    main()
