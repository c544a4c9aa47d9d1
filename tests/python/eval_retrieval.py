"""nDCG@10 of `codriver memory search` by words, by meaning and by both, on collections of unlike character that are made of
what lies on the machine: manual pages, Rust's books and crates, changelogs, Python's sources; and those of
`eval_retrieval_more.py`, of which eight are held out: nothing is tuned with these in sight.

    CODRIVER=target/release/codriver CODRIVER_EMBEDDING_MODEL=... python tests/python/eval_retrieval.py [NAME ...]

Hybrid search must not be worse than the better of its halves. What is not on the machine is left out.
"""

import ast
import glob
import gzip
import html
import json
import math
import os
import random
import re
import subprocess
import sys
import sysconfig
import tempfile

HOME = os.path.expanduser("~")
MAN = "/usr/share/man"
CRATES = f"{HOME}/.cargo/registry/src/*/*"
BOOKS = f"{HOME}/.rustup/toolchains/*/share/doc/rust/html"

# How many documents and queries a collection has at most.
DOCUMENTS, QUERIES = 600, 150


def words(text):
    return text.split()


def read(path):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", errors="replace") as file:
        return file.read()


def tidy(text):
    return re.sub(r"\n\s*\n\s*", "\n\n", re.sub(r"[ \t]+", " ", text)).strip()


# --- manual pages: what a page is for -> the page without that line


def plain_page(source):
    """A page in roff, without its markup."""
    lines = []
    for line in source.split("\n"):
        if re.match(r"^[.'](SH|SS|Sh|Ss)\b", line):
            lines.append("\n" + re.sub(r"^[.']\w+ *", "", line).strip('"'))
        elif not re.match(r"^[.'](\\|(TH|Dd|Dt|Os|de|ds|ie|if|el|nr|ad|nh|hy|so|ne|sp|ft|na|in|ti|fi|nf|RS|RE|PD|ll|br|tr|ig)\b)", line):
            lines.append(re.sub(r"^[.']([A-Z]{1,2}|[A-Z][a-z])( |$)", "", line))
    text = re.sub(r"\\f(\[\w*\]|\(..|.)|\\s[-+]?\d|\\[&/,c|^%]", "", "\n".join(lines)).replace("\\-", "-")
    return tidy(re.sub(r"\\\(..|\\\[\w+\]|\\\*\S|\\e", " ", text).replace("\\ ", " ").replace('"', " "))


def manual(pattern, skip=()):
    pages, queries = {}, {}
    for path in sorted(glob.glob(pattern)):
        name = os.path.basename(path)
        if os.path.islink(path) or name.startswith(tuple(skip)):
            continue
        text = plain_page(read(path))
        found = re.search(r"^(?:NAME|Name|BEZEICHNUNG)\s*\n(.+?)(?:\n\n|\n(?=[A-Z]{4,}))", text, re.M | re.S)
        parts = re.split(r" +-+ +", " ".join(words(found.group(1))), maxsplit=1) if found else []
        body = words(text[: found.start()] + text[found.end() :]) if found else []
        if len(parts) == 2 and len(words(parts[1])) >= 3 and len(body) >= 60 and parts[1].lower() not in queries:
            pages[name] = ("", " ".join(body[:1200]))
            queries[parts[1].lower()] = (parts[1], {name: 1})
    return pages, list(queries.values())


# --- Rust's books


def plain_html(source):
    source = re.sub(r"<(script|style|nav)\b.*?</\1>", "", source, flags=re.S)
    return tidy(html.unescape(re.sub(r"<[^>]+>", "", re.sub(r"</(p|div|li|pre|h\d|tr)>|<br */?>", "\n", source))))


def sections():
    """Headings of the books with the paragraphs under them."""
    folder = sorted(glob.glob(BOOKS))[0]
    for book in ["book", "cargo", "edition-guide", "nomicon", "reference", "rustc", "rustdoc", "style-guide"]:
        for path in sorted(glob.glob(f"{folder}/{book}/**/*.html", recursive=True)):
            body = re.search(r"<main>(.*?)</main>", read(path), re.S)
            if body is None or path.endswith(("print.html", "toc.html", "404.html")):
                continue
            parts = re.split(r"<h[1-4][^>]*>(.*?)</h[1-4]>", body.group(1), flags=re.S)
            for heading, below in zip(parts[1::2], parts[2::2]):
                paragraphs = [plain_html(p) for p in re.findall(r"<(?:p|li|pre)\b[^>]*>(.*?)</(?:p|li|pre)>", below, re.S)]
                yield plain_html(heading), [paragraph for paragraph in paragraphs if len(words(paragraph)) >= 3]


def next_passages(chance):
    """A passage -> the passage after it: long queries."""
    documents, queries = {}, []
    for number, (_, paragraphs) in enumerate(chance.sample(all_sections := list(sections()), len(all_sections))):
        long = [paragraph for paragraph in paragraphs if 50 <= len(words(paragraph)) <= 200]
        for position, passage in enumerate(long[1:4]):
            documents[f"{number}-{position}"] = ("", passage)
        if len(long) >= 2:
            queries.append((long[0], {f"{number}-0": 1}))
        elif long:
            documents[f"{number}"] = ("", long[0])
    return documents, queries


