"""Every kind of object that dill or cloudpickle can serialize, and those beyond: how one is made, and what must hold of
the one that arrives. Run as __main__ by test_table.py, so that all that is defined here travels by value:

    table_entries.py dump FOLDER      pickles each, checks a copy made in this process
    table_entries.py load FOLDER      checks what another process gets, and sends it back
    table_entries.py home FOLDER      checks what comes home

make() gives the object, check(back) raises when it is not what was sent. In the loading process this file is
imported under another name, so that nothing of __main__ is there.
"""

from __future__ import annotations

import abc
import contextvars
import functools
import json
import operator
import pathlib
import pickle
import sys
import traceback
import types
import typing

import ergon.pickle as ep

ENTRIES: dict[str, type] = {}
FOLDER = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else ".")


def entry(name):
    def add(cls):
        ENTRIES[name] = cls
        return cls

    return add


CONST = {"k": [1, 2]}
LIMIT = 7
VARIABLE = contextvars.ContextVar("VARIABLE", default="nothing")
T = typing.TypeVar("T", bound=int)
P = typing.ParamSpec("P")
Ts = typing.TypeVarTuple("Ts")
UserId = typing.NewType("UserId", int)


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


# --- what pickle knows ------------------------------------------------------------------------------------------


@entry("None, bool, int, float, str, bytes")
class _:
    def make():
        return [
            None,
            True,
            False,
            0,
            -1,
            2**31,
            -(2**63),
            2**200,
            0.5,
            float("inf"),
            "",
            "é\U0001f40d",
            "\ud800",
            b"\0",
        ]

    def check(back):
        assert back == [
            None,
            True,
            False,
            0,
            -1,
            2**31,
            -(2**63),
            2**200,
            0.5,
            float("inf"),
            "",
            "é\U0001f40d",
            "\ud800",
            b"\0",
        ]
        assert back[1] is True and type(back[3]) is int


@entry("tuple, list, dict, set, frozenset, bytearray: nested, shared, recursive")
class _:
    def make():
        loop, shared = [1], {"s": {1, 2}}
        loop += [loop, (loop, frozenset({"f"})), shared, shared, bytearray(b"b")]
        return loop

    def check(back):
        assert back[1] is back and back[2][0] is back and back[3] is back[4] == {"s": {1, 2}}
        assert back[2][1] == frozenset({"f"}) and back[5] == bytearray(b"b")


@entry("PickleBuffer")
class _:
    def make():
        return pickle.PickleBuffer(bytearray(b"xyz"))

    def check(back):
        assert back == b"xyz"


@entry("numpy arrays, scalars, dtypes, ufuncs")
class _:
    def make():
        import numpy

        return [numpy.arange(5.0), numpy.float32(2), numpy.dtype("i4"), numpy.sin, numpy.array([{1}], object)]

    def check(back):
        assert back[0].tolist() == [0, 1, 2, 3, 4] and back[1] == 2 and back[2].itemsize == 4
        assert back[3](0) == 0 and back[4][0] == {1}


@entry("a subclass of ndarray")
class _:
    def make():
        import numpy

        class Marked(numpy.ndarray):
            def twice(self):
                return self * 2

        made = numpy.arange(3).view(Marked)
        made.mark = "m"
        return made

    def check(back):
        assert back.twice().tolist() == [0, 2, 4] and type(back).__name__ == "Marked"


# --- functions and code ---------------------------------------------------------------------------------------------


@entry("function: defaults, keyword defaults, annotations, attributes, doc")
class _:
    def make():
        def f(a, b=2, *rest, c=LIMIT, **more) -> str:
            "its doc"
            return a, b, rest, c, more, LIMIT

        f.tag = ["t"]
        return f

    def check(back):
        assert back(1, 3, 4, d=5) == (1, 3, (4,), 7, {"d": 5}, 7) and back.__doc__ == "its doc" and back.tag == ["t"]
        assert back.__defaults__ == (2,) and back.__kwdefaults__ == {"c": 7} and back.__annotations__["return"] == "str"
        assert back.__module__ == "__main__" and back.__qualname__ == "_.make.<locals>.f"


@entry("functions that call one another share their globals")
class _:
    def make():
        return [even, odd, lambda: CONST, lambda: CONST]

    def check(back):
        assert back[0](10) and back[1](7) and back[0].__globals__ is back[1].__globals__
        assert back[0].__globals__["odd"] is back[1] and back[2]() is back[3]()


