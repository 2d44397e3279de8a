"""Calls overlap whatever kind of statement they stand in: a witness counts how many are under way at once.

The functional is an async one, because it runs in this process, where it can be counted; what a pass runs ahead of is the same
for all. Every program is compared with plain execution, too.
"""

import asyncio
import contextlib
import dataclasses
import functools
import itertools
import sys

import pytest
from ergon import _core, functional, schedule

pytestmark = pytest.mark.skipif(sys.version_info >= (3, 15), reason="calls run ahead on CPython 3.11 to 3.14")


class Gauge:
    under_way = most = 0


gauge = Gauge()


@functional
async def f(x, *more, **named):
    gauge.under_way += 1
    gauge.most = max(gauge.most, gauge.under_way)
    await asyncio.sleep(0.03)
    gauge.under_way -= 1
    return x + sum(more) + sum(named.values())


@functional
async def fails(x):
    await f.__wrapped__(x)
    raise KeyError(x)


programs = []


def overlaps(at_least, unless=()):
    """unless: versions of CPython where it is followed in part."""

    def note(main):
        marks = pytest.mark.skipif(sys.version_info[:2] in unless, reason="followed in part on this version")
        programs.append(pytest.param(main, at_least, id=main.__name__, marks=marks))
        return main

    return note


@overlaps(6)
def straight_line():
    a = f(1)
    b = f(2)
    c, d = f(3), f(4)
    e = [f(5), f(6)]
    return a, b, c, d, e


@overlaps(6)
def nested_calls():
    return f(f(1), f(2)) + f(f(3), f(4)) + f(f(5), f(6))


@overlaps(8)
def for_loop():
    out = []
    for i in range(8):
        out.append(f(i))
    return out


@overlaps(8)
def while_loop():
    i, out = 0, {}
    while i < 8:
        out[i] = f(i)
        i += 1
    return out


@overlaps(8)
def loop_with_else_continue():
    out = []
    for i in range(12):
        if i % 3 == 2:
            continue
        out.append(f(i))
    else:
        out.append(-1)
    return out


@overlaps(8)
def comprehensions():
    return [f(i) for i in range(8)], {f(i + 10) for i in range(8)}, {i: f(i + 20) for i in range(8)}


@overlaps(8)
def nested_comprehension():
    return [[f(i * 3 + j) for j in range(3)] for i in range(3)]


@overlaps(8)
def generator_expression():
    return sum(f(i) for i in range(8)), max(f(i) for i in range(8, 16)), list(f(i) for i in range(16, 24))


@overlaps(8)
def map_and_friends():
    return list(map(f, range(8))), sorted(range(8, 16), key=lambda x: -f(x)), list(zip(map(f, range(3)), "abc"))


@overlaps(6)
def conditional_on_results():
    out = []
    for i in range(6):
        v = f(i)
        if v % 2:
            out.append(f(v + 100))
        else:
            out.append(v)
    return out


@overlaps(6)
def break_on_a_result():
    out = []
    for i in range(12):
        v = f(i)
        if v > 7:
            break
        out.append(v)
    return out


@overlaps(6)
def return_on_a_result():
    for i in range(12):
        if f(i) > 7:
            return i
    return None


@overlaps(6)
def while_true_with_break():
    i, out = 0, []
    while True:
        v = f(i)
        if v > 9:
            break
        out.append(v)
        i += 1
    return out


@overlaps(6)
def calls_behind_a_returning_branch():
    a = f(1)
    if a > 100:
        return "early"
    b = [f(i) for i in range(5)]
    return a, b


@overlaps(6)
def raise_on_a_result():
    out = []
    for i in range(8):
        v = f(i)
        if v < 0:
            raise ValueError(v)
        out.append(v)
    return out


@overlaps(6)
def assert_on_a_result():
    out = []
    for i in range(8):
        v = f(i)
        assert v >= 0, v
        out.append(v)
    return out


@overlaps(6)
def loop_while_a_result_says_so():
    total, i = 0, 0
    while total < 30:
        total += f(i)
        i += 1
    return total, i


@overlaps(6)
def try_around_calls():
    out = []
    for i in range(8):
        try:
            out.append(f(i))
        except ValueError:
            out.append(None)
        finally:
            out.append("fin")
    return out


@overlaps(6)
def exceptions_caught():
    out = []
    for i in range(8):
        try:
            out.append(fails(i))
        except KeyError as error:
            out.append(error.args)
    return out


@overlaps(6)
def try_else():
    out = []
    for i in range(8):
        try:
            v = f(i)
        except KeyError:
            continue
        else:
            out.append(v)
    return out


