"""The same values give the same bytes and the same name: in every process, under every hash seed, however they were made."""

import collections
import datetime
import enum
import io
import os
import pickle
import struct
import subprocess
import sys
import time

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


graphs = st.recursive(
    atoms
    | st.binary(max_size=9)
    | st.text(max_size=9)
    | st.integers(-(2**80), 2**80)
    | st.sampled_from([-0.0, 1, 1.0, True]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=12).map(tuple)
        | st.tuples(inner, inner)
        | st.dictionaries(hashables, inner, max_size=3)
        | st.frozensets(hashables, max_size=4)
        | st.sets(hashables, max_size=4)
        | st.builds(lambda one: [one, (one, "x", one), (one, "x", one)], inner)
        | st.builds(lambda one, other: ((one, other), (one, other), (other, one), [(other, one)]), inner, inner)
        | st.builds(Record, inner, inner)
        | st.builds(Point, inner, inner)
    ),
    max_leaves=20,
)


class Regrouped:
    """Copies in which each immutable object is new, or one that was made before for an equal one; mutable objects are shared as they were."""

    def __init__(self, rng):
        self.rng, self.made, self.equal = rng, {}, {}

    def __call__(self, value):
        kind = type(value)
        if kind in (list, dict, set, Record):
            return self.mutable(value)
        if kind in (tuple, frozenset):
            new = kind([self(item) for item in value])
        elif kind is Point:
            return self.made.setdefault(id(value), (value, Point(*map(self, value))))[1]
        else:
            new = apart(value)
        key = self.picture(new)
        return self.equal.setdefault(key, new) if self.rng.random() < 0.6 else new

    def mutable(self, value):
        kind = type(value)
        if id(value) not in self.made:
            new = kind.__new__(kind)
            self.made[id(value)] = value, new
            if kind is Record:
                new.__dict__.update({apart(name): self(item) for name, item in vars(value).items()})
            elif kind is dict:
                new.update({self(key): self(item) for key, item in value.items()})
            else:
                (new.extend if kind is list else new.update)([self(item) for item in value])
        return self.made[id(value)][1]

    def picture(self, value):
        kind = type(value)
        if kind is tuple:
            return kind, tuple(map(self.picture, value))
        if kind is frozenset:
            return kind, frozenset(map(self.picture, value))
        return kind, repr(value) if kind in (int, float, bool, str, bytes, type(None)) else id(value)


@hypothesis.settings(deadline=None, max_examples=300)
@hypothesis.given(value=graphs, rng=st.randoms(use_true_random=False))
def test_bytes_do_not_show_which_immutable_objects_are_shared(servers, value, rng):
    regrouped = Regrouped(rng)
    one = ep.loads(ep.dumps(value))
    other = regrouped(one)
    expected = ep.dumps(one), ep.digest(one)
    assert ep.dumps(other) == expected[0]
    sent = pickle.dumps(other)
    for server in servers:
        assert server.ask(sent) == expected
    back = ep.loads(expected[0])
    assert ep.dumps(back) == ep.dumps(pickle.loads(expected[0])) == expected[0]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_texts_and_tuples_of_every_protocol(protocol):
    one = ["text", b"bytes", ("text", 1), ("text", 1.0), (True, 2**70), ("é€", "\udc80")]
    value = [*one, *one, (one[2], one[3]), {one[2]: one[1]}]
    other = [apart(item) for item in value]
    assert ep.dumps(value, protocol) == ep.dumps(other, protocol)
    for back in pickle.loads(ep.dumps(other, protocol)), ep.loads(ep.dumps(value, protocol)):
        assert back == value and repr(back) == repr(value)
        assert all(back[i] is back[len(one) + i] for i in range(len(one)))


def given(values):
    made = Given()
    made.values = values
    return made


def test_arguments_of_reductions():
    for args in ("a", 1, 2.0), tuple(range(20)), ("a", ["b"]):
        sent = ep.dumps([given(args), given(args), args])
        if not isinstance(args[1], list):
            assert sent == ep.dumps([given(apart(args)), given(apart(args)), apart(args)])
        assert [item.values for item in pickle.loads(sent)[:2]] == [args] * 2


class Given:
    def __init__(self, *values):
        self.values = values

    def __reduce__(self):
        return Given, self.values


