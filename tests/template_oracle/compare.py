#!/usr/bin/python3
"""Compares ferry's chat template interpreter with jinja2, set up as Hugging Face sets it up.

compare.py RENDER_LINES [--cases N] [--seed S] [--data DIR]

Makes N random templates and contexts from a seed, adds every template of DIR (NAME.jinja with its
contexts in NAME.json), renders all of them with both, and fails unless texts are equal byte for
byte and both refuse the same ones. Needs Debian's python3-jinja2; exits with 77 without it.
"""
import argparse
import datetime
import json
import pathlib
import random
import resource
import signal
import subprocess
import sys

try:
    import jinja2
    import jinja2.ext
    import jinja2.nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment
except ImportError:
    sys.exit(77)

# Where ferry refuses on purpose: 128-bit integers, and Python's complex numbers.
# Slices of literals that cannot be sliced are undefined in jinja2 and an error of other values.
REFUSALS = ("127 bits", "complex number", "not supported", "the attribute '", "printing a ",
            "comparing the results", "grouping with zero fill", "cannot be sliced")


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("_keep")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _keep(self, caller):
        return caller()


def make_environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)

    def strftime_now(pattern):
        return datetime.datetime(2025, 5, 29, 12, 0, 0).strftime(pattern)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", Generation])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = strftime_now
    return environment