@entry("lambda, in itself")
class _:
    def make():
        f = lambda n: 1 if n < 2 else n * f(n - 1)  # noqa: E731
        return f

    def check(back):
        assert back(5) == 120 and back.__closure__[0].cell_contents is back


@entry("closure: shared cells, nonlocal")
class _:
    def make():
        n = 0

        def up():
            nonlocal n
            n += 1
            return n

        def get():
            return n

        return up, get

    def check(back):
        before = back[1]()
        assert back[0]() == before + 1 == back[1]()


@entry("cell, full, empty, and in itself")
class _:
    def make():
        full, loop = types.CellType([1]), types.CellType()
        loop.cell_contents = [loop]
        return full, types.CellType(), loop, full

    def check(back):
        assert back[0].cell_contents == [1] and back[0] is back[3] and back[2].cell_contents[0] is back[2]
        try:
            raise AssertionError(back[1].cell_contents)
        except ValueError:
            pass


@entry("a function with an empty cell")
class _:
    def make():
        def f():
            return later

        if LIMIT == 0:
            later = 1
        return f

    def check(back):
        try:
            raise AssertionError(back())
        except NameError:
            pass


@entry("code of every shape")
class _:
    def make():
        def f(a, /, b, *c, d=1, **e):
            x = [y for y in range(a) if y]

            def inner():
                return a, x

            return inner

        async def coroutine(a):
            async with a as b:
                return [c async for c in b]

        def generator():
            try:
                yield from (1, 2)
            except* ValueError:
                pass

        return [f.__code__, coroutine.__code__, generator.__code__, compile("x = 1; y: int = 2", "<s>", "exec")]

    def check(back):
        f = types.FunctionType(back[0], {})
        assert (
            f(3, 2, d=1)()[1] == [1, 2]
            and back[1].co_flags & 0x80
            and list(types.FunctionType(back[2], {})()) == [1, 2]
        )
        space = {}
        exec(back[3], space)
        assert space["x"] == 1 and list(back[0].co_positions())


@entry("staticmethod, classmethod, and their abstract variants")
class _:
    def make():
        return [staticmethod(even), classmethod(even), abc.abstractclassmethod(even), abc.abstractstaticmethod(even)]

    def check(back):
        kinds = [staticmethod, classmethod, abc.abstractclassmethod, abc.abstractstaticmethod]
        assert [type(b) for b in back] == kinds and all(b.__func__ is back[0].__func__ for b in back)
        assert back[2].__isabstractmethod__


@entry("property and abstractproperty")
class _:
    def make():
        return [property(even, odd, None, "doc"), abc.abstractproperty(even)]

    def check(back):
        assert back[0].fget(2) and back[0].fset(3) and back[0].fdel is None and back[0].__doc__ == "doc"
        assert back[1].__isabstractmethod__


@entry("bound methods: of instances, classes, built-ins, and foreign functions")
class _:
    def make():
        class C:
            def me(self):
                return self

            @classmethod
            def cls(cls):
                return cls

        c = C()
        return [c, c.me, C.cls, types.MethodType(even, 4), [1].append, "a".join, dict.fromkeys, c.me.__func__]

    def check(back):
        assert back[1]() is back[0] and back[2]() is type(back[0]) and back[3]() and back[5]("xy") == "xay"
        assert back[6]("a") == {"a": None} and back[7](3) == 3
        back[4](2)
        assert back[4].__self__.pop() == 2


@entry("descriptors of built-in types: five kinds")
class _:
    def make():
        return [
            str.join,
            dict.__dict__["fromkeys"],
            float.real,
            types.FunctionType.__globals__,
            int.__add__,
            (1).__add__,
        ]

    def check(back):
        assert back[:5] == [
            str.join,
            dict.__dict__["fromkeys"],
            float.real,
            types.FunctionType.__globals__,
            int.__add__,
        ]
        assert back[5](2) == 3


@entry("super")
class _:
    def make():
        class A:
            def f(self):
                return "A"

        class B(A):
            def f(self):
                return "B" + super().f()

            def up(self):
                return super()

        b = B()
        return [b, b.up(), super(B, B)]

    def check(back):
        assert back[0].f() == "BA" and back[1].f() == "A" and back[1].__self__ is back[0] and back[2].f(0) == "A"


