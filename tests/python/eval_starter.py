"""First-call accuracy of the starter on a set of requests: right tool, right arguments.

    python eval_starter.py SET_FOLDER [--failures]

The folder holds setup.sql (tables), workspace.txt and branches.txt (what exists), requests.jsonl
({"id", "request", "tool", "arguments"}). The requests are asked of `codriver ask --dry-run`. A query is
right when it returns the same rows (as a multiset, column names ignored), an expression when it has
the same value, free text when it shares most content words, anything else to the letter.
"""

import argparse
import collections
import json
import math
import pathlib
import os
import re
import subprocess
import tempfile

import duckdb

from conftest import codriver_binary

STOP = set("a an the is are was to of in on for that i we our my me it and or at by with about what how do you".split())


def rows(connection, query):
    result = connection.execute(query).fetchall()
    return collections.Counter(tuple(normal(value) for value in row) for row in result)


def normal(value):
    if value is None or isinstance(value, bool):
        return str(value)
    try:
        return f"{float(value):.6g}"
    except (TypeError, ValueError):
        return str(value)


def words(text):
    return {word.rstrip("s") for word in re.findall(r"[a-z0-9]+", str(text).lower())} - STOP


def evaluate(expression):
    text = re.sub(r"([\d.]+)\s*%\s*of\s*", r"\1/100*", str(expression).lower().replace(",", ""))
    text = re.sub(r"([\d.]+)%", r"(\1/100)", text).replace("^", "**").replace("mod", "%")
    return eval(text, {"__builtins__": {}}, {**vars(math), "abs": abs, "round": round, "min": min, "max": max})


def same(connection, tool, expected, given):
    if tool == "sql":
        try:
            return rows(connection, expected["query"]) == rows(connection, given["query"])
        except duckdb.Error:
            return False
    if tool == "calculate":
        try:
            return math.isclose(evaluate(expected["expression"]), evaluate(given["expression"]), rel_tol=1e-9)
        except Exception:
            return False
    if tool in ("remember", "recall", "search_docs"):
        wanted, got = (words(next(iter(arguments.values()), "")) for arguments in (expected, given))
        return bool(wanted) and len(wanted & got) / len(wanted | got) >= 0.5
    if tool == "run_rust":
        squeeze = lambda code: re.sub(r"\s+", "", str(code)).rstrip(";")
        return squeeze(expected["code"]) == squeeze(given.get("code"))
    clean = lambda arguments: {key: str(value).rstrip("/").lower() for key, value in arguments.items() if value not in (None, "", False)}
    return clean(expected) == clean(given)


def ask(folder):
    """The first calls for all requests, by id, asked in a workspace as the set describes it."""
    with tempfile.TemporaryDirectory() as place:
        workspace = pathlib.Path(place) / "workspace"
        for path in (folder / "workspace.txt").read_text().split():
            file = workspace / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{path}\n")
        identity = ["-c", "user.name=Codriver", "-c", "user.email=codriver@example.org"]
        git = lambda *arguments: subprocess.run(["git", *identity, *arguments], cwd=workspace, check=True, capture_output=True)
        branches = (folder / "branches.txt").read_text().split()
        git("init", "-q", "-b", branches[0])
        git("add", ".")
        git("commit", "-q", "-m", "start")
        for branch in branches[1:]:
            git("branch", branch)
        command = [codriver_binary(), "ask", "--setup", (folder / "setup.sql").resolve(), "--dry-run", "--batch", (folder / "requests.jsonl").resolve()]
        data = {**os.environ, "CODRIVER_DATA_DIR": str(pathlib.Path(place) / "data")}
        asked = subprocess.run(command, cwd=workspace, env=data, capture_output=True, text=True, check=True)
    answers = (json.loads(line) for line in asked.stdout.splitlines())
    return {answer["id"]: answer for answer in answers}


def score(folder, failures=False):
    """Prints a table by tool; returns the share of requests answered with the right call."""
    connection = duckdb.connect()
    connection.execute((folder / "setup.sql").read_text())
    expected = [json.loads(line) for line in (folder / "requests.jsonl").read_text().splitlines() if line.strip()]
    given = ask(folder)
    total, right, right_tool = collections.Counter(), collections.Counter(), collections.Counter()
    for case in expected:
        tool = case["tool"]
        answer = given.get(case["id"], {})
        total[tool] += 1
        tool_ok = answer.get("tool") == tool
        right_tool[tool] += tool_ok
        ok = tool_ok and (tool is None or same(connection, tool, case["arguments"] or {}, answer.get("arguments") or {}))
        right[tool] += ok
        if failures and not ok:
            print(f"{case['id']}: {case['request']}\n   expected {tool} {case['arguments']}\n   got      {answer.get('tool')} {answer.get('arguments')}")
    print(f"{'tool':16} {'requests':>8} {'tool':>6} {'call':>6}")
    for tool in total:
        print(f"{str(tool):16} {total[tool]:8} {right_tool[tool] / total[tool]:6.0%} {right[tool] / total[tool]:6.0%}")
    accuracy = sum(right.values()) / sum(total.values())
    print(f"{'all':16} {sum(total.values()):8} {sum(right_tool.values()) / sum(total.values()):6.1%} {accuracy:6.1%}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--failures", action="store_true", help="print what was wrong")
    arguments = parser.parse_args()
    score(arguments.folder, arguments.failures)
