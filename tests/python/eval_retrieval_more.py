"""More collections for `eval_retrieval.py`: packages of Debian, documentation inside Python packages, info pages, Rust's
library, changelogs, this repository's history.

The collections of Debian's packages are made of apt's lists, long descriptions included:

    mkdir -p LISTS/partial && apt-get -o Dir::State::Lists=LISTS -o Acquire::Languages=en update
    RETRIEVAL_APT_LISTS=LISTS python tests/python/eval_retrieval.py packages tags same-thing applications
"""

import ast
import functools
import glob
import gzip
import html
import os
import re
import subprocess
import sysconfig

from eval_retrieval import BOOKS, numbered_changes, plain_html, read, words

SITE = sysconfig.get_paths()["purelib"]


def one_line(text):
    return " ".join(words(text))


# --- Debian's packages


def apt_list(kind):
    found = glob.glob(f"{os.environ.get('RETRIEVAL_APT_LISTS', '/var/lib/apt/lists')}/*debian_dists_*_main_{kind}")
    if not found:
        raise IndexError("apt has no such list")
    return subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", min(found, key=len)], capture_output=True, text=True, check=True).stdout


@functools.cache
def descriptions():
    """Of each package a line and what it says below."""
    found = {}
    for part in apt_list("i18n_Translation-en*").split("\n\n"):
        if package := re.match(r"Package: (\S+)\n(?:.*\n)*?Description-en: (.*)\n((?: .*\n?)*)", part):
            found[package.group(1)] = (package.group(2).strip(), one_line(re.sub(r"^ \.$", "", package.group(3), flags=re.M)))
    return found


@functools.cache
def applications_of_debian():
    """Package, summary and description, as the applications' authors wrote them."""
    lists = os.environ.get("RETRIEVAL_APT_LISTS", "/var/lib/apt/lists")
    found = {}
    for part in gzip.open(glob.glob(f"{lists}/*Components*.gz")[0], "rt").read().split("\n---\n"):
        field = lambda name: re.search(rf"^{name}:\n(?:  .*\n|\n)*?  C: (.*)\n((?:    .*\n|\n)*)", part, re.M)
        package, summary, description = re.search(r"^Package: (\S+)", part, re.M), field("Summary"), field("Description")
        clean = lambda found: one_line(html.unescape(re.sub(r"<[^>]+>", " ", found.group(1).lstrip(">|-") + " " + found.group(2)))).strip("'\" ")
        if package and summary and re.search(r"^Type: desktop", part, re.M):
            found[clean(summary)] = (package.group(1), clean(description) if description else "")
    return [(package, summary, description) for summary, (package, description) in found.items()]


def packages(_):
    """What a package is in a line -> what it says below, under its name."""
    documents = {name: (name, long) for name, (_, long) in descriptions().items() if len(words(long)) >= 25}
    queries = {short.lower(): (short, {name: 1}) for name, (short, _) in reversed(descriptions().items()) if name in documents and len(words(short)) >= 4}
    return documents, [query for query in queries.values() if not min(query[1]).startswith("lib")]


def tags(_):
    """One or two tags of debtags -> the packages that have them: many for a query."""
    tagged, documents = {}, {}
    facets = {"use", "works-with", "works-with-format", "field", "game", "protocol", "sound", "hardware", "network", "biology", "security", "mail", "web", "admin", "devel"}
    for part in apt_list("binary-*_Packages*").split("\n\n"):
        name, of = re.match(r"Package: (\S+)", part), re.search(r"\nTag: (.*\n?(?: .*\n?)*)", part)
        if name and of and name.group(1) in descriptions():
            documents[name.group(1)] = ("", ". ".join(descriptions()[name.group(1)]))
            own = sorted(tag for tag in set(re.findall(r"[\w-]+::[\w+:.-]+", of.group(1))) if tag.split("::")[0] in facets)
            for position, tag in enumerate(own):
                for pair in [(tag,)] + [(tag, other) for other in own[position + 1 :]]:
                    tagged.setdefault(pair, {})[name.group(1)] = 1
    said = lambda pair: " ".join(pair).replace("::", " ").replace("-", " ").replace("use ", "").replace("works with format", "format")
    one_a_facet = lambda pair: len({tag.split("::")[0] for tag in pair}) == len(pair)
    return documents, [(said(pair), names) for pair, names in sorted(tagged.items()) if 4 <= len(names) <= 20 and one_a_facet(pair)]


