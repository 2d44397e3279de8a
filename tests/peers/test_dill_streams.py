"""Streams and session files of several versions of dill load through the alias, and the alias's load in dill."""

import ast
import os
import subprocess
import sys
import textwrap

import pytest
from ergon.aliases import folder

pytestmark = pytest.mark.slow

VERSIONS = ["0.3.6", "0.3.7", "0.3.8", "0.3.9", "0.4.0", "0.4.1"]
OLDER = [
    "0.3.4",
    "0.3.5.1",
]  # of the time of CPython 3.10: here they fail at some objects, and cannot load all they write

# Run by whoever writes: streams of everything, with each setting, into files.
WRITE = """
    import abc, collections, contextvars, dataclasses, functools, io, json, math, operator, os, pickle, sys, threading
    import types, typing, warnings, weakref
    import dill
    warnings.simplefilter("ignore")

    base = 10

    def add(x, y=2, *, z=3):
        return x + y + z + base

    def closure():
        cache = {}
        def inner(x):
            return inner, cache, x + base
        cache["inner"] = inner
        return inner

    # Versions before 0.3.8 know no abstract classes in the main module of this Python.
    old = tuple(map(int, dill.__version__.split("."))) < (0, 3, 8)

    class Parent(object if old else abc.ABC):
        registry = []
        @abc.abstractmethod
        def value(self): ...
        @property
        def double(self): return 2 * self.value()

    class Child(Parent):
        __slots__ = ("n",)
        def __init__(self, n): self.n = n
        def value(self): return self.n
        def up(self): return super().double
        @staticmethod
        def fixed(): return 5
        @classmethod
        def make(cls): return cls(6)

    if "ergon" in dill.__file__: Parent.registry.append(Child)  # dill writes the class as what it is called then
    if not old: Parent.register(dict)

    class Meta(type):
        def __call__(cls, *args): return ("made", super().__call__(*args))

    class Made(metaclass=Meta): pass

    class Typed(list[int]): pass

    Point = collections.namedtuple("Pt", "x y", defaults=[4])

    @dataclasses.dataclass
    class Data:
        x: int
        y: list = dataclasses.field(default_factory=list)

    def empty():
        if False: missing = 1
        return lambda: missing

    keep = Child(3)
    shared = {"a": 1}
    with open("text", "w") as file: file.write("content")
    opened = open("text")
    opened.read(3)
    lock = threading.Lock()
    lock.acquire()
    local = threading.RLock()

    things = {
        "add": add, "lambda": lambda x: x * 2, "closure": closure(), "class": Child, "instance": Child(4), "bound": keep.up,
        "parent": Parent, "meta": Made, "typed": Typed, "point": Point, "point instance": Point(1), "data": Data(1),
        "data class": Data, "empty": empty(), "code": add.__code__, "module": json, "math": math, "partial": functools.partial(add, 1),
        "getter": (operator.itemgetter(1, 2), operator.attrgetter("a.b")), "views": (shared.keys(), shared.values(), shared.items(), shared),
        "proxy": types.MappingProxyType({"a": 1}), "slice": slice(1, 2), "range": range(3), "constants": (Ellipsis, NotImplemented),
        "types": (type(None), types.FunctionType, types.CodeType, type(Ellipsis), types.ModuleType, int, type),
        "weak": (weakref.ref(keep), keep), "weak proxy": (weakref.proxy(keep), keep), "dead": weakref.ref(Child(1)),
        "file": opened, "stdout": sys.stdout, "lock": lock, "rlock": local, "property": property(lambda self: 7),
        "static": Child.__dict__["fixed"], "descriptor": (str.join, int.__dict__["real"], Child.n), "cell": types.CellType(5),
        "cached": functools.lru_cache(maxsize=3)(add), "super": super(Child, keep), "generic": (typing.List[int], typing.Tuple[()], typing.Tuple[int, str]),
        "context": contextvars.Context(), "missing": dataclasses.MISSING, "globals": (globals(), json.__dict__), "lib": json.dumps,
        "exception": ValueError("x"), "ordered": collections.OrderedDict(a=1), "bytes": io.BytesIO(b"ab"),
    }
    if __import__("importlib.util").util.find_spec("numpy"):
        import numpy
        class Array(numpy.ndarray): pass
        special = numpy.arange(3).view(Array)
        special.name = "special"
        things["numpy"] = (numpy.arange(4), numpy.sin, numpy.dtype("i4"), special)

    failed = []
    for name, thing in things.items():
        for kwds in ({}, {"recurse": True}, {"protocol": 2}, {"byref": False, "fmode": 2}):
            file = f"{name}-{'-'.join(kwds)}.pkl"
            try:
                stream = dill.dumps(thing, **kwds)
            except Exception as error:
                failed.append((file, repr(error)))
                continue
            with open(file, "wb") as out: out.write(stream)
    print("WRITTEN", len(things) * 4 - len(failed))
    print("FAILED", failed)
    for name in ("opened", "lock", "local", "things", "file", "special", "out", "stream", "thing"): globals().pop(name, None)
    if old and not hasattr(dill, "dump_module"): raise SystemExit  # before 0.3.6
    dill.dump_module("state.session")
"""