# Atoms, filters and methods by the type they are of or take; "any" fits everywhere.
ATOMS = {
    "str": ["''", "'a'", "'Hello World'", "'a-b c.d'", "\"it's\"", "'x\\ny\\tz'", "'  pad  '",
            "'stra\\u00dfe'", "'ÉCOLE'", "'漢字🙂'", "'12'", "'3.5'", "' 0x1F '", "'<b>&\\'\"'",
            "'a,b,,c'", "s", "uni", "messages[0].role", "messages[0].content", "'x' 'y'"],
    "num": ["0", "1", "2", "-3", "7", "10", "255", "1_000", "0x1f", "0.5", "2.5", "-1.25", "1e3",
            "1e-7", "123456789.125", "1e22", "n", "f", "big", "ns.x", "items|length", "0b101",
            "0o17", "1.5e-3", "2.675"],
    "list": ["[]", "[1, 2, 3]", "[3, 1, 2]", "['b', 'A', 'c']", "(1, 'x')", "()", "items",
             "messages", "[[1, 2], [3]]", "[1.0, true, none, 'q']", "range(4)", "d.keys()|list",
             "messages[1].tool_calls", "['x', 'y', 'x', 'Y']"],
    "dict": ["{}", "{'a': 1, 'b': [2, none]}", "{'k': 'v', 1: 2.0, true: 'one'}", "d",
             "messages[0]", "messages[-1]", "deep", "deep.a", "{'b': 1, 'a': 'x', 'C': none}"],
    "any": ["none", "true", "false", "flag", "nothing", "missing", "d.nope", "empty", "items[1]",
            "items[-1]", "s[0]", "d.a", "d['b']", "messages[1].content"],
}
FILTERS = {
    "str": ["upper", "lower", "title", "capitalize", "trim", "trim('a ')", "length", "first",
            "last", "list", "int", "int(5)", "int(0, 16)", "float", "float(1.5)",
            "replace('a', 'XY')", "replace('l', '', 1)", "replace('', '.')", "indent",
            "indent(2, true)", "indent(3, blank=true)", "indent('> ')", "wordcount",
            "truncate(8)", "truncate(8, true)", "truncate(5, false, '..', 0)", "center(12)",
            "escape", "e", "safe", "forceescape", "urlencode", "attr('upper')", "reverse",
            "format('p', 'q')", "safe|upper", "safe + '<'", "batch(2)|list", "unique|join"],
    "num": ["abs", "round", "round(1)", "round(2, 'floor')", "round(1, 'ceil')", "round(-1)",
            "int", "float", "string", "round(2)", "round|int"],
    "list": ["length", "count", "first", "last", "list", "join", "join(', ')",
             "join('-', attribute='role')", "join(',', 0)", "sort", "sort(reverse=true)",
             "sort(case_sensitive=true)", "sort(attribute='role')", "unique|list",
             "reverse|list", "sum", "sum(start=5)", "min", "max", "batch(2)|list",
             "batch(2, 'z')|list", "slice(2)|list", "slice(3, 'z')|list", "map('upper')|list",
             "map('string')|join('+')", "map(attribute='role')|list", "map('tojson')|list",
             "map(attribute='x', default='y')|list", "select|list", "select('string')|list",
             "reject('none')|list", "select('gt', 1)|list", "reject('equalto', 'a')|list",
             "selectattr('role')|list", "selectattr('role', 'equalto', 'user')|list",
             "rejectattr('role', 'in', ['user'])|map(attribute='content')|list",
             "groupby('role')|list", "map('int', default=3)|sum", "sort(attribute='role,content')",
             "map('default', 'q')|list", "select('defined')|map('string')|sort|join('/')"],
    "dict": ["items|list", "dictsort", "dictsort(by='value')", "dictsort(reverse=true)", "length",
             "list", "urlencode", "tojson", "first", "items|map('first')|list", "attr('items')"],
    "any": ["string", "tojson", "tojson(indent=2)", "tojson(sort_keys=true)",
            "tojson(ensure_ascii=true)", "tojson(separators=(',', ':'))", "default('dflt')",
            "default('dflt', true)", "d(3)", "list|tojson", "attr('x')", "string|length",
            "tojson(indent='--')"],
}
METHODS = {
    "str": ["upper()", "lower()", "strip()", "strip('ad')", "lstrip()", "rstrip('d')", "title()",
            "capitalize()", "swapcase()", "casefold()", "split()", "split('a')", "split(',', 1)",
            "split(None, 1)", "rsplit('l', 1)", "rsplit(None, 1)", "rsplit()", "splitlines()",
            "splitlines(true)", "startswith('H')", "startswith(('a', 'H'))", "endswith('d')",
            "startswith('l', 2)", "endswith('o', 0, 5)", "replace('l', 'L')",
            "replace('', '-', 3)", "find('o')", "rfind('o')", "find('o', 5)", "find('zz')",
            "index('a')", "count('l')", "count('')", "join(['a', 'b'])", "join(items)",
            "isdigit()", "isalpha()", "isalnum()", "isupper()", "islower()", "isspace()",
            "istitle()", "isdecimal()", "isnumeric()", "isidentifier()", "isprintable()",
            "isascii()", "zfill(6)", "center(9, '*')", "ljust(8, '.')", "rjust(8)",
            "partition(' ')", "rpartition('o')", "removeprefix('He')", "removesuffix('ld')",
            "expandtabs(4)", "format(1, 'two', a=3)", "split('</think>')[-1].lstrip('\\n')"],
    "list": ["pop()", "pop(0)", "append(1)", "index(2)", "count(1)", "copy()", "count('a')"],
    "dict": ["items()|list", "keys()|list", "values()|list", "get('a')", "get('zz', 'no')",
             "get('a', 1)|string", "items()", "keys()", "values()", "copy()", "update({})",
             "get('role')", "items()|list|first"],
}
METHODS["num"] = METHODS["any"] = METHODS["str"] + METHODS["list"] + METHODS["dict"]
SUBSCRIPTS = ["[0]", "[-1]", "[1]", "[99]", "['a']", "['role']", "[1:]", "[:2]", "[::-1]",
              "[-2:]", "[::2]", "[3:0:-1]", "[:-1]", "[5:1]", ".a", ".role", ".0", ".items", "[none:2]",
              "[1.0]", "[true]", "['items']", "[0:99:3]", "[-99:99]"]
TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean",
         "mapping", "iterable", "sequence", "callable", "true", "false", "odd", "even",
         "divisibleby 3", "divisibleby(2)", "eq 1", "equalto('a')", "ne none", "lt 3", "gt 1",
         "le(2)", "ge 0", "in [1, 'a']", "in 'abc'", "in d", "sameas none", "sameas true",
         "lower", "upper", "escaped", "filter", "test", "lessthan 4", "greaterthan(0)"]
BINARY = ["+", "-", "/", "//", "%", "~", "==", "!=", "<", "<=", ">", ">=", "in",
          "not in", "and", "or"]