def remarks(chance):
    """A topic -> the long passages on it, among short remarks that say its words: how arguments are found among chatter."""
    documents, queries = {}, []
    topics = [(topic, paragraphs) for topic, paragraphs in sections() if len(words(topic)) >= 2 and sum(map(len, map(words, paragraphs))) >= 150]
    for number, (topic, paragraphs) in enumerate(chance.sample(topics, min(130, len(topics)))):
        passages, passage = [], []
        for paragraph in paragraphs:
            passage.append(paragraph)
            if sum(map(len, map(words, passage))) >= chance.choice([90, 140, 220, 320]):
                passages, passage = passages + ["\n".join(passage)], []
        relevant = {f"long{number}-{position}": ("", text) for position, text in enumerate(passages[:6])}
        sentences = [s for paragraph in paragraphs for s in re.split(r"(?<=[.!?:])\s+", paragraph) if 4 <= len(words(s)) <= 18]
        keys = {word.lower() for word in words(topic) if len(word) > 3}
        sentences.sort(key=lambda sentence: -len(keys & set(re.findall(r"\w+", sentence.lower()))))
        short = [f"See also: {topic}", chance.choice(["I think that ", "What about ", "More on "]) + topic.lower() + "."] + sentences[:6]
        documents |= relevant | {f"short{number}-{position}": ("", text) for position, text in enumerate(short)}
        if relevant:
            queries.append((topic, dict.fromkeys(relevant, 1)))
    return documents, queries


def error_codes(_):
    """What an error says -> its explanation."""
    documents, queries = {}, []
    for path in sorted(glob.glob(sorted(glob.glob(BOOKS))[0] + "/error_codes/E*.html")):
        name = os.path.basename(path)[:-5]
        body = plain_html(re.search(r"<main>(.*?)</main>", read(path), re.S).group(1)).split("\n")
        body = [line for line in body if line.strip() and not line.startswith("Error code") and "no longer emitted" not in line]
        said = [line for line in body if len(words(line)) >= 5]
        if len(said) >= 3:
            documents[name] = ("", "\n".join(line for line in body if line != said[0]))
            queries.append((said[0], {name: 1}))
    return documents, queries


# --- packages


def numbered_changes(pattern):
    """Entries of changelogs, and those that each number in them names."""
    documents, numbers = {}, {}
    for path in sorted(glob.glob("/usr/share/doc/*/changelog.Debian.gz")):
        for position, entry in enumerate(re.split(r"\n -- .*\n+", read(path))[:40]):
            entry, name = tidy(re.sub(r"\n\s+", " ", entry)), f"{path.split('/')[-2]}-{position}"
            if 15 <= len(words(entry)) <= 250:
                documents[name] = ("", entry)
                for number in set(re.findall(pattern, entry)):
                    numbers.setdefault(number, {})[name] = 1
    return documents, numbers


def identifiers(chance):
    """The number of a vulnerability -> the changes that mend it: embedding models know nothing of numbers."""
    documents, numbers = numbered_changes(r"CVE-\d{4}-\d{4,}")
    asked = chance.sample([number for number in sorted(numbers) if len(numbers[number]) <= 4], min(QUERIES, len(numbers)))
    ways = ["{}", "what fixes {}", "security fix for {}", "{} vulnerability"]
    return documents, [(chance.choice(ways).format(number), numbers[number]) for number in asked]


def topics(chance):
    """A keyword -> the crates that have it; of a third there is only a title."""
    documents, keywords = {}, {}
    for folder in sorted(glob.glob(CRATES)):
        try:
            manifest = read(f"{folder}/Cargo.toml")
        except OSError:
            continue
        field = lambda name: re.search(rf'^{name} = (?:"""((?:.|\n)*?)"""|"((?:[^"\\]|\\.)*)")', manifest, re.M)
        name, description = field("name"), field("description")
        if name is None or description is None or name.group(2) in documents:
            continue
        name, description = name.group(2), " ".join(words(description.group(1) or description.group(2)))
        text = ""
        if chance.random() < 2 / 3 and os.path.exists(f"{folder}/README.md"):
            links = r"<[^>]+>|\[!\[.*?\]\(.*?\)\]\(.*?\)|!\[.*?\]\(.*?\)|^\[.*?\]:.*$"
            text = " ".join(words(re.sub(links, "", read(f"{folder}/README.md"), flags=re.M))[: chance.choice([80, 150, 250, 400])])
        documents[name] = (description, text)
        for keyword in re.findall(r'"(.*?)"', (re.search(r"^keywords = \[(.*?)\]", manifest, re.M | re.S) or [""] * 2)[1]):
            keywords.setdefault(keyword.lower().replace("-", " "), {})[name] = 1
    return documents, [(keyword, crates) for keyword, crates in sorted(keywords.items()) if 3 <= len(crates) <= 40]


# --- Python's sources