@overlaps(6)
def with_around_calls():
    class manager:
        def __enter__(self):
            return f(1)

        def __exit__(self, *what):
            return False

    out = []
    for i in range(6):
        with manager() as m, contextlib.suppress(KeyError), contextlib.nullcontext(i) as k:
            out.append(m + f(k))
    return out


@overlaps(6, unless=[(3, 12), (3, 13)])
def with_contextmanager():
    @contextlib.contextmanager
    def managed(x):
        yield f(x)

    out = []
    for i in range(6):
        with managed(i) as v:
            out.append(v)
    return out


@overlaps(6)
def match_on_known():
    out = []
    for item in [("a", 1), ("b", 2), {"k": 3}, [4, 5, 6], 7, None]:
        match item:
            case ("a" | "b", n):
                out.append(f(n))
            case {"k": n}:
                out.append(f(n))
            case [first, *rest]:
                out.append(f(first, *rest))
            case int(n) if n > 5:
                out.append(f(n))
            case _:
                out.append(f(0))
    return out


@overlaps(6)
def match_on_results():
    out = []
    for i in range(6):
        match f(i):
            case 0:
                out.append("zero")
            case int(n) if n % 2:
                out.append(n)
            case _:
                out.append("even")
    return out


@overlaps(6)
def match_attributes():
    @dataclasses.dataclass
    class Point:
        x: int
        y: int

    out = []
    for p in [Point(i, i + 1) for i in range(6)]:
        match p:
            case Point(x=0, y=y):
                out.append(f(y))
            case Point(x, y):
                out.append(f(x, y))
    return out


@overlaps(6)
def stars_and_keywords():
    args, named = [1, 2], {"k": 3}
    return f(*args), f(0, *args, **named), f(*range(4)), f(5, **named), f(*args, k=1), f(*(1, 2), *[3])


@overlaps(6)
def star_unpacking():
    a, *b = [f(i) for i in range(3)]
    (c, d), e = (f(3), f(4)), f(5)
    return a, b, c, d, e, [*b, f(6)], {**{"x": f(7)}}


@overlaps(6)
def walrus():
    return [y for i in range(8) if (y := f(i)) is not None]


@overlaps(6)
def walrus_decides():
    return [y for i in range(8) if (y := f(i)) % 2]


@overlaps(5)
def boolean_operators():
    return f(1) and f(2), f(3) or f(4), not f(5), f(6) if f(7) else f(8), 0 < f(9) < f(10)


@overlaps(6)
def f_strings():
    return f"{f(1)} {f(2):>5} {f(3)!r} {f(4):{f(5)}d} {'x' * 3}", "%d %d" % (f(6), f(7))


@overlaps(6)
def augmented():
    total, d, text = 0, {"n": 0}, ""
    for i in range(6):
        total += f(i)
        d["n"] += f(i + 10)
        text += str(f(i + 20))
    return total, d, text


@overlaps(6)
def slices_and_subscripts():
    out = [0] * 6
    for i in range(6):
        out[i] = f(i)
    out[1:3] = [f(7), f(8)]
    del out[0]
    return out


@overlaps(6)
def attributes():
    class Box:
        count = 0

        def __init__(self):
            self.items = {}

    box = Box()
    for i in range(6):
        box.items[i] = f(i)
        box.last = f(i + 10)
        box.count += 1
    return box.items, box.last, box.count


@overlaps(6)
def local_functions_and_closures():
    total = 0

    def add(x):
        nonlocal total
        total += f(x)
        return total

    return [add(i) for i in range(6)]


@overlaps(6)
def lambdas_and_defaults():
    fs = [lambda x=i: f(x) for i in range(6)]
    return [g() for g in fs]


@overlaps(6)
def decorated_local_function():
    def twice(g):
        @functools.wraps(g)
        def inner(*args):
            return g(*args) * 2

        return inner

    @twice
    def h(x):
        return f(x)

    return [h(i) for i in range(6)]


@overlaps(6)
def local_classes_and_methods():
    class Base:
        def run(self, x):
            return f(x)

        @property
        def value(self):
            return f(1)

        @classmethod
        def make(cls, x):
            return f(x)

        @staticmethod
        def still(x):
            return f(x)

    class Child(Base):
        def run(self, x):
            return super().run(x) + f(x)

    c = Child()
    return [c.run(i) for i in range(3)], c.value, c.make(2), Child.still(3)


@overlaps(6)
def operators_of_classes():
    class V:
        def __init__(self, x):
            self.x = x

        def __add__(self, other):
            return V(f(self.x))

        def __getitem__(self, k):
            return f(k)

        def __call__(self, k):
            return f(k)

        def __len__(self):
            return 3

        def __contains__(self, k):
            return f(k) > 3

        def __iter__(self):
            return iter([f(1), f(2)])

    v = V(1)
    return (v + v).x, v[3], v(4), len(v), 5 in v, list(v)


