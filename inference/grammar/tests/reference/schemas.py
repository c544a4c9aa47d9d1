"""Reads lines of {"schema": ..., "text": ...} and prints, for each text that is not JSON or does not
validate, its number and why."""

import json
import sys

import jsonschema


def refuse_duplicates(pairs):
    keys = [key for key, _ in pairs]
    if len(keys) != len(set(keys)):
        raise ValueError(f"a key twice: {keys}")
    return dict(pairs)


for number, line in enumerate(sys.stdin):
    case = json.loads(line)
    try:
        value = json.loads(case["text"], object_pairs_hook=refuse_duplicates)
        jsonschema.Draft202012Validator(case["schema"]).validate(value)
    except Exception as error:
        print(number, str(error).splitlines()[0], repr(case["text"]))
