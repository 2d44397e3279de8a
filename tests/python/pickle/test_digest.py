"""Names of values."""

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import ipaddress
import os
import pathlib
import subprocess
import sys
import timeit
import uuid

import ergon.pickle as ep
import hypothesis
import numpy
import pytest
from ergon.pickle import digest
from hypothesis import strategies as st
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


# What is made of something that is in it twice, or more often. Sets of sets keep their hashes, tuples do not: so that
# making these takes no time.
SHARING = {
    "tuples": lambda inner: (inner, inner),
    "longer tuples": lambda inner: (inner, 1, inner, "some text", inner),
    "slices": lambda inner: slice(inner, (inner, 0), inner),
    "frozensets": lambda inner: frozenset({inner, (inner,)}),
    "larger frozensets": lambda inner: frozenset({(inner, i) for i in range(4)}),
    "lists": lambda inner: [inner, (inner, inner)],
    "dicts": lambda inner: ({"a": inner, "b": (inner, inner)}, inner),
}
LEAVES = {"atom": lambda: "a text", "list": lambda: [1], "enum": lambda: Shade.DARK, "complex": lambda: 1j}


class Shade(enum.Enum):
    DARK = 1
    LIGHT = "light"


def layers(how, leaf, levels):
    value = LEAVES[leaf]()
    for _ in range(levels):
        value = SHARING[how](value)
    return value


SHARED = [(how, leaf) for how in SHARING for leaf in LEAVES if "frozensets" not in how or leaf == "atom"]


@pytest.mark.parametrize(("how", "leaf"), SHARED)
def test_what_is_shared_is_gone_through_once(how, leaf):
    """Each level doubles the number of ways that lead down: only the number of objects counts."""

    def seconds(levels):
        value = layers(how, leaf, levels)
        return min(timeit.repeat(lambda: digest(value), number=10, repeat=5))

    assert seconds(200) < 12 * seconds(100)
    names = {digest(layers(how, leaf, levels)) for levels in (60, 60, 61, 62)}
    assert len(names) == 3


@pytest.mark.parametrize("leaf", ["enum", "complex"])
def test_sets_of_sets_of_instances(leaf):
    def seconds(levels):
        value = layers("frozensets", leaf, levels)
        return min(timeit.repeat(lambda: digest(value), number=1, repeat=5))

    assert seconds(40) < 40 * seconds(20)


LONG = ["x" * 500_000, "é€" * 200_000, b"x" * 500_000, tuple(range(100_000))]


@pytest.mark.parametrize("value", LONG, ids=["ascii", "text", "bytes", "tuple"])
def test_long_values_are_gone_through_once(value):
    def seconds(times):
        held = [value] * times
        return min(timeit.repeat(lambda: digest(held), number=1, repeat=5))

    assert seconds(400) < 40 * seconds(2)
    again = type(value)(list(value)) if not isinstance(value, str) else "".join(list(value))
    assert digest([value, again, value[:-1]]) == digest([again, value, again[:-1]]) != digest([value, again, value])


TEXT = "a text that is long enough for its container to be named"
KINDS = [
    lambda a, b: (a, b),
    lambda a, b: (b, TEXT, a),
    lambda a, b: (a, b, b, a, "x"),
    lambda a, b: slice(a, b),
]
SETS = [lambda a, b: frozenset({a, (b,)}), lambda a, b: frozenset({(a, TEXT), (b, 1, a)})]


def built(recipe, leaves, apart):
    """The last of what the recipe makes, each of two things made before; apart: of copies of them, all the way down."""
    made = list(leaves)

    def make(i):
        if i < len(leaves):
            return leaves[i]
        kind, a, b = recipe[i - len(leaves)]
        return kind(make(a % i), make(b % i)) if apart else kind(made[a % i], made[b % i])

    while len(made) < len(leaves) + len(recipe):
        made.append(make(len(made)))
    return make(len(made) - 1) if apart else made[-1]


def recipes(kinds):
    return st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=9)


immutable = st.sampled_from([1, 1.0, "text", b"bytes", 2j, Shade.DARK, (), frozenset(), len, None])


@hypothesis.settings(deadline=None)
@hypothesis.given(recipe=recipes(KINDS), leaves=st.lists(immutable | st.lists(st.integers()), min_size=1, max_size=4))
def test_sharing_does_not_show_around_mutable_values(recipe, leaves):
    one, other = built(recipe, leaves, False), built(recipe, leaves, True)
    assert digest(one) == digest(other)
    assert digest([one, leaves, one]) == digest([other, leaves, other]) == digest([one, leaves, other])
    assert digest(one) != digest((one, TEXT, one))


