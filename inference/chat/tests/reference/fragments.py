"""Random templates over what chat templates use of Jinja."""

ATOMS = [
    "messages", "messages[0]", "messages[-1]", "messages[0].role", "messages[0]['content']", "messages[-1].content", "tools",
    "tools[0].function.name", "tools[0].function.parameters", "tools[0]['function'].parameters.properties", "missing",
    "messages[0].missing", "none", "true", "false", "0", "1", "-3", "7", "2.5", "1e3", "1.0", "''", "'a'", "'b c'", "'Größe'",
    "' x\\ty\\n'", "\"it's\"", "'%s and %d'", "[]", "[1, 2, 3]", "['b', 'A', 'c']", "[3, 1.5, true]", "{}", "{'a': 1, 'B': 'x'}",
    "{'b': [1], 'a': none}", "(1, 'x')", "(1,)", "range(4)", "bos_token", "enable_thinking", "x", "ns.n", "'abcabc'", "'x' 'y'",
]
OPERATORS = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or", "**"]
FILTERS = [
    "length", "upper", "lower", "trim", "tojson", "tojson(indent=2)", "tojson(sort_keys=true)", "string", "list", "first", "last",
    "join", "join(', ')", "join('-', attribute='role')", "default('d')", "default('d', true)", "d", "reverse", "reverse | list", "sort", "unique | list",
    "map(attribute='role') | list", "map(attribute='content', default='none') | join('|')", "map('upper') | list", "map('string') | join",
    "select | list", "reject('none') | list", "select('string') | list", "selectattr('role', 'equalto', 'user') | list",
    "selectattr('tool_calls', 'defined') | list | length", "rejectattr('role', 'eq', 'system') | map(attribute='role') | join(',')",
    "items | list", "dictsort", "int", "int(7)", "float", "abs", "round", "round(1)", "round(1, 'floor')", "replace('a', 'z')", "replace('a', 'z', 1)",
    "indent", "indent(2, true)", "indent(3, first=true, blank=true)", "capitalize", "title", "wordcount", "sum", "min", "max", "batch(2) | list", "slice(2) | list",
    "groupby('role')", "center(9)", "truncate(5)", "truncate(9, true, '..', 0)", "escape", "e", "safe", "format(1)", "format('a', 2)", "urlencode", "count",
    "tojson(separators=(',', ':'))", "tojson(ensure_ascii=true)", "dictsort(false, 'value')", "dictsort(reverse=true)", "filesizeformat", "striptags",
]
TESTS = [
    "defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "mapping", "sequence", "iterable", "true",
    "false", "odd", "even", "divisibleby 3", "divisibleby(2)", "equalto 'a'", "eq 1", "in [1, 'a']", "sameas true", "lower", "upper", "callable",
    "not none", "not defined", "ge 1", "escaped",
]
METHODS = [
    "strip()", "lstrip()", "rstrip('c')", "split()", "split('b')", "split(' ', 1)", "rsplit('b', 1)", "upper()", "lower()", "title()", "capitalize()",
    "startswith('a')", "endswith(('c', 'x'))", "replace('a', 'b')", "replace('b', '', 1)", "find('b')", "rfind('b')", "index('b')", "count('a')", "join(['1', '2'])",
    "splitlines()", "zfill(5)", "isdigit()", "isupper()", "isalpha()", "isspace()", "partition('b')", "rpartition('b')", "removeprefix('a')", "removesuffix('c')",
    "center(8)", "ljust(6, '.')", "rjust(6)", "swapcase()", "format(1, 'x')", "items()", "keys()", "values()", "get('a')", "get('role', 'd')", "get('zz', 'd')",
    "items() | list", "keys() | list", "values() | list | length", "index(2)", "copy()", "append(1)", "pop()", "update({})", "islower()", "expandtabs(4)", "casefold()",
    "items", "keys", "missing", "role", "a", "real", "0",
]
SLICES = ["[1:]", "[:-1]", "[::-1]", "[0]", "[-1]", "[5]", "['a']", "['role']", "[1:3]", "[::2]", "[-2:]", "['items']", "[2:0:-1]", "[none:1]", "[true]", "['missing']"]
SLICED = ["messages", "messages[0].role", "'abcabc'", "'Größe'", "[1, 2, 3]", "['b', 'A', 'c']", "(1, 'x')", "range(4)", "bos_token", "missing"]
FORMATS = [
    "'%s|%r' % (X, X)", "'%d' % X", "'%5.2f|%-6s|%05d' % (2.345, 'ab', 42)", "'%s' % X", "'{}-{}'.format(X, 1)", "'{0!r:>8}{a}'.format(X, a=2)",
    "'{:.3f} {:,} {:>5} {:<5}| {:^7} {:+d} {:05.1f} {:x} {:%}'.format(3.14159, 1234567, 'a', 'b', 'c', 5, 2.25, 255, 0.5)",
    "'%(a)s' % {'a': X}", "'%x %o %e %g' % (255, 8, 12345.678, 0.0001)", "'{a[0]} {b.c}'.format(a=[X], b={'c': 1})", "'%%' % ()", "'{{}}'.format()",
]