# Run by whoever reads.
READ = """
    import collections, dataclasses, glob, io, json, os, sys, types, typing, warnings, weakref
    import dill
    warnings.simplefilter("ignore")
    assert dill.__file__.startswith(sys.argv[1]), dill.__file__
    base = 100  # functions of the main module find what is there, unless they took it along

    def check(name, got, recurse):
        own = 10 if recurse else 100
        if name == "add": assert got(1) == 6 + own and got(1, 1, z=1) == 3 + own
        elif name == "lambda": assert got(2) == 4
        elif name == "closure":
            inner, cache, total = got(1)
            assert inner is got and cache["inner"] is got and total == 1 + own
        elif name == "class": assert got(2).up() == 4 and got.fixed() == 5 and got.make().n == 6
        elif name == "instance": assert got.up() == 8
        elif name == "bound": assert got() == 6
        elif name == "parent":
            assert issubclass(dict, got) or type(got) is type
            assert all(one.__mro__[1] is got and one(2).double == 4 for one in got.registry)
        elif name == "meta": assert got()[0] == "made"
        elif name == "typed": assert issubclass(got, list) and got.__orig_bases__ == (list[int],)
        elif name == "point": assert got(1) == (1, 4) and got._fields == ("x", "y")
        elif name == "point instance": assert got.x == 1 and got.y == 4
        elif name == "data": assert got.x == 1 and got.y == []
        elif name == "data class": assert dataclasses.asdict(got(3)) == {"x": 3, "y": []}
        elif name == "empty": assert "empty" in str(got.__closure__[0])
        elif name == "code": assert got.co_name == "add"
        elif name == "module": assert got is json
        elif name == "partial": assert got(1) == 5 + own
        elif name == "getter": assert got[0]([0, 1, 2]) == (1, 2)
        elif name == "views":
            got[3]["b"] = 2
            assert list(got[0]) == ["a", "b"] and list(got[1]) == [1, 2] and len(got[2]) == 2
        elif name == "proxy": assert type(got) is types.MappingProxyType and got["a"] == 1
        elif name == "constants": assert got == (Ellipsis, NotImplemented)
        elif name == "types": assert got == (type(None), types.FunctionType, types.CodeType, type(Ellipsis), types.ModuleType, int, type)
        elif name == "weak": assert got[0]() is got[1]
        elif name == "weak proxy": assert got[0].n == 3
        elif name == "dead": assert got() is None
        elif name == "file": assert got.name == "text"; got.close()
        elif name == "stdout": assert got is sys.stdout
        elif name == "lock": assert got.locked()
        elif name == "rlock": assert got.acquire(blocking=False) or "ergon" not in sys.argv[1]  # dill loads it locked
        elif name == "property": assert got.fget(1) == 7
        elif name == "static": assert got.__func__() == 5
        elif name == "descriptor": assert got[0] is str.join and got[1].__get__(3) == 3 and got[2].__name__ == "n"
        elif name == "cell": assert got.cell_contents == 5
        elif name == "cached": assert got(1) == 6 + own and got.cache_parameters()["maxsize"] == 3
        elif name == "super": assert got.double == 6
        elif name == "generic": assert got == (typing.List[int], typing.Tuple[()], typing.Tuple[int, str])
        elif name == "missing": assert got is dataclasses.MISSING
        elif name == "globals": assert got[0] is globals() and got[1] is json.__dict__
        elif name == "lib": assert got is json.dumps
        elif name == "numpy":
            import numpy
            assert list(got[0]) == [0, 1, 2, 3] and got[1] is numpy.sin and got[2] == numpy.dtype("i4")
            assert type(got[3]).__name__ == "Array" and got[3].name == "special" and list(got[3]) == [0, 1, 2]

    wrong, count = [], 0
    for file in sorted(glob.glob("*.pkl")):
        name, _, how = file[:-4].partition("-")
        count += 1
        try:
            with open(file, "rb") as stream:
                check(name, dill.load(stream), "recurse" in how)
        except Exception as error:
            wrong.append((file, repr(error)))
    if sys.argv[2:] == ["list"]:
        print("WRONG", [file for file, _ in wrong])
        raise SystemExit
    assert not wrong, wrong
    assert count > 150, count
    names = dill.load_module_asdict("state.session")
    assert names["add"](1) == 16 and names["keep"].up() == 6 and names["base"] == 10
    dill.load_module("state.session")
    assert base == 10 and add(1) == 16 and isinstance(keep, Child) and json.dumps(1) == "1"
    print("LOADED", count)
"""


def run(text, path, where, *args):
    program = where / "program.py"
    program.write_text(textwrap.dedent(text))
    done = subprocess.run(
        [sys.executable, str(program), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(path)},
        cwd=where,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("version", VERSIONS)
def test_streams_of_dill_load_in_the_alias(peer_package, tmp_path, version):
    # dill itself fails at a few: a function that refers to itself with recurse=True, say.
    written = run(WRITE, peer_package("dill", version), tmp_path)
    assert int(written.split()[1]) > 150, written
    assert "LOADED" in run(READ, folder(), tmp_path, folder())


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="versions of dill that know nothing of this Python")
@pytest.mark.parametrize("version", OLDER)
def test_streams_of_older_dill_load_in_the_alias_if_they_do_in_it(peer_package, tmp_path, version):
    package = peer_package("dill", version)
    written = run(WRITE, package, tmp_path)
    assert int(written.split()[1]) > 100, written
    own, here = (
        set(ast.literal_eval(run(READ, where, tmp_path, where, "list").partition("WRONG ")[2]))
        for where in (package, folder())
    )
    assert here <= own, sorted(here - own)
    assert len(list(tmp_path.glob("*.pkl"))) - len(here) > 60


@pytest.mark.parametrize("version", ["0.3.8", "0.4.1"])
def test_streams_of_the_alias_load_in_dill(peer_package, tmp_path, version):
    assert "FAILED []" in run(WRITE, folder(), tmp_path)
    home = peer_package("dill", version)
    assert "LOADED" in run(READ, home, tmp_path, home)


def test_streams_of_the_alias_load_in_the_alias(tmp_path):
    assert "FAILED []" in run(WRITE, folder(), tmp_path)
    assert "LOADED" in run(READ, folder(), tmp_path, folder())