@hypothesis.settings(deadline=None)
@hypothesis.given(recipe=recipes(KINDS[:3] + SETS), leaves=st.lists(immutable, min_size=1, max_size=4))
def test_sharing_does_not_show_in_sets(recipe, leaves):
    one, other = built(recipe, leaves, False), built(recipe, leaves, True)
    assert digest(one) == digest(other)
    assert digest({(one, 1), (other, 2)}) == digest({(one, 2), (other, 1)})


def test_mutable_values_deep_inside():
    part, same, twin = [1], [1], [1]
    one, other = (part, TEXT), (same, TEXT)
    assert digest((one, one, part)) == digest((one, (part, TEXT), part))
    assert digest((one, one, part)) != digest((one, other, part))
    assert digest((one, other, same)) == digest((other, one, part)) == digest(((twin, TEXT), one, part))
    assert digest((one, other, same)) != digest((one, other, part))
    named = (TEXT, one, TEXT)
    assert digest([named, named, same, part]) == digest([(TEXT, one, TEXT), named, twin, part])
    assert digest([named, named, same, part]) != digest([named, named, part, same])


def test_values_that_contain_themselves():
    def loop(text):
        inside = []
        outside = (inside, TEXT, text)
        inside.append((outside, outside))
        return outside, inside

    (one, within), (other, _), (third, _) = loop("a"), loop("a"), loop("b")
    assert digest(one) == digest(other) == digest((within, TEXT, "a")) != digest(third)


def test_large_and_deep_values_in_tuples():
    array = numpy.arange(300_000.0)
    many = tuple(range(50_000))
    value = (many, (array, many, [many]), TEXT)
    name = digest(value)
    assert digest((tuple(range(50_000)), (array.copy(), many, [tuple(range(50_000))]), TEXT)) == name
    array[150_000] += 1
    assert digest(value) != name
    names = {digest((many[:i], many, TEXT)) for i in range(49_000, 49_003)}
    assert len(names) == 3

    def deep(levels):
        value = ()
        for _ in range(levels):
            value = (value, TEXT)
        return value

    assert digest(deep(100_000)) == digest(deep(100_000)) != digest(deep(100_001))


def test_wrong_sizes_are_refused():
    for size in (0, 1, 65):
        with pytest.raises(ValueError, match="size"):
            digest(1, size=size)
    with pytest.raises(ep.PicklingError, match=r"obj\[0\]"):
        digest([sys._getframe()])
    with pytest.raises(ep.PicklingError, match=r"obj\[1\]\[0\]"):
        digest((1, (sys._getframe(), TEXT), TEXT))


def test_classes_with_the_names_of_immutable_types():
    for name in ("complex", "range", "slice"):
        loop = type(name, (), {"__module__": __name__})()
        loop.me = [loop]
        assert digest(loop) == digest(loop)


def test_named_tuples_and_instances():
    point = collections.namedtuple("point", "x y")
    assert digest(point(1, 2)) == digest(point(1, 2)) != digest((1, 2))


SHARED = {
    "range": lambda: range(1000, 2**40),
    "Fraction": lambda: fractions.Fraction(10**30, 7),
    "UUID": lambda: uuid.UUID(int=2**100),
    "PurePath": lambda: pathlib.PurePosixPath("/a/b/c" * 9),
    "Path": lambda: pathlib.Path("/a/b/c" * 9),
    "address": lambda: ipaddress.ip_address("192.0.2.1"),
    "network": lambda: ipaddress.ip_network("2001:db8::/32"),
    "interface": lambda: ipaddress.ip_interface("192.0.2.1/24"),
    "named tuple": lambda: Point(separate("x" * 99), (1, separate("y" * 99))),
    "str": lambda: Text("x" * 99),
    "int": lambda: Whole(2**900),
    "frozenset": lambda: Group({separate("some text"), 2**99}),
    "float64": lambda: numpy.float64(1.5),
    "datetime64": lambda: numpy.datetime64("2020-01-01"),
    "dtype": lambda: numpy.dtype("f8").newbyteorder(),
    "structured dtype": lambda: numpy.dtype([("a", "i4"), ("b", "f8", (2,)), ("c", [("d", "S3")])]),
    "frozen dataclass": lambda: Frozen(separate("x" * 99), (1, Slotted(b"z" * 99, 2.5))),
    "slotted dataclass": lambda: Slotted(separate("x" * 99), Frozen(1, "y" * 99)),
    "datetime64 dtype": lambda: numpy.dtype("M8[7D]"),
}
Point = collections.namedtuple("Point", "x y")


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: object
    b: object = None


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    a: object
    b: object = None