def expression(generator, depth=0):
    kind = generator.random()
    if depth > 3 or kind < 0.2:
        return generator.choice(ATOMS)
    inner = lambda: expression(generator, depth + 1)
    if kind < 0.35:
        return f"({inner()} {generator.choice(OPERATORS)} {inner()})" if generator.random() < 0.7 else f"{inner()} {generator.choice(OPERATORS)} {inner()}"
    if kind < 0.55:
        return f"{atom(generator, depth)} | {generator.choice(FILTERS)}"
    if kind < 0.68:
        return f"{atom(generator, depth)}.{generator.choice(METHODS)}"
    if kind < 0.78:
        slice = generator.choice(SLICES)
        # jinja2 folds constants, and slices of constants that have none are undefined, of others errors.
        sliced = generator.choice(SLICED) if ":" in slice else atom(generator, depth)
        return f"{sliced}{slice}"
    if kind < 0.86:
        return f"({inner()} is {generator.choice(TESTS)})"
    if kind < 0.9:
        return f"({inner()} if {inner()}" + (f" else {inner()})" if generator.random() < 0.7 else ")")
    if kind < 0.93:
        return f"(not {inner()})"
    if kind < 0.96:
        return generator.choice(FORMATS).replace("X", generator.choice(ATOMS))
    if kind < 0.98:
        return f"[{inner()}, {inner()}]"
    key = generator.choice(["'a'", "1", "none", "true", "2.5"])
    return f"{{{key}: {inner()}}}"


def atom(generator, depth):
    return generator.choice(ATOMS) if generator.random() < 0.6 else f"({expression(generator, depth + 1)})"


def tag(generator, inside):
    return "{%" + generator.choice(["", "", "-", "-", "+"]) + f" {inside} " + generator.choice(["", "", "-", "-"]) + "%}"


def shown(generator, inside):
    return "{{" + generator.choice(["", "", "-"]) + f" {inside} " + generator.choice(["", "", "-"]) + "}}"


def space(generator):
    return generator.choice(["", "", "\n", "  ", "\n\n", " \n  ", "text", "t\n", "é ", "\t"])


def statement(generator, depth=0):
    kind = generator.random()
    body = lambda: "".join(piece(generator, depth + 1) for _ in range(generator.randint(0, 2)))
    value = lambda: expression(generator, 1)
    t = lambda inside: tag(generator, inside)
    if kind < 0.25:
        otherwise = t("else") + body() if generator.random() < 0.5 else ""
        middle = t(f"elif {value()}") + body() if generator.random() < 0.3 else ""
        return t(f"if {value()}") + body() + middle + otherwise + t("endif")
    if kind < 0.5:
        condition = f" if {value()}" if generator.random() < 0.2 else ""
        control = t(f"if {value()}") + t(generator.choice(["break", "continue"])) + t("endif") if generator.random() < 0.3 else ""
        uses = shown(generator, "loop." + generator.choice(["index", "index0", "first", "last", "length", "revindex", "revindex0", "previtem", "nextitem", "depth", "cycle('a', 'b')", "changed(x)"]))
        otherwise = t("else") + body() if generator.random() < 0.2 else ""
        if generator.random() < 0.2:
            return t(f"for k, v in {generator.choice(ATOMS)}.items()") + "{{ k }}={{ v }}" + uses + t("endfor")
        return t(f"for x in {value()}{condition}") + control + uses + body() + otherwise + t("endfor")
    if kind < 0.65:
        return t(f"set x = {value()}")
    if kind < 0.72:
        return t(f"set ns.n = {value()}")
    if kind < 0.77:
        return t("set x") + body() + t("endset")
    if kind < 0.82:
        return t("generation") + body() + t("endgeneration")
    if kind < 0.9:
        name = generator.choice("mf")
        call = generator.choice([f"{name}()", f"{name}(1)", f"{name}(b={value()})", f"{name}('p', {value()})", f"{name}(1, 2, 3)"])
        return t(f"macro {name}(a, b='d')") + shown(generator, "a") + body() + shown(generator, "b") + t("endmacro") + shown(generator, call)
    if kind < 0.93:
        return t("filter " + generator.choice(["upper", "trim", "indent(2)", "replace('a', 'b') | trim"])) + body() + t("endfilter")
    if kind < 0.96:
        return t(f"with x = {value()}") + body() + t("endwith")
    if kind < 0.98:
        return "{#" + generator.choice(["", "-"]) + " note " + generator.choice(["", "-"]) + "#}"
    return t("raw") + "{{ raw }} {% x %}" + t("endraw")


def piece(generator, depth=0):
    kind = generator.random()
    if kind < 0.35 or depth > 2:
        return space(generator) + shown(generator, expression(generator))
    if kind < 0.8:
        return space(generator) + statement(generator, depth) + space(generator)
    return space(generator)


def fragment(generator):
    begin = "{% set x = 1 %}{% set ns = namespace(n=2) %}"
    return begin + "".join(piece(generator) for _ in range(generator.randint(1, 3))) + space(generator)