def functions():
    for path in sorted(glob.glob(sysconfig.get_paths()["stdlib"] + "/**/*.py", recursive=True)):
        if "/test" in path or "/site-packages/" in path:
            continue
        try:
            source = read(path)
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and len(node.body) > 1 and ast.get_docstring(node):
                lines = source.split("\n")
                body = lines[node.lineno - 1 : node.body[0].lineno - 1] + lines[node.body[1].lineno - 1 : node.end_lineno]
                yield node.name, " ".join(words(ast.get_docstring(node).split("\n\n")[0])), "\n".join(body)


def short_texts(_):
    """A function's name in words -> what it does in a sentence."""
    documents, queries = {}, []
    for name, summary, _ in functions():
        said = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).replace("_", " ").lower()
        if 5 <= len(words(summary)) <= 25 and summary not in documents and len(words(said)) >= 2:
            documents[summary] = ("", summary)
            queries.append((said, {summary: 1}))
    return documents, queries


def code(_):
    """What a function does in a sentence -> its source."""
    documents, queries = {}, []
    for _, summary, body in functions():
        if 5 <= len(words(summary)) <= 25 and len(words(body)) >= 20 and summary not in documents:
            documents[summary] = ("", body)
            queries.append((summary, {summary: 1}))
    return documents, queries


COLLECTIONS = {
    "manual-of-commands": lambda _: manual(f"{MAN}/man1/*.gz", skip=["gcloud"]),
    "manual-of-calls": lambda _: manual(f"{MAN}/man[23]/*.gz"),
    "manual-in-german": lambda _: manual(f"{MAN}/de/man*/*.gz"),
    "next-passages": next_passages,
    "remarks": remarks,
    "error-codes": error_codes,
    "identifiers": identifiers,
    "topics": topics,
    "short-texts": short_texts,
    "code": code,
}


def sampled(documents, queries, chance, sizes=(DOCUMENTS, QUERIES)):
    """So many queries, what they ask for, and others, in an order that says nothing."""
    queries = chance.sample(queries, min(sizes[1], len(queries)))
    kept = {name for _, relevant in queries for name in relevant}
    others = [name for name in documents if name not in kept]
    kept |= set(chance.sample(others, max(0, min(len(others), sizes[0] - len(kept)))))
    numbers = {name: f"d{number}" for number, name in enumerate(chance.sample(sorted(kept), len(kept)))}
    records = [{"id": numbers[name], "title": documents[name][0], "text": documents[name][1]} for name in sorted(kept, key=numbers.get)]
    asked = [{"id": f"q{number}", "query": query} for number, (query, _) in enumerate(queries)]
    relevant = {f"q{number}": {numbers[name] for name in names} for number, (_, names) in enumerate(queries)}
    return records, asked, relevant


def ndcg(found, relevant, k=10):
    gain = sum(1 / math.log2(2 + rank) for rank, name in enumerate(found[:k]) if name in relevant)
    return gain / sum(1 / math.log2(2 + rank) for rank in range(min(k, len(relevant))))


def measure(name, records, asked, relevant):
    codriver = os.environ.get("CODRIVER", "codriver")
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"CODRIVER_DATA_DIR": folder}
        for file, lines in [("documents.jsonl", records), ("queries.jsonl", asked)]:
            with open(f"{folder}/{file}", "w") as out:
                out.writelines(json.dumps(line) + "\n" for line in lines)
        run = lambda *arguments: subprocess.run([codriver, "memory", *arguments, "-q"], env=environment, check=True, capture_output=True, text=True).stdout
        run("import", f"{folder}/documents.jsonl", "-c", name)
        figures = {}
        for mode in ["lexical", "vector", "hybrid"]:
            lines = run("search", "-c", name, "--mode", mode, "--batch", f"{folder}/queries.jsonl", "-k", "10", "--json").splitlines()
            found = {line["id"]: [hit["id"] for hit in line["results"]] for line in map(json.loads, lines)}
            figures[mode] = sum(ndcg(found[query], names) for query, names in relevant.items()) / len(relevant)
        return figures


def main():
    from eval_retrieval_more import HELD_OUT, SEEN, SIZES

    worse, collections = [], COLLECTIONS | SEEN | HELD_OUT
    print(f"{'':20} documents queries  lexical  vector  hybrid  over the better half")
    for name in sys.argv[1:] or collections:
        chance = random.Random(name)
        try:
            documents, queries = collections[name](chance)
        except IndexError:
            documents, queries = {}, []
        if len(queries) < 20:
            print(f"{name:20} is not on this machine")
            continue
        sizes = (DOCUMENTS, QUERIES) if name in COLLECTIONS else SIZES.get(name, (1500, 150))
        records, asked, relevant = sampled(documents, queries, chance, sizes)
        figures = measure(name, records, asked, relevant)
        over = figures["hybrid"] - max(figures["lexical"], figures["vector"])
        print(f"{name:20} {len(records):9} {len(asked):7} {figures['lexical']:8.3f} {figures['vector']:7.3f} {figures['hybrid']:7.3f} {over:+8.3f}{'  held out' if name in HELD_OUT else ''}", flush=True)
        worse += [name] if over < -0.005 else []
    if worse:
        sys.exit(f"hybrid search is worse than its better half on {', '.join(worse)}")


if __name__ == "__main__":
    main()
