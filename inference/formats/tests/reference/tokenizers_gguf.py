"""What llama.cpp and the `tokenizers` library make of texts, with vocabularies made for the test.

bpe FOLDER SEED NAMES     a byte-level BPE for each pre-tokenizer's name (comma-separated)
others FOLDER SEED GIVEN  SentencePiece's BPE, WordPiece, unigram with a character map, and the files in GIVEN
json FOLDER SEED          `tokenizer.json` files of each kind, and what their library makes of texts

Vocabularies are trained (BPE without any words, so that the words a pre-tokenizer cuts show in
every token) or drawn from the texts. Printed: [{path, cases: [{text, special, control, ids}]}].
"""

import ctypes
import json
import os
import random
import struct
import sys
import unicodedata
from pathlib import Path

import gguf
import llama_cpp
from gguf import TokenType
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

TEXTS = 120
# Code points that Unicode has had for long: both tables know them.
ASSIGNED = [c for c in range(0x20, 0x30000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]


def main():
    command, *arguments = sys.argv[1:]
    # llama.cpp writes to both streams.
    result_stream = os.dup(1)
    os.dup2(2, 1)
    llama_cpp.llama_log_set(SILENT, ctypes.c_void_p(0))
    result = json.dumps({"bpe": bpe, "others": others, "json": tokenizer_json}[command](*arguments))
    with os.fdopen(result_stream, "w") as stream:
        stream.write(result)


SILENT = llama_cpp.llama_log_callback(lambda level, text, data: None)

PIECES = [
    "Hello", "world", "I'll", "don't", "WE'VE", "it'S", "'re", "'tis", "the", "quick", "CamelCase", "HTTPServer",
    "ÉCOLE", "école", "Größe", "ФРАЗА", "фраза", "ελλάδα", "Ünïcödé", "İstanbul", "ſtraße", "ǅungla",
    "你好", "世界", "こんにちは", "カタカナ", "ｶﾀｶﾅ", "한국어", "가나다", "ที่นี่", "ខ្មែរ", "हिन्दी", "বাংলা", "ไทย",
    "עברית", "العربية", "Việt", "Cửa", "e\u0301\u0302", "a\u0308", "\u0301", "\u200d", "\u200b", "\ufeff", "\ufffd",
    "1", "12", "123", "1234", "12345", "1234567", "3.14", "1,000,000", "²³", "½", "Ⅷ", "٣٤٥", "①②③④",
    " ", "  ", "   ", "    ", "        ", " " * 33, "\t", "\t\t", "\n", "\n\n", "\n\n\n", "\r\n", "\r", " \n", "\n ",
    "\u00a0", "\u2003", "\u3000", "\u2028", "\u0085", "\x0b", "\x0c", "\x00", "\x01", "\x1c", "\x1f", "\x7f",
    ".", ",", "...", "!?", "()", "[]", "{}", "<>", "//", "/*", "*/", "==", "->", "$", "€", "+", "^", "~", "|", "`", "``",
    "_", "__", "-", "--", "—", "…", "“", "”", "‘", "’", "。", "、", "，", "！", "？", "：", "；", "《", "》", "।", "۔", "،", "·",
    "#include", "<|im_start|>", "<|user|>", "<sentinel:12>", "IMGIMGABCZ", "http://a.b/c?d=e&f=1", "user@host",
    "🚀", "😶‍🌫️", "✅", "👨‍👩‍👧", "🇺🇸", "𝔘𝔫𝔦", "𠀀", "ﬁ", "ℌ", "Å", "ª", "ʰ", "々", "〆", "ー", "ㄅㄆ", "ㄱㄴ",
]


def random_text(chance):
    kind = chance.random()
    if kind < 0.08:
        return "".join(chr(chance.choice(ASSIGNED)) for _ in range(chance.randint(1, 20)))
    if kind < 0.16:
        return "".join(chance.choice(" \n\r\t1a'") for _ in range(chance.randint(1, 30)))
    parts = []
    for _ in range(chance.randint(1, 14)):
        part = chance.choice(PIECES)
        if chance.random() < 0.15:
            part = chance.choice([part.upper(), part.lower(), part * 2, part[::-1]])
        if chance.random() < 0.1:
            part = chr(chance.choice(ASSIGNED))
        parts.append(part)
    return chance.choice(["", " "]).join(parts)


FIXED = ["", " ", "a", "\n", "  a", "a  ", "\n\n\n\n \n\n\n", "aaaaaaaaaaaaaaaa" * 8, " " * 700 + "x", "1" * 50,
         " \r\n\r\n x", "'s't're'LL", "x\u0301\u0301y", "12 345 6789 ", "a 1  22\t333\n4444"]


def bpe(folder, seed, names):
    chance = random.Random(int(seed))
    texts = FIXED + [random_text(chance) for _ in range(TEXTS)]
    training = [random_text(chance) for _ in range(3000)]
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trained.train_from_iterator(training, trainers.BpeTrainer(
        vocab_size=1800, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    model = json.loads(trained.to_str())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    added = [("<|begin|>", TokenType.CONTROL), ("<|im_end|>", TokenType.NORMAL), ("  ", TokenType.USER_DEFINED),
             ("<|user|>", TokenType.USER_DEFINED), ("user", TokenType.USER_DEFINED), ("<mask>", TokenType.CONTROL)]
    kinds = [TokenType.NORMAL] * len(tokens) + [kind for _, kind in added]
    begin = len(tokens)
    tokens += [text for text, _ in added if text not in model["vocab"]]
    results = []
    for name in names.split(","):
        path = Path(folder) / f"{name or 'none'}.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_tokenizer_model("gpt2")
        if name:
            writer.add_tokenizer_pre(name)
        writer.add_token_list(tokens)
        writer.add_token_types(kinds)
        writer.add_token_merges(merges)
        writer.add_bos_token_id(begin)
        writer.add_eos_token_id(begin + 1)
        finish(writer)
        result = ask_llama(path, texts, chance, pieces=name in HUGGING_FACE)
        if name in HUGGING_FACE:
            result["cases"] += ask_tokenizers(model, HUGGING_FACE[name], chance)
        results.append(result)
    return results


# The patterns of tokenizer.json files that llama.cpp's are made after, for texts on which both agree.
HUGGING_FACE = {
    "gpt-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama-bpe": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                 r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
             r"|\s*[\r\n]+|\s+(?!\S)|\s+",
}


def ask_tokenizers(model, pattern, chance):
    tokenizer = Tokenizer(models.BPE(
        vocab=model["vocab"], merges=[tuple(merge) for merge in model["merges"]],
        ignore_merges="{1,3}" in pattern))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    cases = []
    for _ in range(TEXTS):
        text = random_text(chance)
        # What the vocabulary here has beside the trained one.
        if any(part in text for part in ("  ", "user", "'\u017f")):
            continue
        cases.append({"text": text, "special": False, "control": False, "ids": tokenizer.encode(text).ids})
    return cases


def others(folder, seed, given):
    chance = random.Random(int(seed))
    folder = Path(folder)
    texts = FIXED + [random_text(chance) for _ in range(TEXTS)]
    return ([sentence_piece(folder, chance, texts, prefix) for prefix in (True, False)]
            + [word_piece(folder, chance, texts, lowercase) for lowercase in (None, False)]
            + [unigram(folder, chance, texts, *flags) for flags in ((True, True), (True, False), (False, False))]
            + [ask_llama(path, texts, chance) for path in sorted(Path(given).glob("*.gguf"))])


def substrings(chance, texts, count, longest):
    found = set()
    while len(found) < count:
        text = chance.choice(texts)
        if text:
            start = chance.randrange(len(text))
            found.add(text[start:start + chance.randint(1, longest)])
    return sorted(found)


def sentence_piece(folder, chance, texts, prefix):
    path = folder / f"sentence-piece-{prefix}.gguf"
    escaped = [text.replace(" ", "▁") for text in texts]
    added = [("<unk>", TokenType.UNKNOWN), ("<s>", TokenType.CONTROL), ("</s>", TokenType.CONTROL)]
    added += [(f"<0x{byte:02X}>", TokenType.BYTE) for byte in range(256)]
    added += [("<|user|>", TokenType.USER_DEFINED), ("\n\n", TokenType.USER_DEFINED), ("<|im_end|>", TokenType.NORMAL),
              ("<|endoftext|>", TokenType.CONTROL)]
    known = {text for text, _ in added}
    drawn = [text for text in substrings(chance, escaped, 2500, 7) if text not in known and "\x00" not in text]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text for text, _ in added] + drawn)
    # Few different scores: ties matter.
    scores = [0.0] * len(added) + [float(-chance.randint(0, 40)) / 4 for _ in drawn]
    writer.add_token_scores(scores)
    writer.add_token_types([kind for _, kind in added] + [TokenType.NORMAL] * len(drawn))
    writer.add_add_space_prefix(prefix)
    if not prefix:
        writer.add_string("general.name", "A Phi-3 look-alike")
        writer.add_add_eos_token(True)
    finish(writer)
    result = ask_llama(path, texts, chance)
    if prefix:
        kinds = [TokenType.CONTROL if text == "<|im_end|>" else kind for text, kind in added]
        pieces = list(zip([text for text, _ in added] + drawn, scores, kinds + [TokenType.NORMAL] * len(drawn)))
        result["model"] = sentence_piece_model(path, pieces, model_type=2, unknown=0, beginning=1, end=2, merged=False)
    return result


def word_piece(folder, chance, texts, lowercase):
    path = folder / f"word-piece-{lowercase}.gguf"
    added = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [word for text in texts for word in (text.lower() if lowercase is None else text).split()]
    words += [unicodedata.normalize("NFD", word) for word in words]
    drawn = substrings(chance, words, 1500, 5) + sorted({character for word in words for character in word})
    drawn = sorted({chance.choice(["▁", ""]) + text for text in drawn for _ in range(2)} - {""})
    drawn = [text for text in drawn if "\x00" not in text]
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_tokenizer_model("bert")
    writer.add_token_list(added + drawn)
    writer.add_token_types([TokenType.CONTROL] * len(added) + [TokenType.NORMAL] * len(drawn))
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_mask_token_id(4)
    if lowercase is not None:
        writer.add_bool("tokenizer.ggml.normalizer.lowercase", lowercase)
    finish(writer)
    return ask_llama(path, texts, chance)


def unigram(folder, chance, texts, prefix, merged):
    path = folder / f"unigram-{prefix}-{merged}.gguf"
    added = [("<pad>", TokenType.CONTROL), ("</s>", TokenType.CONTROL), ("<unk>", TokenType.UNKNOWN),
             ("<|user|>", TokenType.USER_DEFINED), ("<extra>", TokenType.UNUSED)]
    known = {text for text, _ in added}
    escaped = [unicodedata.normalize("NFKC", text).replace(" ", "▁") for text in texts]
    drawn = [text for text in substrings(chance, escaped, 2500, 6) if text not in known and "\x00" not in text]
    writer = gguf.GGUFWriter(path, "t5")
    writer.add_tokenizer_model("t5")
    writer.add_token_list([text for text, _ in added] + drawn)
    scores = [0.0] * len(added) + [-chance.uniform(1, 12) for _ in drawn]
    writer.add_token_scores(scores)
    writer.add_token_types([kind for _, kind in added] + [TokenType.NORMAL] * len(drawn))
    writer.add_unk_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(0)
    writer.add_add_space_prefix(prefix)
    writer.add_remove_extra_whitespaces(merged)
    changed = {}
    for text in texts:
        for character in text:
            mapped = unicodedata.normalize("NFKC", character)
            if mapped != character and character != "\x00":
                changed[character] = mapped
    changed |= {"\t": " ", "\n": " ", "e\u0301": "é", "a\u0308": "ä", "\x01": "", "...": "…"}
    characters = character_map(changed)
    writer.add_precompiled_charsmap(characters)
    finish(writer)
    result = ask_llama(path, texts, chance)
    if prefix:
        pieces = list(zip([text for text, _ in added] + drawn, scores,
                          [kind for _, kind in added] + [TokenType.NORMAL] * len(drawn)))
        result["model"] = sentence_piece_model(
            path, pieces, model_type=1, unknown=2, beginning=-1, end=1, merged=merged, characters=characters)
    return result


def sentence_piece_model(path, pieces, model_type, unknown, beginning, end, merged, characters=b""):
    """SentencePiece's own file, with only the fields that matter."""

    def number(value):
        value &= (1 << 64) - 1
        encoded = bytearray()
        while value >= 0x80:
            encoded.append(value & 0x7F | 0x80)
            value >>= 7
        return bytes(encoded) + bytes([value])

    def integer(field, value):
        return number(field << 3) + number(value)

    def data(field, value):
        return number(field << 3 | 2) + number(len(value)) + value

    written = b"".join(
        data(1, data(1, text.encode()) + number(2 << 3 | 5) + struct.pack("<f", score) + integer(3, int(kind)))
        for text, score, kind in pieces)
    written += data(2, data(1, b"corpus.txt") + integer(3, model_type) + integer(40, unknown)
                    + integer(41, beginning) + integer(42, end) + integer(43, -1))
    written += data(3, data(1, b"name") + data(2, characters) + integer(3, 1) + integer(4, int(merged)))
    model = path.with_suffix(".model")
    model.write_bytes(written)
    return str(model)


def tokenizer_json(folder, seed):
    chance = random.Random(int(seed))
    training = [random_text(chance) for _ in range(1500)]
    special = ["<s>", "</s>", "<unk>"]
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    kinds = {}
    bytes_ = Tokenizer(models.BPE())
    bytes_.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_.decoder = decoders.ByteLevel()
    kinds["bytes"] = bytes_, trainers.BpeTrainer(
        vocab_size=900, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False)
    spaces = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    spaces.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    spaces.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    kinds["spaces"] = spaces, trainers.BpeTrainer(
        vocab_size=900, special_tokens=special + byte_tokens, limit_alphabet=150, show_progress=False)
    results = []
    for name, (tokenizer, trainer) in kinds.items():
        tokenizer.train_from_iterator(training, trainer)
        content = json.loads(tokenizer.to_str())
        # Byte tokens are no added tokens.
        content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] in special]
        path = Path(folder) / name
        path.mkdir()
        (path / "tokenizer.json").write_text(json.dumps(content))
        (path / "tokenizer_config.json").write_text(json.dumps(
            {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "unk_token": "<unk>"}))
        tokenizer = Tokenizer.from_str(json.dumps(content))
        cases = []
        for text in FIXED + [random_text(chance) for _ in range(TEXTS)]:
            ids = tokenizer.encode(text).ids
            cases.append({"text": text, "special": False, "control": False, "ids": ids,
                          "decoded": tokenizer.decode(ids, skip_special_tokens=False)})
        results.append({"path": str(path), "cases": cases, "ends": [tokenizer.token_to_id("</s>")]})
    return results


