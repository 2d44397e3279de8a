"""Random programs out of all kinds of statements, for comparing `schedule` with plain execution.

    python tests/flow/generate.py --seed 7            print one
    python tests/flow/generate.py --soak 60           compare programs for a minute; prints those that differ

A program is the text of a module with main(log); `f`, `g`, `h` and `boom` are functionals, `helper` is a plain function.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import io
import random
import sys
import textwrap
import time

PRELUDE = """
import asyncio
import contextlib
import functools
import time
from types import SimpleNamespace
import itertools
from collections import defaultdict, deque
from functools import reduce

import numpy as np

LIMIT = [0]

class Pair:
    def __init__(self, a, b=0):
        self.a, self.b = a, b
    def total(self):
        return self.a + self.b
    @property
    def half(self):
        return self.a // 2
    def __eq__(self, other):
        return type(other) is Pair and (self.a, self.b) == (other.a, other.b)
    def __repr__(self):
        return f"Pair({self.a!r}, {self.b!r})"

def f(x):
    time.sleep((x % 3) * 0.0004)
    return x * 7 % 11

def g(x, y=1):
    time.sleep((y % 2) * 0.0005)
    return [x, y, (x * y) % 5]

def h(xs):
    return sum(v if isinstance(v, int) else len(v) for v in xs) % 13

def same(xs):
    return xs

def boom(x):
    time.sleep(0.0003)
    if x % 4 == 3:
        raise ValueError("boom", x)
    return x + 1

async def ask(x):
    await asyncio.sleep((x % 3) * 0.0004)
    if x % 11 == 7:
        raise IndexError("ask", x)
    return x * 5 % 13

def helper(xs, v):
    xs.append(v)
    return len(xs)
