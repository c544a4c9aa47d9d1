"""Writes random embedding models of several architectures into a folder, as sentence-transformers
does, and says what transformers computes with them, the modules after the encoder in torch.

    python encoders.py FOLDER SEED [NAME...]

Prints a list of cases: texts, and their vectors when embedded as {prompt name: vectors}.
"""

import json
import pathlib
import random
import sys

import torch
from transformers import (
    AutoModel,
    BertConfig,
    DistilBertConfig,
    ModernBertConfig,
    MPNetConfig,
    RobertaConfig,
    XLMRobertaConfig,
)
from safetensors.torch import save_file
from vocabularies import WORDS, word_piece

HIDDEN = 48
BERT = dict(hidden_size=HIDDEN, num_hidden_layers=3, num_attention_heads=4, intermediate_size=80, max_position_embeddings=64)
DISTIL = dict(dim=HIDDEN, n_layers=2, n_heads=6, hidden_dim=72, max_position_embeddings=64)
# Positions of the RoBERTa family begin behind the padding token, so two are never used.
ROBERTA = {**BERT, "max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
MODERN = dict(
    hidden_size=HIDDEN,
    num_hidden_layers=4,
    num_attention_heads=4,
    intermediate_size=64,
    max_position_embeddings=1500,
    local_attention=16,
    pad_token_id=1,
    bos_token_id=0,
    eos_token_id=2,
    cls_token_id=0,
    sep_token_id=2,
)
POOLING = ["cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]
# Name: configuration, pooling modes, modules after it, other settings.
SPECS = {
    "bert": (BertConfig(**BERT, vocab_size=300), ["mean_tokens"], ["Normalize"], {}),
    "bert-tanh": (BertConfig(**{**BERT, "hidden_act": "gelu_new"}, vocab_size=300), ["cls_token"], ["Dense"], dict(dense=dict(out=20, bias=True, activation="torch.nn.modules.activation.Tanh"))),
    "bert-all": (BertConfig(**BERT, vocab_size=300), POOLING, ["LayerNorm", "Dense", "Normalize"], dict(dense=dict(out=33, bias=False, activation="torch.nn.modules.linear.Identity"), longest=30)),
    "distilbert": (DistilBertConfig(**DISTIL, vocab_size=300), ["max_tokens"], [], dict(lower=True)),
    "roberta": (RobertaConfig(**ROBERTA, vocab_size=300), ["mean_sqrt_len_tokens"], ["Dense"], dict(dense=dict(out=HIDDEN, bias=True, activation="torch.nn.modules.activation.GELU", residual=True))),
    "xlm-roberta": (XLMRobertaConfig(**ROBERTA, vocab_size=300), ["weightedmean_tokens", "lasttoken"], ["Normalize"], dict(subfolder="0_Transformer")),
    "mpnet": (MPNetConfig(**{**BERT, "max_position_embeddings": 300}, vocab_size=300), ["mean_tokens"], ["Normalize"], {}),
    "modernbert": (ModernBertConfig(**MODERN, vocab_size=300), ["cls_token"], ["Normalize"], {}),
    "modernbert-biased": (
        ModernBertConfig(
            **{**MODERN, "local_attention": 6, "num_hidden_layers": 5},
            vocab_size=300,
            attention_bias=True,
            mlp_bias=True,
            norm_bias=True,
            global_attn_every_n_layers=2,
        ),
        ["mean_tokens"],
        ["Normalize"],
        dict(old_rope=True, prompts=True, include_prompt=False),
    ),
}
PROMPTS = {"query": "the words to search: ", "passage": "rows ", "clustering": "and "}


def main():
    folder, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(seed)
    torch.manual_seed(seed)
    tokenizer = word_piece()
    names = sys.argv[3:] or SPECS
    json.dump([case(folder / name, name, *SPECS[name], tokenizer, chance) for name in names], sys.stdout)


def case(folder, name, config, pooling, after, other, tokenizer, chance):
    encoder = random_model(config)
    target = folder / other.get("subfolder", "")
    encoder.save_pretrained(target)
    tokenizer.save_pretrained(target)
    if other.get("old_rope"):
        rewrite_as_older(target / "config.json", encoder)
    window = config.max_position_embeddings - (2 if "padding_idx" in dir(encoder.embeddings) else 0)
    longest = other.get("longest", window)
    lower = other.get("lower", False)
    (target / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": longest, "do_lower_case": lower}))
    modules = [("Transformer", other.get("subfolder", "")), ("Pooling", "1_Pooling")]
    modules += [(kind, f"{index}_{kind}") for index, kind in enumerate(after, 2)]
    (folder / "modules.json").write_text(
        json.dumps(
            [
                dict(idx=index, name=str(index), path=path, type=f"sentence_transformers.models.{kind}")
                for index, (kind, path) in enumerate(modules)
            ]
        )
    )
    (folder / "1_Pooling").mkdir()
    settings = {f"pooling_mode_{mode}": mode in pooling for mode in POOLING}
    settings |= {"word_embedding_dimension": HIDDEN, "include_prompt": other.get("include_prompt", True)}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    steps = []
    size = HIDDEN * len(pooling)
    for kind, path in modules[2:]:
        (folder / path).mkdir()
        step, size = write_step(kind, folder / path, size, other)
        steps.append(step)
    prompts = {"default": ""}
    if other.get("prompts"):
        prompts |= PROMPTS
        (folder / "config_sentence_transformers.json").write_text(
            json.dumps({"prompts": PROMPTS, "default_prompt_name": "clustering"})
        )
        prompts["default"] = PROMPTS["clustering"]
    texts = random_texts(chance)

    def embed(prompt):
        batch = [(prompt + text).strip() for text in texts]
        batch = [text.lower() for text in batch] if lower else batch
        inputs = tokenizer(batch, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        inputs.pop("token_type_ids", None)
        with torch.no_grad():
            hidden = encoder(**inputs).last_hidden_state
            mask = inputs["attention_mask"].clone()
            if prompt and not other.get("include_prompt", True):
                # All tokens of the prompt but the one that ends it.
                mask[:, : len(tokenizer(prompt.strip())["input_ids"]) - 1] = 0
            vectors = torch.cat([pool(mode, hidden, mask) for mode in POOLING if mode in pooling], 1)
            for step in steps:
                vectors = step(vectors)
        return vectors.tolist()

    return {
        "name": name,
        "folder": str(folder),
        "dimensions": size,
        "texts": texts,
        "vectors": {prompt: embed(text) for prompt, text in prompts.items()},
    }


def pool(mode, hidden, mask):
    weights = mask.unsqueeze(-1).float()
    positions = torch.arange(hidden.shape[1])
    if mode == "cls_token":
        return hidden[torch.arange(len(hidden)), mask.argmax(1)]
    if mode == "lasttoken":
        return hidden[torch.arange(len(hidden)), (positions * mask).argmax(1)]
    if mode == "max_tokens":
        return hidden.masked_fill(weights == 0, float("-inf")).max(1).values
    if mode == "weightedmean_tokens":
        weights = weights * (positions + 1)[None, :, None]
    total = (hidden * weights).sum(1)
    count = weights.sum(1).clamp(min=1e-9)
    return total / (count.sqrt() if mode == "mean_sqrt_len_tokens" else count)


def write_step(kind, folder, size, other):
    if kind == "Normalize":
        return lambda vectors: torch.nn.functional.normalize(vectors, dim=1), size
    if kind == "LayerNorm":
        norm = randomize(torch.nn.LayerNorm(size))
        (folder / "config.json").write_text(json.dumps({"dimension": size}))
        save_file({f"norm.{name}": value for name, value in norm.state_dict().items()}, folder / "model.safetensors")
        return norm, size
    dense = other["dense"]
    linear = randomize(torch.nn.Linear(size, dense["out"], bias=dense["bias"]))
    residual = dense.get("residual", False)
    config = dict(
        in_features=size, out_features=dense["out"], bias=dense["bias"], activation_function=dense["activation"], use_residual=residual
    )
    (folder / "config.json").write_text(json.dumps(config))
    save_file({f"linear.{name}": value for name, value in linear.state_dict().items()}, folder / "model.safetensors")
    activation = getattr(torch.nn, dense["activation"].split(".")[-1])()
    return lambda vectors: activation(linear(vectors)) + (vectors if residual else 0), dense["out"]


def random_model(config):
    return randomize(AutoModel.from_config(config)).eval()


def randomize(module):
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            # Fresh norms are all ones and fresh biases all zeros, which would hide mistakes.
            if parameter.dim() < 2:
                parameter.add_(torch.randn_like(parameter) * 0.2)
            else:
                parameter.copy_(torch.randn_like(parameter) * (1.0 if "embeddings" in name or "relative" in name else 0.25))
    return module


def rewrite_as_older(path, encoder):
    """The keys that ModernBERT's files had before `layer_types` and `rope_parameters`."""
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config.pop("layer_types")
    config["global_rope_theta"] = rope["full_attention"]["rope_theta"]
    config["local_rope_theta"] = rope["sliding_attention"]["rope_theta"]
    config["global_attn_every_n_layers"] = 2
    path.write_text(json.dumps(config))


def random_texts(chance):
    lengths = [0, 1, 2, 5, 9, 14, 20, 33, 60, 61, 62, 63, 64, 90, 150, 250, 600]
    texts = [" ".join(chance.choice(WORDS) for _ in range(length)) for length in lengths]
    texts += ["   ", " \t rows of words \n", "<pad> the <pad>"]
    chance.shuffle(texts)
    return texts


if __name__ == "__main__":
    main()