FORMATS = ["'%s' % {}", "'%d' % {}", "'%5.2f|%-6s|' % ({}, {})", "'%x %o' % ({}, 8)",
           "'%(a)s' % {}", "'%r' % [{}]", "'%05d' % {}", "'%+d' % {}", "'%e' % {}", "'%g' % {}",
           "'{{}}'.format({})", "'{{0}}{{1}}'.format({}, {})", "'{{:>8}}|'.format({})",
           "'{{:.2f}}'.format({})", "'{{:05d}}'.format({})", "'{{a!r:^9}}'.format(a={})",
           "'{{:,}}'.format({})", "'{{0[a]}}'.format({})", "'{{:x}}'.format({})",
           "'{{:%}}'.format({})", "'{{:g}}'.format({})", "'{{:*<6}}'.format({})"]


class Maker:
    def __init__(self, rng):
        self.rng = rng

    def pick_typed(self, table, kind):
        if kind == "any" or self.rng.random() < 0.06:
            kind = self.rng.choice(sorted(table))
        elif "any" in table and self.rng.random() < 0.12:
            kind = "any"
        return self.rng.choice(table[kind])

    def expression(self, depth, kind="any"):
        """An expression that mostly is of the kind asked for."""
        r, pick = self.rng, self.rng.choice
        if depth <= 0:
            return self.pick_typed(ATOMS, kind)
        of = pick(["str", "str", "num", "list", "dict"])
        sub = lambda sub_kind: self.expression(depth - 1, sub_kind)
        form = r.randrange(21)
        if form <= 1:
            return self.pick_typed(ATOMS, kind)
        if form <= 6:
            return f"({sub(of)})|{self.pick_typed(FILTERS, of)}"
        if form <= 9:
            of = pick(["str", "str", "list", "dict"])
            return f"({sub(of)}).{self.pick_typed(METHODS, of)}"
        if form == 10:
            return f"({sub(pick(['str', 'list', 'dict']))}){pick(SUBSCRIPTS)}"
        if form == 11:
            return f"({sub('any')} is {pick(['', 'not '])}{pick(TESTS)})"
        if form <= 14:
            sign = pick(["+", "-", "*", "/", "//", "%", "**", "<", ">="])
            right = pick(["2", "3", "0.5", "-1"]) if sign == "**" else sub("num")
            return pick(["{} {} {}", "({} {} {})"]).format(sub("num"), sign, right)
        if form == 15:
            left, sign, right = pick([("str", "+", "str"), ("list", "+", "list"),
                                      ("str", "*", "num"), ("any", "~", "any"),
                                      ("str", "in", "str"), ("any", "in", "list"),
                                      ("str", "not in", "dict"), ("str", "<", "str"),
                                      ("any", "==", "any"), ("any", "!=", "any"),
                                      ("any", "and", "any"), ("any", "or", "any"),
                                      ("any", pick(BINARY), "any")])
            right_text = "2" if sign == "*" else sub(right)
            return f"({sub(left)} {sign} {right_text})"
        if form == 16:
            other = f" else {sub(kind)}" if r.random() < 0.8 else ""
            return f"({sub(kind)} if {sub('any')}{other})"
        if form == 17:
            sign, of = pick([("not ", "any"), ("-", "num"), ("+", "num")])
            return sign + "(" + sub(of) + ")"
        if form == 18:
            return self.format(pick(FORMATS), lambda: sub(pick(["num", "num", "str"])))
        if form == 19:
            return (f"[{sub('any')}, {sub('any')}]" if r.random() < 0.5 else
                    f"{{'k': {sub('any')}}}")
        return pick(["range({})|list", "range(1, {})|list", "dict(a={})", "namespace(x={}).x",
                     "dict([('p', {})])"]).format(pick(["3", "n", sub("num")]))

    @staticmethod
    def format(form, sub):
        """Puts expressions where the form has {}; {{ and }} stand for single braces."""
        parts = form.replace("{{", "\1").replace("}}", "\2").split("{}")
        out = parts[0]
        for part in parts[1:]:
            out += "(" + sub() + ")" + part
        return out.replace("\1", "{").replace("\2", "}")

    def tag(self, text):
        left = self.rng.choice(["", "", "-", "+"])
        right = self.rng.choice(["", "", "-", "+"])
        return "{%" + left + " " + text + " " + right + "%}"

    def output(self, depth):
        left, right = self.rng.choice(["", "", "-"]), self.rng.choice(["", "", "-"])
        return "{{" + left + " " + self.expression(depth) + " " + right + "}}"

    def text(self):
        return self.rng.choice(["", " ", "\n", "\n\n", "  \n  ", "word", " a b ", "x\n", "\n  y",
                                "\t", "{ }", "}}", "é🙂", "\r\n", "line\n    "])

    def statements(self, depth, in_loop=False):
        return "".join(self.statement(depth, in_loop) + self.text()
                       for _ in range(self.rng.randrange(1, 4)))

    def statement(self, depth, in_loop):
        r, pick = self.rng, self.rng.choice
        if depth <= 0 or r.random() < 0.3:
            return self.text() + self.output(1)
        kind = r.randrange(16)
        inner = lambda loop=in_loop: self.text() + self.statements(depth - 1, loop)
        e = lambda d=1: self.expression(d)
        t = self.tag
        if kind <= 2:
            middle = t("elif " + e()) + inner() if r.random() < 0.4 else ""
            other = t("else") + inner() if r.random() < 0.5 else ""
            return t("if " + e()) + inner() + middle + other + t("endif")
        if kind <= 6:
            head = pick(["for x in items", "for m in messages", "for k, v in d.items()",
                         "for c in s", "for i in range(3)", f"for x in {self.expression(2, 'list')}",
                         "for x in items if x is string", "for x in missing",
                         "for m in messages recursive", "for x in [1, [2, 3]] recursive",
                         "for i in range(5) if i is odd"])
            loop = pick(["loop.index", "loop.index0", "loop.first", "loop.last", "loop.length",
                         "loop.revindex", "loop.revindex0", "loop.previtem", "loop.nextitem",
                         "loop.cycle('a', 'b')", "loop.changed(x)", "loop.depth", "x", "m.role",
                         "i", "k ~ v", "loop(x) if x is sequence and x is not string else x"])
            stop = pick(["", "", t(f"if {e(1)}") + t(pick(["break", "continue"])) + t("endif")])
            other = t("else") + inner() if r.random() < 0.3 else ""
            return (t(head) + self.text() + "{{ " + loop + " }}" + stop + inner(True) + other +
                    t("endfor"))
        if kind == 7:
            return t(f"set {pick(['x', 's', 'y', 'ns.x', 'ns.y', 'a, b'])} = {e()}") + self.text()
        if kind == 8:
            filters = pick(["", " | upper", " | trim | length"])
            return t(f"set y{filters}") + inner() + t("endset") + "{{ y }}"
        if kind == 9:
            name = pick(["mac", "mac2"])
            params = pick(["", "a", "a, b=2", "a, b=a", "a='q', b=s"])
            body = pick(["{{ a }}{{ b }}", "{{ varargs }}{{ kwargs }}", "{{ s }}{{ ns.x }}",
                         "{% if caller %}{{ caller() }}{% endif %}", "{{ a ~ mac is defined }}"])
            call = pick(["()", "(1)", "(1, 2)", "(b=3)", "(a=1, b=2)", "(1, 2, 3)", "(z=1)",
                         "(*items)", "(**d)"])
            return (t(f"macro {name}({params})") + self.text() + body + self.text() +
                    t("endmacro") + "{{ " + name + call + " }}")
        if kind == 10:
            return (t("macro wrap(a='')") + "<{{ caller(a) }}>" + t("endmacro") +
                    t(f"call(v) wrap({e(1)})") + "{{ v }}" + inner(False) + t("endcall"))
        if kind == 11:
            return t("filter " + pick(["upper", "trim", "replace('a', 'b')", "indent(2)", "upper|trim"])) + inner() + t("endfilter")
        if kind == 12:
            return t(f"with x = {e()}, y = 1") + inner() + "{{ x }}" + t("endwith")
        if kind == 13:
            return pick(["{# note #}", "{#- note -#}", "{#+ note #}", "  {# a\nb #}\n", "{# x -#}"])
        if kind == 14:
            return t("raw") + "{{ raw }} {% if %}\n" + t("endraw")
        return t("generation") + inner(False) + t("endgeneration")

    def context(self):
        r = self.rng
        context = {
            "s": r.choice(["Hello World", "", "  spaced out  ", "aBc-dEf", "user"]),
            "n": r.choice([0, 1, 5, -7, 42, 10**12]),
            "f": r.choice([0.0, 1.5, -2.25, 1e16, 1e-5, 100.0, 3.14159]),
            "items": r.choice([["a", "b", "c"], [1, 2, 3], [], ["x", 1, None, 2.5, True]]),
            "d": r.choice([{"a": 1, "b": "two"}, {}, {"b": 1, "a": [1, {"z": None}]}]),
            "messages": [
                {"role": "user", "content": r.choice(["Hi", "", "naïve <|x|>\n"])},
                {"role": "assistant", "content": r.choice([None, "Yes.", "<think>a</think>b"]),
                 "tool_calls": r.choice([[], [{"function": {"name": "f", "arguments": {"x": 1}}}]])},
                {"role": r.choice(["user", "tool"]), "content": "last"}],
            "empty": r.choice(["", [], {}]),
            "nothing": None,
            "flag": r.choice([True, False]),
            "uni": r.choice(["Straße ΣΑΣ", "ﬁancé İ", "日本語 text", "e\u0301🙂\u200b", "ǆ ŉ ΐ"]),
            "big": r.choice([2**53 + 1, 2**63, -2**63, 10**18]),
            "deep": {"a": {"b": [{"c": "end"}]}},
        }
        if r.random() < 0.2:
            del context[r.choice(["s", "n", "items", "d", "flag", "uni"])]
        return context