def character_map(replacements):
    """SentencePiece's precompiled form: a double array whose nodes' children lie at `base ^ byte`,
    no two bases the same."""
    blob, positions = b"", {}
    for text in sorted(set(replacements.values())):
        positions[text] = len(blob)
        blob += text.encode() + b"\0"
    tree = {}
    for key, value in replacements.items():
        node = tree
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = positions[value]
    units, used, bases = [0] * 256, {0}, set()

    def place(node, position):
        base = 1
        while position ^ base in bases or any((position ^ base ^ byte) in used for byte in node):
            base += 1
        bases.add(position ^ base)
        units.extend([0] * (((position ^ base) | 0xFF) + 1 - len(units)))
        units[position] |= base << 10
        for byte in node:
            used.add(position ^ base ^ byte)
        for byte, child in node.items():
            target = position ^ base ^ byte
            if byte == 0:
                units[position] |= 1 << 8
                units[target] = child | 1 << 31
            else:
                units[target] |= byte
                place(child, target)

    place(tree, 0)
    array = struct.pack(f"<{len(units)}I", *units)
    return struct.pack("<I", len(array)) + array + blob


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def ask_llama(path, texts, chance, pieces=True):
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
    if not model:
        raise SystemExit(f"llama.cpp can't read {path}")
    vocabulary = llama_cpp.llama_model_get_vocab(model)
    cases = []
    for text in texts:
        special, control = chance.random() < 0.3, chance.random() < 0.3
        if chance.random() < 0.15:
            cut = chance.randint(0, len(text))
            text = text[:cut] + chance.choice(["</s>", "<|im_end|>", "<|begin|> ", "[MASK]", "<mask>"]) + text[cut:]
        encoded = text.encode()
        buffer = (llama_cpp.llama_token * (len(encoded) * 4 + 16))()
        count = llama_cpp.llama_tokenize(
            vocabulary, encoded, len(encoded), buffer, len(buffer), special, control)
        assert count >= 0, (path, text, count)
        cases.append({"text": text, "special": special, "control": control, "ids": buffer[:count]})
    ends = [token for token in range(llama_cpp.llama_vocab_n_tokens(vocabulary))
            if llama_cpp.llama_vocab_is_eog(vocabulary, token)]
    result = {"path": str(path), "cases": cases, "ends": ends}
    if pieces:
        result["pieces"] = [piece(vocabulary, token) for token in range(llama_cpp.llama_vocab_n_tokens(vocabulary))]
    llama_cpp.llama_model_free(model)
    return result


def piece(vocabulary, token):
    buffer = ctypes.create_string_buffer(4096)
    length = llama_cpp.llama_token_to_piece(vocabulary, token, buffer, len(buffer), 0, True)
    return list(buffer.raw[:length])


main()