"""

NAMES = ["a", "b", "c"]


class Program:
    """Writes a program; `pick(n)` gives a number below n. kind: main is "plain", a "generator" or a "coroutine"."""

    def __init__(self, pick, kind="plain"):
        self.pick = pick
        self.kind = kind
        self.inside = 0  # functions, lambdas and generator expressions that cannot await
        self.depth = 0
        self.loops = 0
        self.functions = 0

    def one(self, *choices):
        return choices[self.pick(len(choices))]

    # --- expressions: `number` gives a small int, `items` a list of ints -------------------------------------

    def number(self, depth=0):
        if depth > 2:
            return self.one("1", "2", "n", "a", "b", "c")
        inner = lambda: self.number(depth + 1)  # noqa: E731
        kind = self.pick(23)
        if kind < 4:
            return self.one("0", "3", "n", "a", "b", "c")
        if kind < 8:
            return f"f({inner()})"
        if kind == 22:
            if self.kind != "coroutine":
                return f"ask({inner()})"
            return f"f({inner()})" if self.inside else f"(await ask({inner()}))"
        if kind < 10:
            return f"({inner()} {self.one('+', '-', '*')} {inner()}) % 17"
        return [
            lambda: f"boom({inner()})",
            lambda: f"h({self.items(depth + 1)})",
            lambda: f"g({inner()}, {inner()})[2]",
            lambda: f"len({self.items(depth + 1)})",
            lambda: f"sum({self.items(depth + 1)})",
            lambda: f"({inner()} if {self.test(depth + 1)} else {inner()})",
            lambda: f"max({inner()}, {inner()})",
            lambda: f"d.get({inner()}, {inner()})",
            lambda: f"o.x + {inner()}",
            lambda: f"(c := {inner()})",
            lambda: f"Pair({inner()}, {inner()}).total()",
            lambda: f"abs({inner()})",
        ][kind - 10]()

    def test(self, depth=0):
        kind = self.pick(7)
        if kind == 0:
            return f"{self.number(depth + 1)} in seen"
        if kind == 1:
            return f"not {self.number(depth + 1)}"
        if kind == 2:
            return f"({self.number(depth + 1)} > 3 {self.one('and', 'or')} {self.number(depth + 1)} < 8)"
        if kind == 3:
            return f"1 <= {self.number(depth + 1)} < {self.number(depth + 1)}"
        return f"{self.number(depth + 1)} {self.one('<', '>', '==', '!=', '>=')} {self.number(depth + 1)}"

    def items(self, depth=0):
        if depth > 2:
            return self.one("out[:3]", "[n, 1]", "list(seen)[:2]")
        inner = lambda: self.number(depth + 1)  # noqa: E731
        return [
            lambda: f"[{inner()}, {inner()}]",
            lambda: f"[f(i) for i in range({self.pick(5)})]",
            lambda: f"[f(i) for i in range(5) if {self.one('f(i) % 2', 'i != 2', 'boom(i % 3) > 1')}]",
            lambda: f"g({inner()})",
            lambda: "[*out[-2:], " + inner() + "]",
            lambda: f"sorted([{inner()}, {inner()}, {inner()}])",
            lambda: f"sorted(range(4), key=lambda q: (f(q), {self.one('q', '-q')}))",
            lambda: "list(map(f, range(4)))",
            lambda: self.within(lambda: f"list(f(i) + {inner()} for i in range(3))"),
            lambda: "[p for p, q in zip(range(4), map(f, range(4))) if q > 3]",
            lambda: "[v for r in rows for v in r][:4]",
        ][self.pick(11)]()

    def within(self, write):
        """What cannot await."""
        self.inside += 1
        text = write()
        self.inside -= 1
        return text

    # --- statements ---------------------------------------------------------------------------------------------

    def block(self, size=3):
        self.depth += 1
        lines = []
        for _ in range(1 + self.pick(size)):
            lines += self.statement()
        self.depth -= 1
        return ["    " + line for line in lines]

    def statement(self):
        simple = self.depth > 3
        kind = self.pick(44 if simple else 63)
        if kind < 18:
            return self.plain(kind)
        if kind < 30:
            return self.more(kind - 18)
        if kind < 44:
            return self.others(kind - 30)
        return self.compound(kind - 44)

    def plain(self, kind):
        n, name = self.number, self.one(*NAMES)
        return [
            lambda: [f"{name} = {n()}"],
            lambda: [f"{name} {self.one('+=', '-=', '^=')} {n()}"],
            lambda: [f"out.append({n()})"],
            lambda: [f"d[{n()}] = {n()}"],
            lambda: [f"seen.add({n()})"],
            lambda: [f"rows[{n()} % 3].append({n()})"],
            lambda: [f"o.x {self.one('=', '+=')} {n()}"],
            lambda: [f"print({n()}, {n()})"],
            lambda: [f"log.append({n()})"],
            lambda: [f"helper(out, {n()})"],
            lambda: [f"out.extend({self.items()})"],
            lambda: [f"{name}, *rest = {self.items()}"],
            lambda: [f"a, b = {n()}, {n()}"],
            lambda: [f"q.append({n()})", "if len(q) > 2: log.append(q.popleft())"],
            lambda: [f"text += f'{{{n()}}}-{{{name}:>3}}'"],
            lambda: [f"assert {n()} < 40, {n()}"],
            lambda: [f"out[-1:] = {self.items()}"],
            lambda: [f"{n()}"],
        ][kind]()

    def more(self, kind):
        n, name = self.number, self.one(*NAMES)
        return [
            lambda: ["r = same(out)", "log.append((r is out, same(rows)[0] is rows[0]))"],
            lambda: [f"arr[{self.pick(4)}] = {n()}", f"{name} = int(arr.sum()) % 50"],
            lambda: [f"arr[:, None][{self.pick(4)}] += {n()}", "log.append(arr.tolist())"],
            lambda: [f"arr = arr + np.array([{n()}, 1, {n()}, 2])"],
            lambda: [f"cube = {{k: f(k + {n()}) for k in range(3)}}", "d.update(cube)"],
            lambda: [f"vs = {self.items()}", "seen |= {f(v) for v in vs}"],
            lambda: [f"{name} = reduce(lambda p, q: p + f(q), {self.items()}, {n()}) % 31"],
            lambda: [f"kw = dict(x={n()}, y={n()})", "out.append(g(**kw)[2])"],
            lambda: [f"dd[{n()} % 3].append({n()})", "log.append(len(dd))"],
            lambda: [f"w = Child({n()})", f"w.bump({n()})", f"{name} = w.v"],
            lambda: [f"out.sort(key=lambda q: (f(q if isinstance(q, int) else len(q)), {self.one('1', '2')}))"],
            lambda: [f"for x, y in zip(map(f, range(3)), itertools.chain([{n()}], out[:2])): text += str((x, y))"],
        ][kind]()

    def others(self, kind):
        n, name = self.number, self.one(*NAMES)
        return [
            lambda: [
                f"it = map(f, {self.items()})",
                "log.append(next(it, None))",
                f"{name} = {n()}",
                "log.append(list(it))",
            ],
            lambda: [
                "it = itertools.chain(iter([1, 2]), gen(2))",
                "log.append(next(it))",
                f"{name} = {n()}",
                "log.append(list(it))",
            ],
            lambda: ["ec = echo(log)", "next(ec)", f"log.append(ec.send({n()}))", f"log.append(ec.send({n()}))"],
            lambda: [f"pf = functools.partial(g, {n()})", f"out.append(pf({n()})[2])", f"{name} = pf({n()})[0]"],
            lambda: [f"out.append(g(*[{n()}, {n()}])[0])", f"{name} = g(**dict(y={n()}), x={n()})[1]"],
            lambda: [f"vs = {self.items()}", "log.append([y for i in vs if (y := f(i)) % 2])"],
            lambda: [f"list(map(log.append, {self.items()}))"],
            lambda: [f"LIMIT[0] += {n()}", f"{name} = LIMIT[0] % 19"],
            lambda: [f"{name} = twice({n()})", f"{name} ^= twice({n()})"],
            lambda: [f"log.append(sorted({self.items()}, key=f, reverse=True))"],
            lambda: [f"x = {n()}", "del x"],
            lambda: [f"first, (second, *_), third = {n()}, g({n()}), {n()}", "log.append((first, second, third))"],
            lambda: [
                f"e2 = [{{'k': {n()}}} for _ in range(2)]",
                "log.append([v['k'] for v in e2])",
                "e2[0]['k'] += f(1)",
            ],
            lambda: [f"yield {n()}"] if self.kind == "generator" and not self.inside else [f"log.append({n()})"],
        ][kind]()

    def compound(self, kind):
        t, block = self.test, self.block
        self.loops += 1
        i = f"i{self.loops}"
        return [
            lambda: [f"if {t()}:", *block(), "else:", *block(2)],
            lambda: [f"if {t()}:", *block(2)],
            lambda: [f"for {i} in range({1 + self.pick(5)}):", f"    n = {i}", *block()],
            lambda: [f"for {i} in {self.items()}:", f"    n = {i} % 7", *block(2)],
            lambda: [
                f"for {i} in range(4):",
                f"    n = {i}",
                *block(2),
                f"    if {t()}: {self.one('break', 'continue')}",
                *block(1),
                "else:",
                *block(1),
            ],
            lambda: [
                f"{i} = 0",
                f"while {i} < {1 + self.pick(3)} and {t()}:",
                f"    {i} += 1",
                *block(2),
            ],
            lambda: ["try:", *block(), "except ValueError as e:", "    log.append(e.args)", *block(1)],
            lambda: [
                "try:",
                *block(2),
                "except (ValueError, IndexError):",
                *block(1),
                "else:",
                *block(1),
                "finally:",
                *block(1),
            ],
            lambda: ["try:", *block(2), "finally:", "    log.append('fin')"],
            lambda: ["with note(log):", *block(2)],
            lambda: self.local_function(),
            lambda: [
                f"match {self.items()}:",
                "    case [x, y]:",
                "        log.append((x, y))",
                "    case [x, *_]:",
                *["    " + line for line in block(1)],
                "    case _:",
                "        pass",
            ],
            lambda: [f"for {i}, v in enumerate({self.items()}):", f"    d[{i}] = f(v)"],
            lambda: ["for k, v in list(d.items()):", "    out.append((k, v))" if False else "    log.append(f(k))"],
            lambda: [f"if {t()}: return {self.number()}"] if self.depth < 2 else ["pass"],
            lambda: [f"for v in gen({self.pick(4)}):", "    n = v", *block(2)],
            lambda: [
                f"{i} = 0",
                "while True:",
                f"    {i} += 1",
                *block(2),
                f"    if {i} > {1 + self.pick(4)} or {t()}: break",
            ],
            lambda: [
                f"match Pair({self.number()}, {self.number()}):",
                "    case Pair(a=0 | 1, b=y):",
                "        log.append(y)",
                f"    case Pair(a=x) if {t()}:",
                *["    " + line for line in block(1)],
                "    case _:",
                "        log.append(None)",
            ],
            lambda: [f"with managed(log, {self.number()}) as v:", "    log.append(v)", *block(2)],
        ][kind]()

    def local_function(self):
        self.functions += 1
        name = f"fn{self.functions}"
        self.inside += 1
        body = self.one(
            ["    nonlocal b", "    b = b + f(p)", "    return b"],
            ["    out.append(f(p))", "    return len(out)"],
            ["    return boom(p) + n"],
            ["    if f(p) > 4:", "        return p", "    log.append(p)", "    return f(p + 1)"],
        )
        self.inside -= 1
        return [f"def {name}(p):", *body, f"c = {name}({self.number()})", f"c += {name}({self.number()})"]

    def text(self):
        body = []
        for _ in range(3 + self.pick(5)):
            body += self.statement()
        lines = [
            "async def main(log):" if self.kind == "coroutine" else "def main(log):",
            "    a, b, c, n, text = 1, 2, 3, 4, ''",
            "    out, d, seen, o, rows, q = [0], {}, set(), SimpleNamespace(x=1), [[], [], []], deque()",
            "    arr, dd, r = np.zeros(4), defaultdict(list), None",
            "    class Base:",
            "        def __init__(self, v): self.v = f(v)",
            "        def bump(self, k): self.v += k",
            "    class Child(Base):",
            "        def bump(self, k):",
            "            super().bump(f(k))",
            "            log.append(self.v)",
            "    class note:",
            "        def __init__(self, log): self.log = log",
            "        def __enter__(self): self.log.append('in')",
            "        def __exit__(self, kind, value, tb):",
            "            self.log.append(kind and kind.__name__)",
            "            return kind is IndexError",
            "    def gen(m):",
            "        for k in range(m):",
            "            log.append(k)",
            "            yield f(k)",
            "    def echo(log):",
            "        got = None",
            "        while True:",
            "            got = yield got",
            "            log.append(f(got))",
            "    @contextlib.contextmanager",
            "    def managed(log, x):",
            "        try:",
            "            yield f(x)",
            "        finally:",
            "            log.append('out')",
            "    def doubling(function):",
            "        @functools.wraps(function)",
            "        def inner(*args):",
            "            return function(*args) * 2 % 23",
            "        return inner",
            "    @doubling",
            "    def twice(x):",
            "        return f(x)",
            "    LIMIT[0] = 0",
            *["    " + line for line in body],
            *(["    yield a"] if self.kind == "generator" else []),
            "    return a, b, c, n, text, out, d, sorted(map(repr, seen)), o, rows, list(q), arr.tolist(), dict(dd)",
        ]
        return PRELUDE + "\n" + "\n".join(lines) + "\n"


KINDS = ("plain", "plain", "generator", "coroutine")


def from_seed(seed):
    rng = random.Random(seed)
    return Program(lambda n: rng.randrange(n), KINDS[seed % 4]).text()


FUNCTIONALS = ("f", "g", "h", "boom", "same")


def in_place(function):
    """What a call of an async functional gives in a plain function."""

    def call(*args):
        try:
            return asyncio.run(function(*args))
        except Exception as error:
            raise error.with_traceback(None)  # noqa: B904: the loop's frames refer to each other and to ours

    return call


def drained(generator):
    """The items, and what the generator returns."""
    items = []
    while True:
        try:
            items.append(next(generator))
        except StopIteration as end:
            return items, end.value


def run(text, decorate):
    """(result, exception, output, log) as one comparable text."""
    space = {"__name__": "generated", "__builtins__": __builtins__}
    exec(compile(text, "<generated>", "exec"), space)
    if decorate is not None:
        schedule, functional = decorate
        for name in FUNCTIONALS:
            space[name] = functional(space[name])
        space["ask"] = functional(space["ask"])
        space["main"] = schedule(space["main"])
    elif not inspect.iscoroutinefunction(space["main"]):
        space["ask"] = in_place(space["ask"])
    log, output = [], io.StringIO()
    result = raised = None
    with contextlib.redirect_stdout(output):
        try:
            made = space["main"](log)
            if inspect.isgenerator(made):
                result = drained(made)
            elif inspect.iscoroutine(made):
                result = asyncio.run(made)
            else:
                result = made
        except Exception as error:
            raised = (
                type(error).__name__,
                error.args,
                type(error.__context__).__name__,
                type(error.__cause__).__name__,
            )
    if "ask(" in text[text.rindex("def main(log)") :] or "aitems(" in text:
        gc.collect()  # when asyncio lets go of frames is its own affair
    return repr((result, raised, output.getvalue(), log))


def compare(text, decorate):
    """None, or what differs."""
    plain = run(text, None)
    scheduled = run(text, decorate)
    return None if plain == scheduled else f"plain     {plain}\nscheduled {scheduled}"


def main(argv, from_seed=from_seed):
    if "--seed" in argv:
        seed = int(argv[argv.index("--seed") + 1])
        text = from_seed(seed)
        print(textwrap.dedent(text))
        if "--run" not in argv:
            return 0
    import ergon

    ergon.configure(workers=[{"type": "multicore", "cores": 3}])
    decorate = ergon.schedule, ergon.functional
    if "--seed" in argv:
        print(compare(text, decorate))
        return 0
    until = time.monotonic() + float(argv[argv.index("--soak") + 1])
    seed = int(argv[argv.index("--from") + 1]) if "--from" in argv else 0
    bad = 0
    while time.monotonic() < until:
        if "-v" in argv:
            print(seed, file=sys.stderr, flush=True)
        difference = compare(from_seed(seed), decorate)
        if difference:
            bad += 1
            print(f"seed {seed}\n{difference}", flush=True)
        seed += 1
    from ergon._schedule import stats

    print(f"{seed} programs, {bad} differ; {stats()}")
    ergon.shutdown()
    return bad != 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
