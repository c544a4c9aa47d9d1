"""Tokenizers for random models: small, trained on a line of words, as `tokenizer.json` has them."""

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

WORDS = """the rows of a table and what they add up to größer naïve 数据 данные Select COUNT from where
Revenue customers orders by month why did it drop last week? name 1 ünïcödé 🙂 <pad> search words
{"name": 1} fn main() -> x""".split()


def byte_level():
    """320 tokens as decoders have them, cut as GPT-2's are; `<s>` is 0 and `</s>` is 1."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    train(tokenizer, trainers.BpeTrainer, 320, ["<s>", "</s>"], initial_alphabet=alphabet)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def word_piece():
    """150 tokens as encoders have them, a text between `<s>` and `</s>`."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    train(tokenizer, trainers.WordPieceTrainer, 150, ["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def train(tokenizer, trainer, size, special, **settings):
    trainer = trainer(vocab_size=size, special_tokens=special, show_progress=False, **settings)
    tokenizer.train_from_iterator([" ".join(WORDS)] * 3, trainer)