@dataclasses.dataclass(frozen=True, eq=False)
class ByIdentity:
    a: object = None


@dataclasses.dataclass
class Thawed:
    a: object = None


class Heir(Frozen):
    """Not a dataclass of its own: its instances may be given other attributes."""


class Text(str):
    __slots__ = ()


class Whole(int):
    __slots__ = ()


class Group(frozenset):
    __slots__ = ()


class Noted(str):
    """Has a dict, so it changes."""


@pytest.mark.parametrize("make", SHARED.values(), ids=SHARED)
def test_sharing_of_values_of_libraries_does_not_show(make):
    one, other = make(), make()
    assert digest([one, one]) == digest([one, other]) == digest([make(), make()])
    assert digest((one, [one], {"k": one})) == digest((other, [make()], {"k": make()}))
    assert digest(one) == digest(other) != digest([one])


def test_subclasses_that_hold_more_are_told_apart():
    one = Noted("text")
    one.note = [one]
    assert digest(one) == digest(one)
    assert digest([Noted("a")] * 2) != digest([Noted("a"), Noted("a")])


def test_named_tuples_inside_what_they_contain():
    loop = Point([], 1)
    loop.x.append(loop)
    assert digest(loop) == digest(loop) != digest(Point([], 1))


@pytest.mark.parametrize("make", [ByIdentity, Thawed, lambda: Heir(1)])
def test_dataclasses_that_are_no_values(make):
    one = make()
    assert digest([one, one]) != digest([one, make()])


def test_frozen_dataclasses_are_gone_through_once():
    for kind in Frozen, Slotted:

        def layers(levels, kind=kind):
            value = kind("a text", 1)
            for _ in range(levels):
                value = kind(value, (value, "a text that is long enough to be named"))
            return value

        def seconds(levels, layers=layers):
            value = layers(levels)
            return min(timeit.repeat(lambda: digest(value), number=10, repeat=5))

        assert seconds(200) < 12 * seconds(100)
        assert len({digest(layers(levels)) for levels in (60, 60, 61)}) == 2


def test_frozen_dataclasses_that_contain_themselves():
    def ring(n, text):
        nodes = [Frozen(text + str(i)) for i in range(n)]
        for i, node in enumerate(nodes):
            object.__setattr__(node, "b", (nodes[(i + 1) % n], TEXT))
        return nodes

    for n in (1, 2, 5):
        one, other = ring(n, "a"), ring(n, "a")
        assert digest(one[0]) == digest(other[0]) == digest(one[0])
        assert digest([one[0], one[0]]) == digest([one[0], other[0]])
        assert digest(one[0]) != digest(ring(n, "b")[0])
    parent = Frozen("parent")
    object.__setattr__(parent, "b", tuple(Frozen(parent, i) for i in range(50)))
    assert digest(parent) == digest(parent) != digest(parent.b[0])


def test_structured_dtypes_differ():
    kinds = [[("a", "i4")], [("b", "i4")], [("a", "i8")], [("a", "i4"), ("b", "i4")], [(("title", "a"), "i4")]]
    assert len({digest(numpy.dtype(kind)) for kind in kinds}) == len(kinds)
    assert digest(numpy.zeros(3, kinds[3])) == digest(numpy.zeros(3, list(kinds[3])))


def test_sets_too_deep_to_be_ordered_are_refused():
    def deep(levels):
        value = frozenset({datetime.date(2020, 1, 2), datetime.date(2020, 1, 3)})
        for i in range(levels):
            value = frozenset({value, datetime.date(2021, 1, 1 + i % 9)})
        return value

    for name in digest, ep.dumps:
        assert name([deep(40)]) == name([deep(40)])
        with pytest.raises(ep.PicklingError, match=r"obj\[0\].*more than 64 deep"):
            name([deep(80)])
        assert name({datetime.date(2020, 1, 2), datetime.date(2020, 1, 3)})


