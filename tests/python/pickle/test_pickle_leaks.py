"""Pickling over and over leaves nothing behind: no reference, no block of memory."""

import collections
import contextlib
import dataclasses
import enum
import io
import operator
import os
import pickle
import sys
import types

import ergon.pickle as ep
import pytest
import refleaks
import table_entries
from ergon import _core

pytestmark = pytest.mark.skipif(
    not (refleaks.DEBUG_BUILD or refleaks.COUNTS_BLOCKS),
    reason="with PYTHONMALLOC=malloc only bytes can be counted, and caches that fill look like leaks",
)


def reduce_itself_leaks():
    """CPython 3.13's methodcaller.__reduce__ loses two objects each time when there are keywords."""
    caller = operator.methodcaller("get", "x", default=1)
    return min(refleaks.growth(caller.__reduce__)) >= 20


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # that itertools will stop to be picklable; pytest keeps them
@pytest.mark.parametrize("name", [name for name in table_entries.ENTRIES if "file" not in name])
def test_every_kind(name):
    """What was made once is written and read again and again."""
    item = table_entries.ENTRIES[name]
    made = item.make()
    if name == "operator objects" and reduce_itself_leaks():
        made = [one for one in made if not isinstance(one, operator.methodcaller)]

    def there_and_back():
        ep.loads(ep.dumps(made))
        pickle.loads(ep.dumps(made))
        ep.digest([made])
        ep.copy(made)

    refleaks.check(there_and_back, blocks="numpy" in name or "ndarray" in name)


def classes():
    class Plain:
        x = [1]

        def me(self):
            return Plain

    class Sub(Plain):
        __slots__ = ("a",)

        @property
        def b(self):
            return super().me()

    class Hooked:
        def __init_subclass__(cls, **more): ...

    class Heir(Hooked):
        pass

    class Color(enum.Enum):
        RED = 1

    return [Plain, Sub, Hooked, Heir, Color]


def test_classes_that_come_for_the_first_time():
    made = classes()
    data = ep.dumps([made, [cls() for cls in made[:4]]])
    names = [_core._track_id(cls) for cls in made]

    def first_time():
        fresh = data
        for name in names:
            fresh = fresh.replace(name, os.urandom(len(name)))
        assert ep.loads(fresh)[0][0] is not made[0]

    refleaks.check(first_time, runs=100)


class Odd:
    def __init__(self, what):
        self.what = what

    def __reduce__(self):
        if isinstance(self.what, Exception):
            raise self.what
        return self.what


class BadState(list):
    def __getstate__(self):
        raise ValueError("no state")


class BadArgs(tuple):
    def __getnewargs__(self):
        return 5


WRONG = {
    "its own error": lambda: Odd(ValueError("no")),
    "not a tuple": lambda: Odd(5),
    "not callable": lambda: Odd((1, ())),
    "arguments": lambda: Odd((list, 5)),
    "iterator": lambda: Odd((list, (), None, 5)),
    "items": lambda: Odd((dict, (), None, None, iter([1]))),
    "newobj": lambda: Odd((__import__("copyreg").__newobj__, (int,))),
    "state": lambda: BadState([1]),
    "newargs": lambda: BadArgs((1,)),
    "frame": lambda: {"deep": [sys._getframe()]},
    "set of frames": lambda: {(1, sys._getframe())},
    "function with a frame": lambda: (lambda frame: lambda: frame)(sys._getframe()),
    "class with a frame": lambda: type("Local", (), {"frame": sys._getframe(), "f": lambda self: 1}),
    "deque": lambda: collections.deque([sys._getframe()]),
    "ordered dict": lambda: collections.OrderedDict(a=sys._getframe()),
    "subclassed dict": lambda: type("D", (dict,), {})(a=sys._getframe()),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_pickled(kind):
    def attempt():
        with contextlib.suppress(Exception):
            ep.dumps([1, {"k": WRONG[kind]()}])
            raise AssertionError("was pickled")

    refleaks.check(attempt, runs=50)


def test_broken_streams():
    value = [
        {"a": (1, 2.5, "three", b"four")},
        {1, 2},
        Odd((list, ([1],))),
        collections.deque([1]),
        2**70,
        [[]],
        classes()[0],
    ]
    streams = [ep.dumps(value), *(pickle.dumps(value[:6], protocol) for protocol in range(6))]

    def broken():
        for data in streams:
            for end in range(0, len(data), 7):
                with contextlib.suppress(Exception):
                    ep.loads(data[:end])
            with contextlib.suppress(Exception):
                ep.load(io.BytesIO(data[:-1]))
            with contextlib.suppress(Exception):
                ep.loads(data, restrict={"builtins.list"})

    refleaks.check(broken)


def test_names():
    shared = ("a text", frozenset({1}), enum.IntEnum("Count", {"ONE": 1, "TWO": 2}).ONE)
    for _ in range(40):
        shared = (shared, frozenset({(frozenset({"k"}), 1), ((frozenset(),), "a longer text for a name")}), [shared])
    fails = (shared, {(frozenset({1}), 2), frozenset({3})}, (sys._getframe(),))

    def name():
        ep.digest(shared)
        with contextlib.suppress(ep.PicklingError):
            ep.digest(fails)

    refleaks.check(name)


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: object


def test_equal_values():
    """What is taken back, what is found again, and what is kept to find it."""
    ring, sets = Frozen(0), frozenset({1j, 2j})
    object.__setattr__(ring, "a", (ring, ring))
    for _ in range(80):
        sets = frozenset({sets, 3j})

    def copies():
        def pair(i):
            return (f"text {i}", b"%d" % i, float(i), 2 ** (60 + i), frozenset({f"text {i}", i}), ("é€" * i, "\udc80"))

        value = [pair(i % 50) for i in range(150)] + [(pair(3), tuple(map(pair, range(20))))]
        for protocol in range(2, 6):
            assert ep.loads(ep.dumps(value, protocol)) == value
        pickler = ep.Pickler(io.BytesIO())
        for _ in range(3):
            pickler.dump(value)
        other = ep.Pickler(io.BytesIO())
        other.memo = pickler.memo
        other.dump(value)
        ep.digest([ring, Frozen(pair(1)), ring])
        for refuse in ep.dumps, ep.digest:
            with contextlib.suppress(ep.PicklingError):
                refuse(sets)
                raise AssertionError("was pickled")

    refleaks.check(copies)


class WithIds(ep.Pickler):
    def persistent_id(self, obj):
        return "id" if isinstance(obj, types.SimpleNamespace) else None

    def reducer_override(self, obj):
        return (complex, (1, 2)) if isinstance(obj, range) else NotImplemented


class FromIds(ep.Unpickler):
    def persistent_load(self, pid):
        return [pid]


def test_picklers():
    def there_and_back():
        file = io.BytesIO()
        pickler = WithIds(file)
        pickler.dump([types.SimpleNamespace(), range(3), {"a": {1, (2, 3)}}])
        pickler.clear_memo()
        file.seek(0)
        assert FromIds(file).load()[0] == ["id"]
        buffers = []
        data = ep.dumps([pickle.PickleBuffer(b"abc" * 100)], buffer_callback=buffers.append)
        ep.loads(data, buffers=buffers)
        with contextlib.suppress(ep.UnpicklingError):
            ep.loads(data)

    refleaks.check(there_and_back)