def same_thing(_):
    """An application in its author's words -> in those of its package, a line each."""
    documents = {name: ("", short) for short, name in {short.lower(): name for name, (short, _) in reversed(descriptions().items())}.items() for short in [descriptions()[name][0]]}
    differ = lambda name, summary: name in documents and len(words(summary)) >= 3 and summary.lower() != documents[name][1].lower()
    return documents, [(summary, {name: 1}) for name, summary, _ in applications_of_debian() if differ(name, summary)]


def applications(_):
    """The same, a paragraph each: long queries."""
    documents = {name: ("", long) for name, (_, long) in descriptions().items() if len(words(long)) >= 25}
    queries = {text: {name: 1} for name, _, text in applications_of_debian() if name in documents and 40 <= len(words(text)) <= 250}
    return documents, list(queries.items())


# --- documentation in Python packages


def docstrings_of(*packages):
    """Package, name, paragraphs, the whole."""
    for package in packages:
        for path in sorted(glob.glob(f"{SITE}/{package}/**/*.py", recursive=True)):
            if "/test" in path:
                continue
            try:
                tree = ast.parse(read(path))
            except (SyntaxError, ValueError):
                continue
            for node in ast.walk(tree):
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and (text := ast.get_docstring(node)):
                    yield package, node.name, [one_line(part) for part in text.split("\n\n") if part.strip()], text


def docstrings(_):
    """The first sentence -> the rest."""
    documents, queries = {}, []
    for _, _, parts, _ in docstrings_of("sympy", "networkx", "torch/nn", "torch/distributions", "transformers/generation"):
        if len(words(" ".join(parts[1:]))) >= 30 and 4 <= len(words(parts[0])) <= 30 and parts[0] not in documents:
            documents[parts[0]] = ("", "\n".join(parts[1:]))
            queries.append((parts[0], {parts[0]: 1}))
    return documents, queries


def see_also(_):
    """The first sentence of a function -> those that it says to see also: what is related, not the same."""
    known = {}
    for package, name, parts, text in docstrings_of("numpy", "networkx", "sympy"):
        section = r"See Also\n\s*[-=]+\n(.*?)(?=\n\S[^\n]*\n\s*[-=]{3,}|\Z)"
        found = re.search(section, text, re.S)
        related = set(re.findall(r"[A-Za-z_]\w+(?=\s*(?:,|:|$|\n))", found.group(1))) if found else set()
        if len(words(text)) >= 15:
            known.setdefault((package, name), (parts[0], one_line(re.sub(section, "", text, flags=re.S)), related))
    queries = []
    for (package, name), (sentence, _, related) in known.items():
        relevant = {f"{package}.{other}": 1 for other in related if (package, other) in known and other != name}
        if 1 <= len(relevant) <= 15 and 4 <= len(words(sentence)) <= 40:
            queries.append((sentence, relevant))
    return {f"{package}.{name}": ("", text) for (package, name), (_, text, _) in known.items()}, queries


def next_in_docstrings(_):
    """A paragraph -> the next one: long queries."""
    documents, queries, seen = {}, [], set()
    for number, (_, _, parts, _) in enumerate(docstrings_of("sympy", "networkx", "torch", "transformers", "numpy")):
        long = [part for part in parts if 35 <= len(words(part)) <= 200 and ">>>" not in part]
        if len(long) >= 2 and long[0] not in seen:
            seen.add(long[0])
            documents[f"{number}"] = ("", long[1])
            queries.append((long[0], {f"{number}": 1}))
        elif long:
            documents[f"{number}"] = ("", long[0])
    return documents, queries


def comments(chance):
    """A function's name in words -> the passages on it, among short comments that say these words."""
    paths = [path for package in ["sympy", "networkx"] for path in sorted(glob.glob(f"{SITE}/{package}/**/*.py", recursive=True))]
    said = {text for path in paths for text in re.findall(r"^\s*# (.{15,110})$", read(path), re.M) if 4 <= len(words(text)) <= 18}
    short, places = sorted(said), {}
    for number, text in enumerate(short):
        for word in set(re.findall(r"[a-z]{4,}", text.lower())):
            places.setdefault(word, []).append(number)
    named = {}
    for _, name, parts, _ in docstrings_of("sympy", "networkx"):
        name = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).replace("_", " ").strip().lower()
        prose = [part for part in parts if ">>>" not in part]
        if len(words(name)) >= 2 and len(words(" ".join(prose))) >= 120:
            named.setdefault(name, prose)
    documents, queries = {}, []
    for number, name in enumerate(chance.sample(sorted(named), min(130, len(named)))):
        passages, passage = [], []
        for part in named[name]:
            passage.append(part)
            if len(words(" ".join(passage))) >= chance.choice([60, 100, 160]):
                passages, passage = passages + ["\n".join(passage)], []
        relevant = {f"long{number}-{position}": ("", text) for position, text in enumerate(passages[:4])}
        shared = {}
        for word in re.findall(r"[a-z]{4,}", name):
            for place in places.get(word, []):
                shared[place] = shared.get(place, 0) + 1
        nearest = sorted(shared, key=lambda place: (-shared[place], place))[:7]
        documents |= relevant | {f"short{place}": ("", short[place]) for place in nearest}
        if relevant:
            queries.append((name, dict.fromkeys(relevant, 1)))
    return documents, queries