def arrays_of_one_value(items):
    """The same array in many places of memory."""
    apart = numpy.zeros([2 * n for n in items.shape], items.dtype)
    apart[tuple(slice(None, None, 2) for _ in items.shape)] = items
    odd = numpy.frombuffer(b"x" + items.tobytes(), numpy.uint8)[1:].view(items.dtype).reshape(items.shape)
    fixed = items.copy()
    fixed.flags.writeable = False
    yield from (items, items.copy("C"), items.copy("F"), odd, fixed, items[::-1][::-1])
    yield apart[tuple(slice(None, None, 2) for _ in items.shape)]
    yield numpy.broadcast_to(items, items.shape)


@pytest.mark.parametrize("dtype", ["f8", ">i4", "U3", "S2", "M8[D]", "?", "c16", "i4,f8"])
@pytest.mark.parametrize("shape", [(12,), (3, 4), (2, 3, 2), (200, 30)])
def test_how_an_array_lies_in_memory_does_not_show(dtype, shape):
    items = (numpy.arange(numpy.prod(shape)) % 2).astype(dtype.partition(",")[0]).astype(dtype).reshape(shape)
    names = {digest(one) for one in arrays_of_one_value(items)}
    assert len(names) == 1
    other = items.copy()
    other[(-1,) * len(shape)] = items[(0,) * len(shape)]
    assert names.isdisjoint({digest(other), digest(items.reshape(-1, 1)), digest(items.tolist()), digest(items[:-1])})
    copies = [ep.copy(one) for one in arrays_of_one_value(items)]  # NumPy turns bytes around in some of them
    assert names == {digest(one) for one in copies if one.dtype == items.dtype}


def test_types_and_dtypes_of_arrays_do():
    items = numpy.arange(6.0).reshape(2, 3)
    kinds = [
        items,
        items.astype(">f8"),
        items.astype("f4"),
        items.view(numpy.matrix),
        numpy.ma.array(items),
        items.astype(object),
    ]
    assert len({digest(one) for one in kinds}) == len(kinds)
    assert digest(items.view(numpy.matrix)) == digest(items.copy("F").view(numpy.matrix))


def test_bytes_between_the_fields_are_none_of_the_value():
    dtype = numpy.dtype(
        [("a", "i1"), ("b", numpy.dtype([("c", "i1"), ("d", "f8")], align=True)), ("e", "f8", (2,))], align=True
    )
    clean, dirty = numpy.zeros(3, dtype), numpy.frombuffer(bytearray(b"\xff" * 3 * dtype.itemsize), dtype).copy()
    for one in (clean, dirty):
        one["a"], one["b"]["c"], one["b"]["d"], one["e"] = 1, 2, 3, 4
    assert digest(clean) == digest(dirty) == digest(dirty[::-1])
    dirty["b"]["d"][1] = 5
    assert digest(clean) != digest(dirty)


def test_arrays_of_objects():
    shared = [1]
    items = numpy.array([1, "a", (1, 2), shared], object)
    apart = numpy.array([1, 0, "a", 0, (1, 2), 0, shared, 0], object)[::2]
    assert digest(items) == digest(apart) and digest([items, shared]) != digest([items, [1]])


def test_how_a_view_lies_in_memory_does_not_show():
    items = numpy.arange(12.0).reshape(3, 4)
    views = [memoryview(one) for one in arrays_of_one_value(items)]
    assert len({digest(one) for one in views}) == 1
    views = [memoryview(b"abc"), memoryview(bytearray(b"abc")), memoryview(b"a-b-c-")[::2], memoryview(b"cba")[::-1]]
    assert len({digest(one) for one in views}) == 1
    assert digest(memoryview(b"abc")) not in {
        digest(b"abc"),
        digest(memoryview(b"abd")),
        digest(memoryview(b"abc").cast("c")),
    }


@pytest.mark.parametrize("protocol", [3, 5])
def test_views_arrive_with_their_items_where_they_were(protocol):
    items = numpy.arange(12.0).reshape(3, 4)
    strided = [memoryview(b"a-b-c-")[::2], memoryview(bytearray(b"a-b-c-"))[::2], memoryview(items)[::-1]]
    for view in (*(memoryview(one) for one in arrays_of_one_value(items)), *strided):
        back = ep.loads(ep.dumps(view, protocol))
        assert back == view and (back.format, back.shape) == (view.format.lstrip("="), view.shape)
        assert protocol < 5 or back.readonly == view.readonly
    with pytest.raises(ep.PicklingError, match="can only be made by the object that it is of"):
        ep.dumps(memoryview(numpy.zeros(2, ">f8")), protocol)
