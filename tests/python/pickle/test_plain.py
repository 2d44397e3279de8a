"""Plain data, against the standard pickle in both directions."""

import os
import pathlib
import pickle
import subprocess
import sys
import threading

import ergon.pickle as ep
import hypothesis
import hypothesis.strategies as st
import numpy
import pytest
from ergon.errors import ErgonError, PicklingError, UnpicklingError

atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**31) - 2, 2**31 + 2)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)
hashables = st.recursive(atoms, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4), max_leaves=8)
values = st.recursive(
    hashables,
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(hashables, inner, max_size=6)
        | st.tuples(inner, inner, inner, inner)
        | st.sets(hashables, max_size=4)
        | st.builds(bytearray, st.binary())
    ),
    max_leaves=30,
)


@hypothesis.given(values)
def test_round_trip_and_both_ways_with_pickle(value):
    data = ep.dumps(value)
    for back in (ep.loads(data), pickle.loads(data)):
        assert back == value
        assert repr(type(back)) == repr(type(value))
    for protocol in (2, 3, 4):
        assert pickle.loads(ep.dumps(value, protocol)) == value
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert ep.loads(pickle.dumps(value, protocol)) == value


@hypothesis.given(values)
def test_same_value_same_bytes(value):
    assert ep.dumps(value) == ep.dumps(value)
    assert ep.dumps(ep.loads(ep.dumps(value))) == ep.dumps(ep.loads(ep.dumps(value)))


@pytest.mark.parametrize("value", [-(2**k) for k in range(0, 200)] + [2**k for k in range(0, 200)])
def test_integers_at_the_edges(value):
    for n in (value - 1, value, value + 1):
        assert pickle.loads(ep.dumps(n)) == n
        assert ep.dumps(n) == pickle.dumps(n, 5)


def test_sharing_and_recursion():
    shared = [1]
    value = {"a": shared, "b": (shared, shared)}
    value["self"] = value
    back = ep.loads(ep.dumps(value))
    assert back["a"] is back["b"][0] is back["b"][1]
    assert back["self"] is back
    loop = ([],)
    loop[0].append(loop)
    back = ep.loads(ep.dumps(loop))
    assert back[0][0] is back


def test_deep_nesting():
    deep = []
    for _ in range(200_000):
        deep = [deep]
    back = ep.loads(ep.dumps(deep))
    depth = 0
    while back:
        back = back[0]
        depth += 1
    assert depth == 200_000


class Node:
    next = None


def test_long_linked_list():
    first = node = Node()
    for _ in range(100_000):
        node.next = Node()
        node = node.next
    node = ep.loads(ep.dumps(first))
    count = 0
    while node.next:
        node = node.next
        count += 1
    assert count == 100_000


def test_sets_do_not_depend_on_hash_order():
    words = ["w%d" % i for i in range(100)]
    assert ep.dumps(set(words)) == ep.dumps(set(reversed(words)))
    mixed = [1, "a", (2, "b"), frozenset({"x", 1}), None]
    assert ep.dumps(set(mixed)) == ep.dumps(set(reversed(mixed)))


def test_error_names_the_path():
    node = Node()
    node.lock = threading.local()
    with pytest.raises(PicklingError) as caught:
        ep.dumps([0, {"model": node}])
    assert "cannot pickle '_thread._local' object: obj[1]['model'].lock: " in str(caught.value)
    assert isinstance(caught.value, pickle.PicklingError)
    assert isinstance(caught.value, ErgonError)


class Refuses:
    def __reduce__(self):
        raise KeyError("mine")


def test_errors_of_user_code_pass_with_a_note():
    with pytest.raises(KeyError) as caught:
        ep.dumps({"k": [Refuses()]})
    assert caught.value.__notes__ == ["while pickling obj['k'][0]"]


def test_reduce_that_contains_itself_is_refused():
    class Loop:
        def __reduce__(self):
            return (list, ([self],))

    with pytest.raises(PicklingError, match="its own __reduce__"):
        ep.dumps(Loop())


@pytest.mark.parametrize(
    "data",
    [b"", b".", b"(", b"]", b"0.", b"\x80\x09.", b"h\x00.", b"t.", b"K", b"X\xff\xff\xff\xff.", b"r\xff\xff\xff\x7f.",
     b"Nr\xff\xff\xff\xff.", b"\x95\xff\xff\xff\xff\xff\xff\xff\xff.", b"u.", b"(u.", b"]u.", b"](NNu.", b"Nb.", b"NN\x81.", b"NNR."],
)  # fmt: skip
def test_broken_streams_raise(data):
    with pytest.raises((UnpicklingError, EOFError, ValueError, TypeError, AttributeError)):
        ep.loads(data)


def test_restrict():
    data = ep.dumps(Node())
    name = f"{Node.__module__}.Node"
    with pytest.raises(UnpicklingError, match="not allowed"):
        ep.loads(data, restrict={"builtins.int"})
    assert type(ep.loads(data, restrict={name})) is Node