# --- manuals, changelogs, history


def info_nodes(_):
    """A heading of a manual -> the text under it."""
    documents, queries = {}, []
    for path in sorted(glob.glob("/usr/share/info/*.gz")):
        for node in read(path).split("\x1f\n")[1:]:
            found = re.match(r"File: (\S+?),  Node: (.*?)(?:,  .*)?\n+(.*?)\n[*=\-.~]{3,}\n(.*)", node, re.S)
            if found is None:
                continue
            title = re.sub(r"^[\dA-Z.]+ ", "", found.group(3).strip().split("\n")[-1])
            body = one_line(re.sub(r"\* Menu:.*", "", found.group(4), flags=re.S))
            if len(words(title)) >= 2 and len(words(body)) >= 40 and not title.startswith(("‘", "Function")):
                documents[f"{found.group(1)}-{found.group(2)}"] = ("", body)
                queries.append((title, {f"{found.group(1)}-{found.group(2)}": 1}))
    return documents, queries


def std_docs(_):
    """The first sentence on an item of Rust's library -> the rest."""
    folder, documents, queries = sorted(glob.glob(BOOKS))[0], {}, []
    for path in sorted(glob.glob(f"{folder}/core/**/*.html", recursive=True)) + sorted(glob.glob(f"{folder}/alloc/**/*.html", recursive=True)):
        if not os.path.basename(path).startswith(("struct.", "fn.", "trait.", "macro.", "enum.")) or "/arch/" in path or "simd" in path:
            continue
        found = re.search(r'<details class="toggle top-doc" open><summary.*?</summary><div class="docblock">(.*?)</div></details>', read(path), re.S)
        parts = [part for part in plain_html(found.group(1)).split("\n") if part.strip()] if found else [""]
        if 4 <= len(words(parts[0])) <= 30 and len(words(" ".join(parts[1:]))) >= 30 and parts[0] not in documents:
            documents[parts[0]] = ("", " ".join(parts[1:]))
            queries.append((parts[0], {parts[0]: 1}))
    return documents, queries


def bugs(chance):
    """The number of a bug -> the changes that close it."""
    documents, numbers = numbered_changes(r"#(\d{5,7})")
    ways = ["bug {}", "which version closed bug #{}", "#{}", "changes for Debian bug {}", "was {} fixed?"]
    return documents, [(chance.choice(ways).format(number), numbers[number]) for number in sorted(numbers) if len(numbers[number]) <= 4]


def commits(_):
    """What a commit of this repository says in a line -> the lines that it added."""
    command = ["git", "-C", os.path.dirname(os.path.abspath(__file__)), "log", "-p", "--no-merges", "--unified=0", "--format=\x01%s"]
    log = subprocess.run(command, capture_output=True, text=True, errors="replace").stdout
    documents, queries = {}, []
    for subject, _, changes in (part.partition("\n") for part in log.split("\x01")[1:]):
        added = [line[1:].strip() for line in changes.split("\n") if line.startswith("+") and not line.startswith("+++")]
        text = " ".join(words(" ".join(added))[:300])
        if len(words(subject)) >= 4 and len(words(text)) >= 30:
            documents[subject] = ("", text)
            queries.append((subject, {subject: 1}))
    return documents, queries


# Those that fusion was looked at with, then those it was only checked with.
SEEN = {"tags": tags, "docstrings": docstrings, "info-nodes": info_nodes, "comments": comments}
HELD_OUT = {
    "packages": packages,
    "same-thing": same_thing,
    "applications": applications,
    "see-also": see_also,
    "std-docs": std_docs,
    "bugs": bugs,
    "next-in-docstrings": next_in_docstrings,
    "commits": commits,
}
# Documents and queries, where that is not 1500 and 150.
SIZES = {"packages": (4000, 200), "same-thing": (4000, 200), "applications": (3000, 150), "tags": (2500, 150), "see-also": (2000, 200)}
