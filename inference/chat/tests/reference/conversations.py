"""Random conversations in OpenAI's form, with the liberties that clients take."""

import json

WORDS = [
    "orders", "Größe", "naïve", "日本語", "🙂", "<b>", "&", "'quoted'", '"double"', "back\\slash", "tab\there", "{{ x }}",
    "{% if %}", "</think>", "<think>", "a\nb", "\n", "  ", "\u00a0", "None", "x" * 30, "\u200b", "<|im_end|>", "0.1",
]
TYPES = ["string", "integer", "number", "boolean", "array", "object"]


def conversation(generator):
    kind = generator.choice(["plain", "system", "turns", "tools", "calls", "parallel", "reasoning", "odd"])
    tools = [tool(generator, name) for name in generator.sample(["sql", "git_status", "get_weather"], generator.randint(1, 3))]
    messages = []
    if kind != "plain" and generator.random() < 0.6:
        role = "developer" if generator.random() < 0.1 else "system"
        messages.append({"role": role, "content": content(generator)})
    turns = 1 if kind in ("plain", "system", "tools") else generator.randint(1, 3)
    for turn in range(turns):
        messages.append({"role": "user", "content": content(generator)})
        if kind in ("calls", "parallel"):
            messages += calls(generator, 1 if kind == "calls" else generator.randint(2, 3), turn)
        if turn + 1 < turns or generator.random() < 0.3:
            reply = {"role": "assistant", "content": content(generator)}
            if kind == "reasoning":
                reply[generator.choice(["reasoning_content", "thinking", "reasoning"])] = text(generator)
            messages.append(reply)
    if kind == "odd":
        odd(generator, messages)
    variables = {"bos_token": "<s>", "eos_token": "</s>"}
    if generator.random() < 0.3:
        variables["enable_thinking"] = generator.random() < 0.5
    if generator.random() < 0.2:
        variables["add_generation_prompt"] = False
    if generator.random() < 0.1:
        variables["reasoning_effort"] = generator.choice(["low", "high"])
    if generator.random() < 0.1:
        variables["thinking"] = generator.random() < 0.5
    offers = kind in ("tools", "calls", "parallel") or generator.random() < 0.1
    return {"messages": messages, "tools": tools if offers else None, "variables": variables}


def text(generator):
    return " ".join(generator.choice(WORDS) for _ in range(generator.randint(0, 6)))


def content(generator):
    if generator.random() < 0.1:
        return [{"type": "text", "text": text(generator)} for _ in range(generator.randint(1, 2))]
    return text(generator)


def value(generator, depth=0):
    scalar = [
        lambda: text(generator), lambda: generator.randint(-5, 10**12), lambda: generator.random() * 10 ** generator.randint(-8, 20),
        lambda: generator.choice([1.0, -0.0, 1e16, 1e-5, 123456.789]), lambda: generator.choice([True, False, None]),
    ]
    if depth > 2 or generator.random() < 0.7:
        return generator.choice(scalar)()
    if generator.random() < 0.5:
        return [value(generator, depth + 1) for _ in range(generator.randint(0, 3))]
    return {generator.choice(["a", "é", "items", "b c", "keys"]): value(generator, depth + 1) for _ in range(generator.randint(0, 3))}


def schema(generator, depth=0):
    kind = generator.choice(TYPES if depth < 2 else TYPES[:4])
    found = {"type": kind if generator.random() < 0.9 else [kind, "null"]}
    if generator.random() < 0.7:
        found["description"] = text(generator)
    if kind == "string" and generator.random() < 0.3:
        found["enum"] = ["celsius", "fahrenheit"]
    if kind == "array" and generator.random() < 0.8:
        found["items"] = schema(generator, depth + 1)
    if kind == "object" and generator.random() < 0.8:
        found.update(parameters(generator, depth + 1))
    if generator.random() < 0.2:
        found["default"] = value(generator, 2)
    if generator.random() < 0.1:
        found["nullable"] = True
    return found


def parameters(generator, depth=0):
    names = generator.sample(["query", "limit", "unit", "items", "é", "options"], generator.randint(0, 4))
    found = {"type": "object", "properties": {name: schema(generator, depth) for name in names}}
    if names and generator.random() < 0.7:
        found["required"] = generator.sample(names, generator.randint(1, len(names)))
    return found


def tool(generator, name):
    function = {"name": name, "description": text(generator), "parameters": parameters(generator)}
    if generator.random() < 0.1:
        function["strict"] = True
    if generator.random() < 0.1:
        function["return"] = {"type": "string", "description": "what comes"}
    return {"type": "function", "function": function}


def calls(generator, count, turn):
    asked, answers = [], []
    for index in range(count):
        arguments = {name: value(generator) for name in generator.sample(["query", "limit", "items"], generator.randint(0, 3))}
        if generator.random() < 0.2:
            arguments = json.dumps(arguments)
        name = generator.choice(["sql", "git_status", "get_weather"])
        identifier = f"call{turn}{index}abc" if generator.random() < 0.8 else f"call_{turn}"
        call = {"type": "function", "id": identifier, "function": {"name": name, "arguments": arguments}}
        if generator.random() < 0.05:
            del call["id"]
        asked.append(call)
        answer = {"role": "tool", "content": content(generator), "tool_call_id": identifier}
        if generator.random() < 0.7:
            answer["name"] = name
        answers.append(answer)
    message = {"role": "assistant", "tool_calls": asked}
    said = generator.random()
    if said < 0.9:
        message["content"] = None if said < 0.3 else "" if said < 0.5 else text(generator)
    if generator.random() < 0.2:
        message["reasoning_content"] = text(generator)
    return [message, *answers]


def odd(generator, messages):
    """Something that a template may not expect."""
    message = generator.choice(messages)
    change = generator.randint(0, 6)
    if change == 0:
        message["content"] = None
    elif change == 1:
        del message["content"]
    elif change == 2:
        message["role"] = "critic"
    elif change == 3:
        messages.append({"role": "assistant", "content": "", "tool_calls": []})
    elif change == 4:
        message["tool_calls"] = None
    elif change == 5:
        messages.clear()
    else:
        message["extra"] = value(generator)
