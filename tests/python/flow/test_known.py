"""Which callables of builtins, math, operator, itertools, functools, heapq and bisect are run ahead of, one by one.

Each is called in a scheduled function between two functional calls, once with what is known and once with an argument that a
functional is still computing: the second functional call has to be under way before the function gets there. What is not
run ahead of is listed with the reason.
"""

import bisect
import builtins
import copy
import functools
import heapq
import itertools
import math
import operator
import sys
import time

import ergon
import numpy
import pytest
from ergon import functional, schedule
from ergon._schedule import stats

pytestmark = pytest.mark.skipif(sys.version_info >= (3, 15), reason="calls run ahead on CPython 3.11 to 3.14")

MODULES = builtins, math, operator, itertools, functools, heapq, bisect


@pytest.fixture(autouse=True, scope="module")
def workers():
    ergon.configure(workers=[{"type": "multicore", "cores": 2}])
    yield
    ergon.configure()


@functional
def give(x, seconds):
    time.sleep(seconds)
    return x


@functional
def touch(k):
    return k


class Plain:
    def __init__(self, x=1):
        self.x = x


def same(x):
    return x


def first(x, y):
    return x


def less(a, b):
    return a - b


# What is called with what, where that is not a number: by the module's name and its own. The argument that comes from a
# functional in the second run is the last one that is plain data.
SPECIAL = {
    "builtins": {
        "all": ([1, 0],),
        "any": ([1, 0],),
        "ascii": ("a",),
        "bytes": ([1, 2],),
        "bytearray": ([1, 2],),
        "delattr": (Plain(), "x"),
        "dict": ([(1, 2)],),
        "enumerate": ([1, 2],),
        "filter": (same, [1, 0]),
        "format": (1, "d"),
        "frozenset": ([1],),
        "getattr": (Plain(), "x"),
        "hasattr": (Plain(), "x"),
        "isinstance": (1, int),
        "issubclass": (int, int),
        "iter": ([1],),
        "len": ([1],),
        "list": ([1],),
        "map": (same, [1]),
        "max": ([1, 2],),
        "min": ([1, 2],),
        "next": (iter([1]), 2),
        "object": (),
        "ord": ("a",),
        "print": ("",),
        "reversed": ([1],),
        "set": ([1],),
        "setattr": (Plain(), "x", 1),
        "sorted": ([2, 1],),
        "sum": ([1, 2],),
        "super": (Plain, Plain()),
        "tuple": ([1],),
        "zip": ([1], [2]),
    },
    "math": {
        "dist": ([1], [2]),
        "fsum": ([1, 2],),
        "prod": ([1, 2],),
        "sumprod": ([1], [2]),
        "acos": (0.5,),
        "asin": (0.5,),
        "atanh": (0.5,),
        "fma": (1.0, 2.0, 3.0),
    },
    "operator": {
        "attrgetter": ("x",),
        "call": (same, 1),
        "concat": ([1], [2]),
        "contains": ([1], 1),
        "countOf": ([1], 1),
        "delitem": ([1], 0),
        "getitem": ([1], 0),
        "iconcat": ([1], [2]),
        "imatmul": (numpy.eye(2), numpy.eye(2)),
        "indexOf": ([1], 1),
        "matmul": (numpy.eye(2), numpy.eye(2)),
        "methodcaller": ("bit_length",),
        "setitem": ([1], 0, 2),
    },
    "itertools": {
        "accumulate": ([1, 2],),
        "batched": ([1, 2], 2),
        "chain": ([1], [2]),
        "combinations": ([1, 2], 2),
        "combinations_with_replacement": ([1, 2], 2),
        "compress": ([1, 2], [1, 0]),
        "count": (1,),
        "cycle": ([1],),
        "dropwhile": (same, [1, 0]),
        "filterfalse": (same, [1, 0]),
        "groupby": ([1, 1],),
        "islice": ([1, 2], 1),
        "pairwise": ([1, 2],),
        "permutations": ([1, 2],),
        "product": ([1], [2]),
        "repeat": (1,),
        "starmap": (first, [(1, 2)]),
        "takewhile": (same, [1, 0]),
        "tee": ([1],),
        "zip_longest": ([1], [2]),
    },
    "functools": {
        "cmp_to_key": (less,),
        "partial": (same, 1),
        "reduce": (first, [1, 2]),
        "wraps": (same,),
    },
    "heapq": {
        "heapify": ([2, 1],),
        "heappop": ([1, 2],),
        "heappush": ([1], 2),
        "heappushpop": ([1], 2),
        "heapreplace": ([1], 2),
        "heapify_max": ([1, 2],),
        "heappop_max": ([2, 1],),
        "heappush_max": ([1], 2),
        "heappushpop_max": ([1], 2),
        "heapreplace_max": ([1], 2),
        "merge": ([1], [2]),
        "nlargest": (1, [1, 2]),
        "nsmallest": (1, [1, 2]),
    },
    "bisect": {
        "bisect": ([1], 1),
        "bisect_left": ([1], 1),
        "bisect_right": ([1], 1),
        "insort": ([1], 1),
        "insort_left": ([1], 1),
        "insort_right": ([1], 1),
    },
}

