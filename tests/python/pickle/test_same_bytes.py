"""The same values give the same bytes and the same name: in every process, under every hash seed, however they were made."""

import collections
import datetime
import enum
import os
import pickle
import struct
import subprocess
import sys

import ergon.pickle as ep
import hypothesis
import pytest
from hypothesis import strategies as st
from test_plain import atoms, hashables, values

SERVER = """
import sys, struct, pickle
sys.path.insert(0, sys.argv[1])
import ergon.pickle as ep
import test_same_bytes
def answer(data):
    sys.stdout.buffer.write(struct.pack("<I", len(data)) + data)
    sys.stdout.buffer.flush()
while head := sys.stdin.buffer.read(4):
    value = pickle.loads(sys.stdin.buffer.read(struct.unpack("<I", head)[0]))
    try:
        answer(ep.dumps(value))
        answer(ep.digest(value))
    except Exception as error:
        answer(repr(error).encode())
        answer(b"")
"""


class Record:
    def __init__(self, *values):
        self.first, self.rest = values[:1], values[1:]


class Items(list):
    pass


class Kind(enum.Enum):
    A = 1
    B = "b"


Point = collections.namedtuple("Point", "x y")

objects = st.recursive(
    values | st.sampled_from(Kind) | st.sets(hashables | st.sampled_from(Kind), max_size=6),
    lambda inner: (
        st.builds(Record, inner, inner)
        | st.builds(Items, st.lists(inner, max_size=3))
        | st.builds(Point, inner, inner)
        | st.dictionaries(atoms, inner, max_size=4)
        | st.dictionaries(atoms, inner, max_size=4).map(collections.OrderedDict)
        | st.lists(inner, max_size=4).map(collections.deque)
        | st.builds(lambda one: [one, one, (one, one)], inner)
    ),
    max_leaves=12,
)


class Server:
    """Another process, with another hash seed, that tells what it gets for a value."""

    def __init__(self, seed):
        here = os.path.dirname(os.path.abspath(__file__))
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, here],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )

    def _read(self):
        return self.process.stdout.read(struct.unpack("<I", self.process.stdout.read(4))[0])

    def ask(self, data):
        self.process.stdin.write(struct.pack("<I", len(data)) + data)
        self.process.stdin.flush()
        return self._read(), self._read()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def servers():
    started = [Server(seed) for seed in ("1", "77")]
    yield started
    for server in started:
        server.close()


@hypothesis.settings(deadline=None, max_examples=150)
@hypothesis.given(value=objects)
def test_in_every_process(servers, value):
    sent = pickle.dumps(value)
    same = pickle.loads(sent)  # shares what it shares elsewhere, where it is made from these bytes as well
    expected = ep.dumps(same), ep.digest(same)
    for server in servers:
        assert server.ask(sent) == expected
    held = [
        same,
        same.__class__,
        *([same] if not isinstance(same, (list, dict)) else same),
    ]  # references count for nothing
    assert (ep.dumps(same), ep.digest(same)) == expected and held
    assert ep.digest(value) == expected[1]


def nested(depth, leaf):
    made = frozenset({leaf, "a"})
    for i in range(depth):
        made = frozenset({made, f"level {i}", (made, i)})
    return made


SETS = {
    "deep": lambda: {nested(500, "l"), nested(500, "m"), (nested(70, "n"), 1), nested(3, "o")},
    "around objects": lambda: {nested(50, datetime.date(2020, 1, 2)), nested(50, datetime.date(2020, 1, 3)), Kind.A},
    "of what is large": lambda: {(f"text {i} " * 20_000, 1.5, frozenset({f"{i}"})) for i in range(5)},
    "both": lambda: {nested(2, "x" * 70_000), nested(2, "y"), frozenset({nested(2, "x" * 70_000), nested(2, "y")})},
    "with what is there twice": lambda: (lambda one: [{one, frozenset({one, "b"}), (one, "c")}, {one, 5}])(
        nested(9, "")
    ),
}


@pytest.mark.parametrize("kind", SETS)
def test_sets_of_sets_in_every_process(servers, kind):
    sent = ep.dumps(SETS[kind]())
    assert ep.dumps(SETS[kind]()) == sent
    same = pickle.loads(sent)
    expected = ep.dumps(same), ep.digest(same)
    for server in servers:
        assert server.ask(sent) == expected


@hypothesis.settings(deadline=None)
@hypothesis.given(value=objects)
def test_after_a_journey(value):
    """A copy shares what the original shares, so its bytes are the same; and its name in any case."""
    first = ep.loads(ep.dumps(value))
    second = ep.loads(ep.dumps(first))
    assert ep.dumps(first) == ep.dumps(second)
    assert ep.digest(first) == ep.digest(second) == ep.digest(value)


@hypothesis.settings(deadline=None)
@hypothesis.given(items=st.lists(hashables, unique=True, max_size=40), rng=st.randoms(use_true_random=False))
def test_sets_have_one_order(items, rng):
    one = set(items)
    rng.shuffle(items)
    other = set(range(1000, 1000 + rng.randrange(50)))  # another size of table, another history
    other.update(items)
    other -= set(range(1000, 1050)) - set(items)
    if one == other:
        again = pickle.loads(pickle.dumps(items))
        assert ep.digest(one) == ep.digest(other) == ep.digest(set(again))


def apart(value):
    """The same value, in which no immutable object is there twice."""
    kind = type(value)
    if kind is str:
        return "".join([*value]) if len(value) > 1 else value
    if kind is bytes:
        return bytes(bytearray(value))
    if kind is int:
        return int(str(value))
    if kind in (list, tuple, set, frozenset):
        return kind([apart(item) for item in value])
    if kind is dict:
        return {apart(key): apart(item) for key, item in value.items()}
    return value


@hypothesis.settings(deadline=None)
@hypothesis.given(value=hashables)
def test_names_do_not_show_what_is_shared(value):
    """Of immutable objects, that is."""
    assert ep.digest(value) == ep.digest(apart(value))
    assert ep.digest([value, value]) == ep.digest([value, apart(value)])
    assert ep.digest({"k": value, "l": value}) == ep.digest({"k": apart(value), "l": value})


@hypothesis.settings(deadline=None)
@hypothesis.given(one=hashables, other=hashables)
def test_equal_names_mean_equal_values_of_equal_types(one, other):
    def picture(value):
        kind = type(value)
        if kind is frozenset:
            return kind, frozenset(map(picture, value))
        return (kind, tuple(map(picture, value))) if kind is tuple else (kind, repr(value))

    assert (ep.digest(one) == ep.digest(other)) == (picture(one) == picture(other))
