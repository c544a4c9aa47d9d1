"""Writes random checkpoints of several architectures into a folder, and says what transformers
computes with them.

    python decoders.py FOLDER SEED [NAME...]

Prints a list of cases: the scores after each token of a `short` prompt, and the greedy
`continuation` of a long one.
"""

import json
import pathlib
import random
import sys

import torch
from decoder_specs import common, old, specs, terse
from vocabularies import WORDS, byte_level

CONTINUATION = 40
# Two implementations round differently: a choice this close says nothing about either.
TOO_CLOSE = 2e-3


def main():
    folder, seed, names = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    chance = random.Random(seed)
    # Matrices this small are multiplied fastest where they are.
    torch.set_num_threads(1)
    tokenizer = byte_level()
    chosen = [spec for spec in specs(chance) if not names or spec.name in names]
    json.dump([case(folder, spec, tokenizer, chance) for spec in chosen], sys.stdout)


def case(folder, spec, tokenizer, chance):
    settings = {**common(chance), "vocab_size": tokenizer.vocab_size, **spec.settings}
    config = spec.config(**settings)
    config._attn_implementation = config._experts_implementation = "eager"
    while True:
        seed = chance.randrange(1 << 31)
        model = random_model(spec.model, config, seed, spec.dtype)
        short = [chance.randrange(2, tokenizer.vocab_size) for _ in range(chance.randrange(24, 100))]
        # Mostly longer than one prefill step of the engine.
        prompt = " ".join(chance.choice(WORDS) for _ in range(220))
        tokens = tokenizer(prompt)["input_ids"][: spec.prompt]
        prompt = tokenizer.decode(tokens)
        if tokenizer(prompt)["input_ids"] != tokens:
            continue
        continuation, closest = greedy(model, tokens, spec.anew)
        if closest > TOO_CLOSE:
            break
    with torch.no_grad():
        logits = model(torch.tensor([short])).logits[0]
    target = folder / spec.name
    model.to(spec.dtype).save_pretrained(target, max_shard_size=spec.shard, save_original_format=not spec.stacked)
    rewrite(target / "config.json", spec)
    tokenizer.save_pretrained(target)
    end = continuation.index(1) if 1 in continuation else len(continuation)
    return {
        "name": spec.name,
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


def rewrite(path, spec):
    """Writes the configuration in the words of the spec."""
    words = json.loads(path.read_text())
    if spec.words == "old":
        words = old(words)
    elif spec.words == "terse":
        default = spec.config().to_dict()
        if "text_config" in words:
            words = {"model_type": words["model_type"], "text_config": terse(words["text_config"], default["text_config"])}
        else:
            words = terse(words, default)
    path.write_text(json.dumps(words))


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


def greedy(model, tokens, anew):
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
            if anew:
                output = model(torch.tensor([tokens + continuation]))
            else:
                output = model(torch.tensor([[token]]), past_key_values=output.past_key_values, use_cache=True)
    return continuation, closest


if __name__ == "__main__":
    main()