@entry("partial, chained, in itself, partialmethod, singledispatch, wraps, reduce, cmp_to_key")
class _:
    def make():
        def f(*a, **k):
            return a, k

        chain = functools.partial(functools.partial(f, 1, a=2), 3, b=4)
        chain.note = chain

        class C:
            g = functools.partialmethod(f, 5)

        @functools.singledispatch
        def kind(x):
            return "any"

        kind.register(int, lambda x: "int")

        @functools.wraps(f)
        def wrapped(x):
            return x

        return [chain, C(), kind, wrapped, functools.cmp_to_key(lambda a, b: a - b)]

    def check(back):
        assert back[0]() == ((1, 3), {"a": 2, "b": 4}) and back[0].note is back[0]
        assert back[1].g()[0] == (back[1], 5) and back[2](1) == "int" and back[2]("") == "any"
        assert back[3].__wrapped__(1) == ((1,), {}) and sorted([2, 1], key=back[4]) == [1, 2]


@entry("lru_cache wrappers, cached_property")
class _:
    def make():
        @functools.lru_cache(maxsize=3, typed=True)
        def f(x):
            return x if x < 2 else f(x - 1) + f(x - 2)

        class C:
            @functools.cached_property
            def p(self):
                return [1]

        return f, C(), functools.cache(even)

    def check(back):
        assert back[0](10) == 55 and back[0].cache_parameters() == {"maxsize": 3, "typed": True}
        assert back[1].p is back[1].p and back[2](4)


@entry("operator objects")
class _:
    def make():
        return [
            operator.itemgetter(1, 0),
            operator.attrgetter("a.b"),
            operator.methodcaller("get", "x", default=1),
            operator.add,
        ]

    def check(back):
        assert back[0]("ab") == ("b", "a") and back[3](1, 2) == 3


@entry("a function made by exec, without a module")
class _:
    def make():
        space = {"base": 10}
        exec("def f(x): return base + x", space)
        return space["f"]

    def check(back):
        assert back(1) == 11


@entry("a decorated class with a cell of itself (__class__)")
class _:
    def make():
        class C:
            def who(self):
                return __class__

        return C

    def check(back):
        assert back().who() is back


for part in ("table_classes.py", "table_more.py"):  # parts of this program, not modules
    place = pathlib.Path(__file__).with_name(part)
    exec(compile(place.read_text(), str(place), "exec"))

# --- the three programs -------------------------------------------------------------------------------------------------------------------------


def attempt(results, stage, name, step):
    try:
        return step()
    except Exception:
        results.setdefault(name, []).append(f"{stage}:\n{traceback.format_exc()}")
    return None


def dump(results):
    for number, (name, item) in enumerate(ENTRIES.items()):
        options = getattr(item, "options", {})
        made = attempt(results, "make", name, item.make)
        data = attempt(results, "dump", name, lambda: ep.dumps(made, **options))  # noqa: B023
        if data is None:
            continue
        if attempt(results, "dump again", name, lambda: ep.dumps(made, **options)) != data:  # noqa: B023
            results.setdefault(name, []).append("the same object gave other bytes")
        sent = FOLDER / f"{number}.sent"
        if sent.exists() and sent.read_bytes() != data:
            results.setdefault(name, []).append("another process, with another hash seed, gave other bytes")
        sent.write_bytes(data)
        for loads in (ep.loads, pickle.loads):
            attempt(results, f"copy by {loads.__module__}", name, lambda: item.check(loads(data)))  # noqa: B023


def load(results):
    for number, (name, item) in enumerate(ENTRIES.items()):
        if not (FOLDER / f"{number}.sent").exists():
            continue
        data = (FOLDER / f"{number}.sent").read_bytes()
        back = attempt(results, "elsewhere: load", name, lambda: ep.loads(data))  # noqa: B023
        attempt(results, "elsewhere: check", name, lambda: item.check(back))  # noqa: B023
        if getattr(item, "once", False):
            back = ep.loads(data)
        options = getattr(item, "options", {})
        home = attempt(results, "elsewhere: dump", name, lambda: ep.dumps(back, **options))  # noqa: B023
        (FOLDER / f"{number}.home").write_bytes(home or b"N.")


def home(results):
    for number, (name, item) in enumerate(ENTRIES.items()):
        if (FOLDER / f"{number}.home").exists():
            data = (FOLDER / f"{number}.home").read_bytes()
            attempt(results, "at home", name, lambda: item.check(ep.loads(data)))  # noqa: B023


if __name__ == "__main__":
    results: dict[str, list[str]] = {}
    program = sys.argv[1]
    if program == "load":
        import table_entries

        sys.modules["__main__"] = types.ModuleType("__main__")
        table_entries.load(results)
    else:
        {"dump": dump, "home": home}[program](results)
    (FOLDER / f"{program}.json").write_text(json.dumps(results))
