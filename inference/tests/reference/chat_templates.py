"""Renders chat templates as transformers does.

    python chat_templates.py CASES.json

CASES.json is a list of {template, conversation: {messages, tools}, special}; prints a list of
{rendered} or {error, raised}: `raised` if the template itself refused.
"""

import json
import sys

import jinja2
from transformers.utils.chat_template_utils import render_jinja_template


def main():
    with open(sys.argv[1]) as file:
        cases = json.load(file)
    json.dump([render(case) for case in cases], sys.stdout)


def render(case):
    conversation = case["conversation"]
    try:
        rendered, _ = render_jinja_template(
            [conversation["messages"]],
            tools=conversation["tools"] or None,
            chat_template=case["template"],
            add_generation_prompt=True,
            **case["special"],
        )
    except Exception as error:
        return {"error": str(error), "raised": type(error) is jinja2.TemplateError}
    return {"rendered": rendered[0]}


if __name__ == "__main__":
    main()