def test_one_pickler_over_several_dumps():
    def streams(*values):
        file = io.BytesIO()
        pickler = ep.Pickler(file)
        for value in values:
            pickler.dump(value)
        return file.getvalue()

    text, pair, group = "some text", ("some text", 5), frozenset({"some text", 6})
    expected = streams(text, pair, [pair, group], group, b"some text")
    assert streams(*map(apart, (text, pair, [pair, group], group, b"some text"))) == expected
    unpickler = ep.Unpickler(io.BytesIO(expected))
    assert [unpickler.load() for _ in range(5)] == [text, pair, [pair, group], group, b"some text"]


def test_large_tuples_are_written_once():
    long = tuple(range(100_000)), tuple(f"item {i}" for i in range(10_000))
    alone = len(ep.dumps(long))
    assert len(ep.dumps([long, (apart(long), 1), list(map(apart, long))])) < alone + 60
    deep = ()
    for i in range(50_000):
        deep = (deep, i % 3)
    back = ep.loads(ep.dumps([deep, deep]))
    assert back[0] is back[1] and ep.dumps(back) == ep.dumps([deep, deep])


def test_tuples_in_what_they_contain():
    inside = []
    loop = (inside, "text", 1)
    inside.append([loop, (inside, "text", 1), loop])
    for value in loop, inside, [loop, loop]:
        back = ep.loads(ep.dumps(value))
        assert ep.dumps(back) == ep.dumps(pickle.loads(ep.dumps(value)))


@pytest.mark.parametrize("make", [lambda nan: (1, nan), lambda nan: (2**40, "a", nan), lambda nan: frozenset([nan])])
def test_not_a_number_is_not_equal_to_another(make):
    one, other = (make(float("nan")) for _ in range(2))
    for way in (pickle.loads, ep.loads):
        assert sorted(way(ep.dumps({one: 1, other: 2})).values()) == [1, 2]
        assert len(way(ep.dumps({(one, "x"), (other, "x")}))) == 2
    first, second = ep.loads(ep.dumps([one, one]))
    assert first is second


def test_nobody_can_choose_values_that_collide():
    """The constant of the hash, where it would leave nothing of the rest."""
    odd, n = 0x9E3779B97F4A7C15, 20_000

    def seconds(values):
        begun = time.perf_counter()
        ep.dumps(values)
        return time.perf_counter() - begun

    def texts(second):
        return [struct.pack("<4Q", i, second, 2, 3) for i in range(n)]

    def tuples(second):
        return [(i << 64 | second << 128 | 7 << 192,) for i in range(1, n)]

    for make in texts, tuples:
        assert min(seconds(make(odd)) for _ in range(3)) < 20 * min(seconds(make(1)) for _ in range(3))


def test_buffers_are_not_taken_back():
    array = bytearray(b"x" * 100)
    wrapped = pickle.PickleBuffer(array)
    taken = []
    sent = ep.dumps([(wrapped, 1), (wrapped, 1)], buffer_callback=taken.append)
    assert len(taken) == 2
    assert ep.loads(sent, buffers=taken) == [(array, 1), (array, 1)]


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


def test_equal_tuples_of_numbers_are_one_object_there():
    kinds = [1, 1.0, True, 0.0, -0.0, None, -1, 255, 256, 65535, 65536, -(2**31), 2**31, 1 << 70, float("inf")]
    one = [tuple(kinds[i : i + n]) for n in range(1, 10) for i in range(len(kinds))]
    two = [tuple(list(item)) for item in one]
    value = [one, [(item, "with a text") for item in one], two, one + two, (float("nan"), 1), (float("nan"), 1)]
    back = ep.loads(ep.dumps(value))
    assert repr(back) == repr(value) and back[4] is not back[5]
    numbers = {}
    for item in back[0] + back[2] + back[3] + [pair[0] for pair in back[1]]:
        assert numbers.setdefault(repr(item), item) is item
    assert ep.dumps([one, one]) == ep.dumps([one, two][:1] * 2) and ep.dumps((one, one[:])) == ep.dumps((one, two))
    assert pickle.loads(ep.dumps(value, 3))[0] == one


def test_large_tables_of_values_hold_all_of_them():
    count = 70_000
    for make in (lambda i: (i, i + 1), lambda i: f"text {i}", lambda i: (i, f"text {i}"), lambda i: b"%d" % i):
        one, two = [make(i) for i in range(count)], [make(i) for i in range(count)]
        back = ep.loads(ep.dumps([one, two]))
        assert back == [one, two] and all(a is b for a, b in zip(*back, strict=True))