# Not run ahead of, and why.
OUTSIDE = "it reads or changes what is outside of the program, or the program's own frames"
TEXT = "it runs text"
DECORATES = "a decorator: functions are decorated before there is anything to run ahead of"
ASYNC = "only coroutines have use for it"
KEPT = "what it makes remembers calls"
BARRIERS = {
    "builtins": {
        **dict.fromkeys(
            ("breakpoint", "help", "input", "open", "quit", "exit", "copyright", "credits", "license"), OUTSIDE
        ),
        **dict.fromkeys(("dir", "globals", "locals", "vars", "memoryview"), OUTSIDE),
        **dict.fromkeys(("compile", "eval", "exec"), TEXT),
        **dict.fromkeys(("classmethod", "property", "staticmethod"), DECORATES),
        **dict.fromkeys(("aiter", "anext"), ASYNC),
    },
    "functools": {
        **dict.fromkeys(("cache", "cached_property", "lru_cache", "singledispatch", "singledispatchmethod"), KEPT),
        **dict.fromkeys(("partialmethod", "total_ordering", "get_cache_token", "GenericAlias", "RLock"), DECORATES),
        "update_wrapper": "it changes a function of the program's",
        **dict.fromkeys(("MappingProxyType", "MethodType", "UnionType"), "classes of another module's"),
        **dict.fromkeys(("namedtuple", "recursive_repr", "WRAPPER_ASSIGNMENTS"), DECORATES),
    },
}


def callables():
    for module in MODULES:
        for name in sorted(vars(module)):
            value = getattr(module, name)
            exception = isinstance(value, type) and issubclass(value, BaseException)
            barrier = name in BARRIERS.get(module.__name__, {})
            if not name.startswith("_") and callable(value) and not exception and not barrier:
                yield module.__name__, name


def arguments(module, name):
    if name in SPECIAL.get(module, {}):
        return SPECIAL[module][name]
    function = getattr(__import__(module), name)
    for given in ((4,), (4, 2), (4, 2, 3), ()):
        try:
            function(*given)
        except TypeError:
            continue
        return given
    raise AssertionError(f"no arguments for {module}.{name}")


def runs_ahead(function, given, pending):
    """Whether the functional call behind function(*given) is made while the one before it runs."""
    plain = [i for i, v in enumerate(given) if isinstance(v, (int, float, str, list, tuple, numpy.ndarray))]
    if pending and not plain:
        return None
    at = plain[-1] if pending else -1
    for seconds in (0.004, 0.02, 0.2):
        names = ", ".join("x" if i == at else f"given[{i}]" for i in range(len(given)))
        text = f"def main(given):\n    x = give({'given[at]' if pending else 0}, seconds)\n    function({names})\n    touch(1)"
        space = {"give": give, "touch": touch, "function": function, "at": at, "seconds": seconds}
        exec(text, space)
        before = stats()["foreseen"]
        schedule(space["main"])([copy.copy(v) if isinstance(v, (list, Plain)) else v for v in given])
        if stats()["foreseen"] > before:
            return True
    return False


@pytest.mark.parametrize(("module", "name"), list(callables()))
def test_callable(module, name):
    function, given = getattr(__import__(module), name), arguments(module, name)
    if name in ("delattr", "next"):
        assert runs_ahead(function, (Plain(), "x") if name == "delattr" else (iter([1, 2, 3, 4]), 2), False)
        return
    assert runs_ahead(function, given, False)
    assert runs_ahead(function, given, True) in (True, None)


SQUARE = numpy.array([[2.0, 1.0], [1.0, 3.0]])
NUMPY = {
    "ones": (3,),
    "zeros": (3,),
    "full": (3, 1),
    "eye": (3,),
    "empty": (3,),
    "arange": (3,),
    "linspace": (0, 1),
    "dot": (SQUARE, SQUARE),
    "add": (SQUARE, 1),
    "concatenate": ([SQUARE, SQUARE],),
    "where": (SQUARE > 1, SQUARE, 0),
    "copyto": (SQUARE.copy(), 1),
    "fill_diagonal": (SQUARE.copy(), 1),
    "isscalar": (3,),
    "add.reduce": (SQUARE,),
    "maximum.accumulate": (SQUARE,),
    "multiply.outer": (SQUARE, SQUARE),
    "linalg.svd": (SQUARE,),
    "linalg.solve": (SQUARE, SQUARE),
    "fft.fft": (SQUARE,),
    "fft.fftfreq": (4,),
}


@pytest.mark.parametrize("name", NUMPY)
def test_of_numpy(name):
    function = operator.attrgetter(name)(numpy)
    assert runs_ahead(function, NUMPY[name], False)
    assert runs_ahead(function, NUMPY[name], True) in (True, None)