def random_cases(count, seed):
    maker = Maker(random.Random(seed))
    for i in range(count):
        setup = "{%- set ns = namespace(x=1) -%}"
        if i % 2 == 0:
            source = setup + "{{ " + maker.expression(4) + " }}"
        else:
            source = setup + maker.text() + maker.statements(3)
        yield f"random {seed}/{i}", source, maker.context()


def data_cases(folder):
    for path in sorted(pathlib.Path(folder).glob("*.jinja")):
        contexts = json.loads(path.with_suffix(".json").read_text())
        for i, case in enumerate(contexts):
            yield f"{path.name} {i}", path.read_text(), case.get("context", case)


class TooMuch(BaseException):
    """jinja2 knows no limits: 'x' * 10**12 and the like are not what is compared here."""


def give_up(signal_number, frame):
    raise TooMuch()


def main():
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
    signal.signal(signal.SIGALRM, give_up)
    parser = argparse.ArgumentParser()
    parser.add_argument("render_lines")
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data")
    parser.add_argument("--show", type=int, default=10)
    options = parser.parse_args()
    cases = list(random_cases(options.cases, options.seed))
    if options.data:
        cases += data_cases(options.data)
    lines = "".join(json.dumps({"template": source, "context": context}) + "\n"
                    for _, source, context in cases)
    run = subprocess.run([options.render_lines], input=lines, capture_output=True, text=True,
                         check=True)
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(answers) == len(cases), (len(answers), len(cases))

    environment = make_environment()
    wrong = rendered = refused = beyond = unbounded = 0
    for (name, source, context), answer in zip(cases, answers):
        signal.alarm(2)
        try:
            expected, error = environment.from_string(source).render(**context), None
            expected.encode()  # text with lone surrogates is no text
        except (TooMuch, MemoryError):
            unbounded += "error" not in answer
            continue
        except Exception as exception:  # whatever jinja2 raises, ferry must refuse
            expected, error = None, f"{type(exception).__name__}: {exception}"
        finally:
            signal.alarm(0)
        if error and "error" in answer:
            refused += 1
            continue
        if "error" in answer and any(text in answer["error"] for text in REFUSALS):
            beyond += 1
            continue
        if expected is not None and " at 0x" in expected:
            continue  # an address: nothing to compare with
        if expected == answer.get("rendered"):
            rendered += 1
            continue
        wrong += 1
        if wrong <= options.show:
            print(f"--- {name}\n{source!r}\ncontext: {json.dumps(context, ensure_ascii=False)}\n"
                  f"jinja2: {expected!r} {error or ''}\nferry:  {answer}")
    print(f"{rendered} equal, {refused} refused by both, {beyond} refused by ferry by design, "
          f"{wrong} wrong")
    if unbounded:
        print(f"{unbounded} beyond jinja2's time or memory here and rendered by ferry all the same")
    return 1 if wrong or rendered < len(cases) // 5 else 0


if __name__ == "__main__":
    sys.exit(main())
