"""Random programs out of what generate.py leaves out: descriptors, decorators, bodies of classes, generators that are thrown into,
finally that overrides, finalizers and weak references, traces, warnings, threads, context variables, async generators.

    python tests/flow/unusual.py --seed 7            print one
    python tests/flow/unusual.py --soak 60           compare programs for a minute; prints those that differ
"""

from __future__ import annotations

import random
import sys

import generate

PRELUDE = """
import contextvars
import gc
import heapq
import operator
import sys
import threading
import traceback
import types
import warnings
import weakref
from dataclasses import dataclass, field
from enum import Enum

sys.modules.setdefault(__name__, types.ModuleType(__name__))  # dataclasses look there
VAR = contextvars.ContextVar("VAR", default=0)

class Doubled:
    def __set_name__(self, owner, name):
        self.name = "_" + name
    def __get__(self, o, owner=None):
        return self if o is None else getattr(o, self.name, 1) * 2
    def __set__(self, o, value):
        setattr(o, self.name, f(value % 50))
    def __delete__(self, o):
        delattr(o, self.name)

class Lazy:
    def __init__(self, function):
        self.function = function
    def __get__(self, o, owner=None):
        return self if o is None else self.function(o)

class Thing:
    level = Doubled()
    __slots__ = ("_level", "extra", "__weakref__")
    def __init__(self, x):
        self.level = x
    @Lazy
    def lazily(self):
        return f(self.level)
    def __getattr__(self, name):
        if name.startswith("x"):
            return f(len(name))
        raise AttributeError(name)
    def __iadd__(self, other):
        self.level = self.level + f(other)
        return self
    def __index__(self):
        return self.level % 3
    def __contains__(self, v):
        return f(v) > 4
    def __call__(self, v):
        return f(v) + self.level

class Noisy:
    def __init__(self, log, name):
        self.log, self.name = log, name
    def __del__(self):
        self.log.append(("gone", self.name))

class Color(Enum):
    RED = 1
    BLUE = 2

@dataclass(order=True)
class Point:
    x: int
    y: int = 0
    tags: list = field(default_factory=list, compare=False)

class Meta(type):
    def __new__(cls, name, bases, space):
        made = super().__new__(cls, name, bases, space)
        made.count = len(space)
        return made

def overrides(log, x):
    for i in range(3):
        try:
            try:
                log.append(f(i))
                if f(x) > 5:
                    return "early", f(i)
                boom(x)
            finally:
                log.append("inner")
                if f(i) == 7:
                    continue
        except ValueError as e:
            log.append(e.args)
            try:
                raise KeyError(f(x)) from e
            except KeyError:
                if i == 1:
                    return "inside"
        finally:
            log.append(("outer", f(x + i)))
            if x % 5 == 4:
                return "overridden"
    else:
        return "all"

def sends(log):
    total = 0
    while True:
        try:
            got = yield total
            total += f(got or 0)
        except KeyError as e:
            log.append(("thrown", e.args))
            total = f(total)
        except GeneratorExit:
            log.append("closed")
            raise

def delegates(log, x):
    got = yield from sends(log)
    return got

def deep(k):
    return deep(k + 1) + 1

def countdown(k):
    return f(k) if k <= 0 else countdown(k - 1) + f(k)

async def aitems(k):
    try:
        for i in range(k):
            yield await ask(i)
    finally:
        await ask(1)

class Managed:
    def __init__(self, log):
        self.log = log
    async def __aenter__(self):
        self.log.append(await ask(2))
        return self
    async def __aexit__(self, kind, value, tb):
        self.log.append(kind and kind.__name__)
        return kind is IndexError and f(3) > 100
"""


