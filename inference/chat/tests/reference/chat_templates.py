"""Renders chat templates as transformers does.

    python chat_templates.py cases CASES.json         given templates and conversations
    python chat_templates.py files SEED COUNT FOLDER  the *.jinja files of a folder, random conversations
    python chat_templates.py fragments SEED COUNT     random templates

Prints a list of {name, template, input} with what became of it: {rendered}, or {error, raised}, `raised` if the
template itself refused. The input, {messages, tools, variables}, is JSON within JSON: its reader is under test too.
"""

import json
import random
import sys
from pathlib import Path

import jinja2
from transformers.utils.chat_template_utils import render_jinja_template

from conversations import conversation
from fragments import fragment


def main():
    kind, *arguments = sys.argv[1:]
    cases = {"cases": given, "files": files, "fragments": fragments}[kind](*arguments)
    # What prints an object's address differs from run to run.
    results = [result for result in map(render, cases) if "0x7" not in result.get("rendered", "").lower()]
    json.dump(results, sys.stdout)


def given(path):
    with open(path) as file:
        return json.load(file)


def files(seed, count, folder):
    generator = random.Random(int(seed))
    for path in sorted(Path(folder).glob("*.jinja")):
        template = path.read_text()
        for _ in range(int(count)):
            yield {"name": path.stem, "template": template, **conversation(generator)}


def fragments(seed, count):
    generator = random.Random(int(seed))
    for _ in range(int(count)):
        yield {"name": "fragment", "template": fragment(generator), **conversation(generator)}


def render(case):
    known = {"name": case["name"], "template": case["template"]}
    known["input"] = json.dumps({key: case[key] for key in ("messages", "tools", "variables")})
    variables = {"add_generation_prompt": True, **case["variables"]}
    try:
        rendered, _ = render_jinja_template(
            [case["messages"]], tools=case["tools"] or None, chat_template=case["template"], **variables
        )
    except Exception as error:
        return {**known, "error": f"{type(error).__name__}: {error}", "raised": type(error) is jinja2.TemplateError}
    return {**known, "rendered": rendered[0]}


if __name__ == "__main__":
    main()