@overlaps(6, unless=[(3, 12), (3, 13), (3, 14)])
def generators():
    def numbers(n):
        for i in range(n):
            yield f(i)

    def chained(n):
        yield from numbers(n)
        yield from (f(i + 10) for i in range(n))

    return list(chained(4)), [x for x in numbers(3)]


@overlaps(4)
def generator_sent_to():
    def averager():
        total = 0
        while True:
            x = yield total
            total += x

    g = averager()
    next(g)
    return [g.send(f(i)) for i in range(6)]


@overlaps(6)
def recursion():
    def tree(lo, hi):
        if hi - lo == 1:
            return f(lo)
        mid = (lo + hi) // 2
        return tree(lo, mid) + tree(mid, hi)

    return tree(0, 8)


@schedule
def leaves(lo, hi):
    if hi - lo == 1:
        return f(lo)
    mid = (lo + hi) // 2
    return [leaves(lo, mid), leaves(mid, hi)]


@overlaps(8)
def scheduled_recursion():
    return leaves(0, 8)


@overlaps(6)
def iterators():
    out = []
    for i, (a, b) in enumerate(zip(range(6), itertools.count(10))):
        out.append(f(i, a, b))
    for k, v in {"a": 1, "b": 2}.items():
        out.append(f(v))
    for a, b in itertools.product(range(2), repeat=2):
        out.append(f(a, b))
    return out


@overlaps(6)
def reduce_and_partial():
    g = functools.partial(f, 1)
    return functools.reduce(lambda a, b: a + b, [g(i) for i in range(6)]), functools.reduce(
        lambda a, b: a + f(b), range(6), 0
    )


@overlaps(6)
def delete_and_globals():
    out = []
    for i in range(6):
        x = f(i)
        out.append(x)
        del x
    return out


@overlaps(6)
def import_inside():
    import math
    from collections import deque

    out = deque()
    for i in range(6):
        out.append(f(math.floor(i + 0.5)))
    return list(out)


@overlaps(6)
def prints():
    for i in range(6):
        print(f(i), end=" ")


@overlaps(6)
def sorting_and_membership():
    xs = []
    for i in range(6):
        xs.append(f(6 - i))
    xs.sort()
    ys = [f(i) for i in range(3)]
    return xs, 3 in xs, ys


@overlaps(6)
def chained_comparison_and_tuples():
    a = b = f(1)
    (x, y), z = (f(2), f(3)), [f(4)]
    return a is b, x < y, z, f(5), f(6)


@overlaps(6)
def nested_loops_with_early_exit():
    found = []
    for i in range(4):
        for j in range(4):
            v = f(i, j)
            if v == 4:
                found.append((i, j))
                break
    return found


@overlaps(6)
def retries():
    out = []
    for i in range(6):
        for attempt in range(3):
            v = f(i, attempt)
            if v % 3 != 0:
                break
        out.append(v)
    return out


@overlaps(2)
def class_body():
    class Table:
        rows = [f(i) for i in range(3)]
        first = f(3)
        other = f(4)

        def total(self):
            return sum(self.rows) + f(5)

    return Table().total(), Table.first, Table.other


@overlaps(4)
def exception_groups():
    out = []
    for i in range(6):
        try:
            out.append(f(i))
            if i == 3:
                raise ExceptionGroup("g", [ValueError(i)])
        except* ValueError as group:
            out.append(len(group.exceptions))
    return out


@overlaps(6)
def long_first_and_short_behind():
    slow = f(f(f(1)))
    rest = [f(i) for i in range(6)]
    return slow, rest


@pytest.mark.parametrize(("main", "at_least"), programs)
def test_overlap(main, at_least, capsys):
    gauge.most = gauge.under_way = 0
    before = _core._flow_stats()
    found = schedule(main)()
    after = _core._flow_stats()
    assert gauge.most >= at_least
    assert after["foreseen"] - before["foreseen"] >= (after["calls"] - before["calls"]) // 3
    printed = capsys.readouterr().out
    assert found == asyncio_free(main)
    assert capsys.readouterr().out == printed


def asyncio_free(main):
    """The program, one call after the other."""
    plain = {
        "f": lambda x, *more, **named: x + sum(more) + sum(named.values()),
        "fails": failing,
        "leaves": plain_leaves,
    }
    kept = {name: globals()[name] for name in plain}
    globals().update(plain)
    try:
        return main()
    finally:
        globals().update(kept)


def failing(x):
    raise KeyError(x)


def plain_leaves(lo, hi):
    mid = (lo + hi) // 2
    return f(lo) if hi - lo == 1 else [plain_leaves(lo, mid), plain_leaves(mid, hi)]