class Program(generate.Program):
    def statement(self):
        if self.pick(5) < 2:
            return super().statement()
        if self.kind == "coroutine" and not self.inside and self.pick(3) == 0:
            return self.one(*self.awaits())()
        if self.depth < 3 and self.pick(3) == 0:
            return self.one(*self.blocks())()
        return self.one(*self.singles())()

    def singles(self):
        n, name = self.number, self.one(*generate.NAMES)
        return [
            lambda: [f"{name}, *rest, last = {self.items()} + [{n()}, {n()}]", "log.append((rest, last))"],
            lambda: [f"[{name}, (d[{n()}], *out[1:1])] = {n()}, [{n()}, {n()}]"],
            lambda: [f"out[{self.pick(2)}:{self.pick(4)}] += [{n()}, {n()}]"],
            lambda: ["out[::2] = [f(v if isinstance(v, int) else 1) for v in out[::2]]"],
            lambda: [f"out *= {self.pick(3)}", "out[:] = out[:8] or [1]"],
            lambda: ["d.setdefault('k', []).append(" + n() + ")", "del d['k']"],
            lambda: [f"x = [{n()}, {n()}, {n()}]", "del x[f(1) % 2]", "log.append(x)"],
            lambda: [f"log.append([(y := f(i)) + y for i in range(3) if ({name} := i + {n()}) % 2])"],
            lambda: ["log.append({(k := f(i)): k + i for i in range(4)})"],
            lambda: [f"log.append(overrides(log, {n()}))"],
            lambda: [f"t = Thing({n()})", f"t += {n()}", "log.append((t.level, t.lazily, t.xyz))"],
            lambda: [
                f"t = Thing({n()})",
                f"log.append(({n()} in t, t({n()}), [4, 5, 6][t]))",
                "del t.level",
                "log.append(t.level)",
            ],
            lambda: ["try:", f"    Thing({n()}).missing", "except AttributeError as e:", "    log.append(str(e))"],
            *([] if self.kind == "coroutine" else self.mortals()),
            lambda: [
                "gs = sends(log)",
                "next(gs)",
                f"log.append(gs.send({n()}))",
                f"log.append(gs.throw(KeyError({n()})))",
                "gs.close()",
            ],
            lambda: [
                "gs = delegates(log, 1)",
                "next(gs)",
                f"log.append([gs.send({n()}), gs.throw(KeyError(1)), gs.send({n()})])",
                "del gs",
                "log.append(f(3))",
            ],
            lambda: ["try:", f"    deep(f({self.pick(3)}))", "except RecursionError:", "    log.append('deep')"],
            lambda: [f"log.append(countdown({self.pick(25)}))"],
            lambda: [
                "with warnings.catch_warnings(record=True) as ws:",
                "    warnings.simplefilter('always')",
                f"    warnings.warn(str({n()}))",
                f"    {name} = {n()}",
                "log.append([str(w.message) for w in ws])",
            ],
            lambda: [
                f"token = VAR.set({n()})",
                f"{name} = VAR.get() + f(1)",
                "VAR.reset(token)",
                "log.append(VAR.get())",
            ],
            lambda: [
                f"log.append(contextvars.copy_context().run(lambda: (VAR.set(f({self.within(n)})), VAR.get())[1]))",
                "log.append(VAR.get())",
            ],
            lambda: [
                f"th = threading.Thread(target=lambda: log.append(f({self.pick(9)})))",
                "th.start()",
                "try:",
                f"    {name} = {n()}",
                "finally:",
                "    th.join()",
            ],
            lambda: [f"log.append((Color(1 + f({n()}) % 2), Color.RED.name, Color['BLUE'].value))"],
            lambda: [
                f"ps = [Point(f(i), {n()}) for i in range(3)]",
                "ps.sort()",
                "ps[0].tags.append(f(1))",
                "log.append(ps)",
            ],
            lambda: [f"log.append(sorted(map(Point, {self.items()}), key=operator.attrgetter('x')))"],
            lambda: [
                "hq = []",
                f"for v in {self.items()}: heapq.heappush(hq, (f(v % 7), v))",
                "log.append([heapq.heappop(hq) for _ in range(len(hq))])",
            ],
            lambda: [f"log.append(eval('f(n) + {self.pick(5)}', globals(), {{'n': {n()}}}))"],
            lambda: [f"exec('total = f(k) + k', globals(), (ns := {{'k': {n()}}}))", "log.append(ns['total'])"],
            lambda: [f"log.append((lambda *xs, k={n()}, **kw: (f(sum(xs)), k, sorted(kw)))(*{self.items()}, z={n()}))"],
            lambda: [
                f"log.append('%s %r' % (f({n()}), g({n()})) + f'{{f({self.pick(4)})!r:>{{{self.pick(4)} + 3}}}}')"
            ],
            lambda: [f"log.append({n()} if {n()} else boom({n()}))", f"log.append(({n()} or f(1)) and {n()})"],
            lambda: ["log.append(traceback.extract_stack()[-1].name)", f"{name} = {n()}"],
            lambda: ["log.append(sorted(k for k in locals() if k in 'abc'))", f"{name} = {n()}"],
            lambda: [f"globals()['GLOBAL'] = {n()}", "log.append(GLOBAL + f(1))"],
            lambda: [f"assert isinstance({n()}, (int, float)), {n()}"],
            lambda: ["xs, ys = zip(*[(f(i), i) for i in range(3)])", "log.append((xs, ys))"],
            lambda: [f"it = iter({self.items()})", "log.append(list(zip(it, it)))", "log.append(f(1))"],
        ]

    def mortals(self):
        """What can tell when an object dies; when an event loop lets go of frames is its own affair."""
        n, name = self.number, self.one(*generate.NAMES)
        return [
            lambda: [
                f"x = Noisy(log, {n()})",
                f"y = [x, {n()}]",
                "x = None",
                f"{name} = {n()}",
                "y.clear()",
                f"{name} = f({name})",
            ],
            lambda: [
                "x = Noisy(log, 'cycle')",
                "x.me = x",
                "del x",
                f"{name} = {n()}",
                "gc.collect()",
                "log.append(f(2))",
            ],
            lambda: [
                "x = Point(1)",
                "w = weakref.ref(x, lambda r: log.append('dead'))",
                f"{name} = {n()}",
                "log.append(w() is x)",
                "del x",
                "log.append((w(), f(1)))",
            ],
        ]

    def blocks(self):
        return self.definitions() + self.ways()

    def definitions(self):
        n, block = self.number, self.block
        self.loops += 1
        i = f"j{self.loops}"
        return [
            lambda: [
                f"match {self.one(self.items(), n(), 'g(n)', 'd', 'o', 'Point(f(n), 2)', '{1: f(n), 2: [f(2)]}')}:",
                f"    case [x, *others] if f(len(others)) {self.one('>', '<')} 3:",
                *["    " + line for line in block(2)],
                "    case int(x) | float(x) if x > f(2):",
                "        log.append(x)",
                "    case Point(x, y=2) if boom(x % 3):",
                "        log.append(x)",
                "    case {1: one, **others}:",
                "        log.append((one, others))",
                "    case [] | None | Color.RED:",
                "        pass",
                "    case SimpleNamespace(x=int(v)) as whole:",
                "        log.append(f(v % 7))",
                "    case _:",
                *["    " + line for line in block(1)],
            ],
            lambda: [
                f"class C{i}(metaclass=Meta):",
                f"    one = f({self.one('a', 'b', 'n', 'g(a)[2]')})",
                "    two = [f(i) for i in range(3)]",
                f"    if one > {self.pick(9)}:",
                "        three = boom(one % 3)",
                "    def get(self, v=f(2)):",
                "        return f(v) + self.one + type(self).count",
                "    @classmethod",
                "    def make(cls):",
                "        return cls().get(cls.one)",
                "    @staticmethod",
                "    def plain(v): return f(v)",
                f"log.append((C{i}.make(), C{i}().get(), C{i}.plain({n()}), C{i}.two))",
            ],
            lambda: [
                f"def deco{i}(k):",
                "    def inner(function):",
                "        calls = 0",
                "        @functools.wraps(function)",
                "        def wrapped(*args):",
                "            nonlocal calls",
                "            calls += f(k)",
                "            log.append(('called', function.__name__, calls))",
                "            return function(*args)",
                "        return wrapped",
                "    return inner",
                f"@deco{i}({n()})",
                f"@deco{i}(2)",
                f"def decorated{i}(x, y=f(3)):",
                "    return f(x) + y",
                f"log.append(decorated{i}({n()}) + decorated{i}({n()}))",
            ],
            lambda: [
                f"def outer{i}():",
                "    k = 0",
                "    fs = []",
                "    def step(v):",
                "        nonlocal k",
                "        k += f(v)",
                "        return k",
                "    for v in range(3):",
                "        fs.append(lambda v=v: step(v) + v)",
                f"    if step({self.pick(6)}) > 3:",
                "        del fs[0]",
                "    return [fn() for fn in fs], k",
                f"log.append(outer{i}())",
            ],
        ]

    def ways(self):
        n, t, block = self.number, self.test, self.block
        self.loops += 1
        i = f"j{self.loops}"
        return [
            lambda: [
                "try:",
                *block(2),
                "except* ValueError as eg:",
                "    log.append(len(eg.exceptions))",
                f"    {self.one('a', 'b')} = {n()}",
            ],
            lambda: [
                "try:",
                f"    raise ExceptionGroup('eg', [ValueError(f({n()})), KeyError(f(1)), IndexError()])",
                "except* (ValueError, IndexError) as eg:",
                "    log.append([type(e).__name__ for e in eg.exceptions])",
                f"    log.append({n()})",
                "except* KeyError as eg:",
                "    log.append(eg.exceptions[0].args)",
                f"    log.append({n()})",
            ],
            lambda: [
                f"for {i} in range(3):",
                "    try:",
                *["    " + line for line in block(1)],
                f"        if {t()}: {self.one('break', 'continue')}",
                "    finally:",
                *["    " + line for line in block(1)],
                "else:",
                *block(1),
            ],
            lambda: [
                f"seen_lines{i} = []",
                f"def tracer{i}(frame, event, arg):",
                f"    if frame.f_code.co_name == 'traced{i}':",
                f"        seen_lines{i}.append((event, frame.f_lineno - frame.f_code.co_firstlineno))",
                f"        return tracer{i}",
                f"def traced{i}(x):",
                "    y = f(x)",
                "    for k in range(2):",
                "        y += f(k)",
                "    return y",
                f"sys.{self.one('settrace', 'setprofile')}(tracer{i})",
                "try:",
                f"    log.append(traced{i}({n()}))",
                f"    {self.one('a', 'b')} = {n()}",
                "finally:",
                "    sys.settrace(None)",
                "    sys.setprofile(None)",
                f"log.append(seen_lines{i})",
            ],
            lambda: [
                "with contextlib.ExitStack() as stack:",
                "    stack.callback(lambda: log.append(('callback', f(1))))",
                "    stack.enter_context(note(log))",
                *block(2),
            ],
            lambda: ["with contextlib.suppress(ValueError), note(log) as nothing:", *block(2)],
            lambda: [
                f"def gen{i}(k):",
                "    x = yield f(k)",
                "    try:",
                "        while x is not None and x < 9:",
                "            x = yield (yield f(x)) or x + 1",
                "        return x",
                "    finally:",
                "        log.append(('end', f(k)))",
                f"g{i} = gen{i}({n()})",
                f"log.append(next(g{i}))",
                "try:",
                f"    log.append(g{i}.send({n()}))",
                *block(1),
                f"    log.append(g{i}.send({n()}))",
                f"    log.append(g{i}.throw(ValueError('v')))",
                "except (StopIteration, ValueError) as e:",
                "    log.append((type(e).__name__, e.args))",
                f"del g{i}",
            ],
        ]

    def awaits(self):
        n, block = self.number, self.block
        self.loops += 1
        i = f"k{self.loops}"
        return [
            lambda: [f"async for {i} in aitems({self.pick(5)}):", f"    n = {i}", *block(2)],
            lambda: [f"log.append([{i} async for {i} in aitems(3) if {i} % 2])", f"n = {n()}"],
            lambda: [f"log.append([await ask(f({i})) for {i} in range(3)])"],
            lambda: ["async with Managed(log) as m:", *block(2)],
            lambda: [
                f"log.append(await asyncio.gather(*[ask(i) for i in range({self.pick(4)})], return_exceptions=True))"
            ],
            lambda: [f"n = sum([v async for v in aitems(4)]) + {n()}"],
            lambda: ["ag = aitems(3)", "log.append(await anext(ag))", f"n = {n()}", "await ag.aclose()"],
            lambda: [
                f"tk = asyncio.ensure_future(asyncio.sleep(0, {self.pick(9)}))",
                f"n = {n()}",
                "log.append(await tk)",
            ],
        ]

    def text(self):
        whole = super().text()
        at = whole.index("async def main(" if self.kind == "coroutine" else "def main(")
        return whole[:at] + PRELUDE.lstrip() + "\n" + whole[at:]


def from_seed(seed):
    rng = random.Random(seed)
    return Program(lambda n: rng.randrange(n), generate.KINDS[seed % 4]).text()


if __name__ == "__main__":
    sys.exit(generate.main(sys.argv[1:], from_seed))