def test_out_of_band_buffers():
    array = numpy.arange(100_000.0).reshape(100, 1000)
    for value in (array, numpy.asfortranarray(array)):
        buffers = []
        data = ep.dumps([value, value], buffer_callback=buffers.append)
        assert len(data) < 500 and len(buffers) == 1
        back = ep.loads(data, buffers=buffers)
        assert back[0] is back[1] and (back[0] == value).all()
        assert numpy.shares_memory(back[0], value)
        assert (pickle.loads(ep.dumps(value)) == value).all()


class Meddles:
    """While it is pickled it changes what contains it."""

    def __init__(self, change):
        self.change = change

    def __reduce__(self):
        self.change()
        return (str, ("meddled",))


def test_containers_that_change_while_they_are_pickled():
    items = []
    items += [Meddles(items.clear), [1], "x" * 50]
    assert ep.loads(ep.dumps(items)) == ["meddled"]
    items += [Meddles(lambda: items.extend("abc")), 2]
    assert ep.loads(ep.dumps(items)) == ["meddled", 2, "a", "b", "c"]
    for change in (lambda mapping: mapping.clear(), lambda mapping: mapping.update(more=1)):
        mapping = {}
        mapping.update(a=Meddles(lambda m=mapping, c=change: c(m)), b=[1])
        with pytest.raises(RuntimeError, match="changed size"):
            ep.dumps(mapping)
    keyed = {}
    keyed.update({(1, Meddles(keyed.clear)): [2], "k": 3})
    with pytest.raises(RuntimeError, match="changed size"):
        ep.dumps(keyed)
    node = Node()
    node.__dict__.update(a=Meddles(lambda: node.__dict__.clear()), b=[1])
    with pytest.raises(RuntimeError, match="changed size"):
        ep.dumps(node)
    members = {1, 2}
    members.add(Meddles(members.clear))
    assert ep.loads(ep.dumps(members)) == {1, 2, "meddled"}


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_arguments_that_a_thread_changes_while_they_are_written(kind):
    script = pathlib.Path(__file__).with_name("changing_script.py")
    done = subprocess.run(
        [sys.executable, str(script), kind],
        env=os.environ | {"PYTHONMALLOC": os.environ.get("PYTHONMALLOC", "debug")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_reduce_that_never_ends_is_stopped():
    # In a process of its own: it takes some memory to be sure.
    code = (
        "import ergon.pickle as p\n"
        "class E:\n    def __reduce__(self): return (E, (E(),))\n"
        "try: p.dumps(E())\n"
        "except p.PicklingError as e: print('stopped', len(str(e)) < 2000, type(e.__cause__).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "stopped True RecursionError\n", done.stderr[-2000:]


class Slots:
    __slots__ = ("a", "b")


class SlotsAndDict(Slots):
    def __init__(self):
        self.c = [self]


class Stubborn:
    """Objects to assignments, which loading does not ask about."""

    def __init__(self):
        self.__dict__["x"] = 1

    def __setattr__(self, name, value):
        raise AttributeError(name)


def test_slots():
    value = Slots()
    assert not hasattr(ep.copy(value), "a")
    value.a = [1]
    for loads in (ep.loads, pickle.loads):
        back = loads(ep.dumps(value))
        assert back.a == [1] and not hasattr(back, "b")
    both = SlotsAndDict()
    both.b = (1, both)
    for loads in (ep.loads, pickle.loads):
        back = loads(ep.dumps(both))
        assert back.c[0] is back and back.b[1] is back and not hasattr(back, "a")
    assert ep.loads(pickle.dumps(both, 5)).b[0] == 1
    value.a = threading.local()
    with pytest.raises(PicklingError, match=r"obj\[0\]\.a: "):
        ep.dumps([value])


def test_own_setattr_is_not_asked():
    for loads in (ep.loads, pickle.loads):
        assert loads(ep.dumps(Stubborn())).x == 1


@hypothesis.given(st.sets(atoms), st.randoms())
def test_sets_of_atoms_have_one_order(items, rng):
    shuffled = list(items)
    rng.shuffle(shuffled)
    again = set()
    for item in shuffled:
        again.add(item)
    assert ep.dumps(again) == ep.dumps(items)
    assert pickle.loads(ep.dumps(items)) == items


class Bottomless:
    def __getattribute__(self, name):
        return getattr(self, name)


class Reduces:
    def __reduce__(self):
        return self.__reduce__()


@pytest.mark.parametrize("cls", [Bottomless, Reduces])
def test_endless_recursion_in_user_code_is_a_pickling_error_with_the_path(cls):
    with pytest.raises(ep.PicklingError, match=r"obj\['a'\]\[1\]") as caught:
        ep.dumps({"a": [0, cls()]})
    assert type(caught.value.__cause__) is RecursionError
