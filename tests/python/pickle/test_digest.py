"""Names of values."""

import collections
import datetime
import decimal
import os
import subprocess
import sys

import ergon.pickle as ep
import hypothesis
import numpy
import pytest
from ergon.pickle import digest
from test_plain import hashables, values


def separate(text):
    """A string that shares nothing with another equal to it."""
    return "".join(list(text))


def test_sharing_of_immutable_values_does_not_show():
    one = separate("some text")
    assert digest([one, one]) == digest([separate("some text"), separate("some text")])
    pair = (1, one)
    assert digest([pair, pair]) == digest([(1, one), (1, separate("some text"))])
    moment = datetime.datetime(2020, 1, 2)
    assert digest([moment, moment]) == digest([moment, datetime.datetime(2020, 1, 2)])
    both = frozenset({one, 2})
    assert digest([both, both]) == digest([both, frozenset({2, separate("some text")})])


def test_sharing_of_mutable_values_does():
    part = [1]
    assert digest([part, part]) != digest([part, [1]])


def test_types_differ():
    things = [
        1,
        1.0,
        True,
        "1",
        b"1",
        bytearray(b"1"),
        decimal.Decimal(1),
        (1,),
        [1],
        {1},
        frozenset({1}),
        {1: 1},
        None,
        0.0,
        -0.0,
    ]
    assert len({digest(thing) for thing in things}) == len(things)


@hypothesis.given(values)
def test_copies_have_the_same_name(value):
    assert digest(ep.copy(value)) == digest(value)
    assert len(digest(value, size=16)) == 16


@hypothesis.given(hashables, hashables)
def test_different_values_have_different_names(a, b):
    if repr(a) != repr(b) and a != b:
        assert digest(a) != digest(b)


def test_large_values_do_not_collide_in_the_middle():
    array = numpy.arange(300_000.0)
    name = digest(array)
    assert digest(array.copy()) == name
    array[150_000] += 1
    assert digest(array) != name


def test_order():
    assert digest({"a", "b", "c", 1}) == digest({1, "c", "b", "a"})
    assert digest({"a": 1, "b": 2}) != digest({"b": 2, "a": 1})


def test_the_same_in_every_process():
    code = (
        "import sys; from ergon.pickle import digest\n"
        "class C:\n    def __init__(self): self.x = {'a', 'b', 3}\n    def f(self): return C\n"
        "def g(x, *, y=(1, 'z')): return C, x\n"
        "print(digest([C(), g, C, {'k': {'q', 'r', 's'}}]).hex())\n"
    )
    names = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(names) == 1


def test_wrong_sizes_are_refused():
    for size in (0, 1, 65):
        with pytest.raises(ValueError, match="size"):
            digest(1, size=size)
    with pytest.raises(ep.PicklingError, match=r"obj\[0\]"):
        digest([sys._getframe()])


def test_classes_with_the_names_of_immutable_types():
    for name in ("complex", "range", "slice"):
        loop = type(name, (), {"__module__": __name__})()
        loop.me = [loop]
        assert digest(loop) == digest(loop)


def test_named_tuples_and_instances():
    point = collections.namedtuple("point", "x y")
    assert digest(point(1, 2)) == digest(point(1, 2)) != digest((1, 2))
