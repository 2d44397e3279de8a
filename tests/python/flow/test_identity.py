"""What functionals return is, object by object, what sequential execution would give: nothing there is a copy that was not one."""

import collections
import functools
import os
import random
import sys

import ergon
import numpy
import pytest
from ergon import _core, _identity, functional, schedule

ahead = pytest.mark.skipif(sys.version_info >= (3, 15), reason="calls run ahead on CPython 3.11 to 3.14")

MISSING = object()
TABLE = {"a": [1, 2], ("t", 1): {3}}
KEPT = {}
LAST = None
GRID = numpy.arange(6.0)


class Node:
    def __init__(self, name):
        self.name = name
        self.others = []


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value

    def method(self):
        return self.value


Pair = collections.namedtuple("Pair", "left right")


class Carrier(Exception):
    pass


@pytest.fixture(autouse=True, scope="module")
def workers():
    ergon.configure(workers=[{"type": "multicore", "cores": 2}])
    yield
    ergon.configure()


def remote(function):
    made = functional(function)
    made._remote_only = 1
    return made


def both(main, *args):
    """What it gives, after it was seen to be what it gives sequentially."""
    plain, scheduled = main(*args), schedule(main)(*args)
    assert scheduled == plain
    return scheduled


def test_a_global_is_itself():
    lookup = remote(lambda x: MISSING if x else TABLE)
    inside = remote(lambda key: TABLE[key])

    def main():
        return lookup(1) is MISSING, lookup(0) is TABLE, inside("a") is TABLE["a"], inside(("t", 1)) is TABLE[("t", 1)]

    assert both(main) == (True, True, True, True)


def test_defaults_and_cells_are_themselves():
    def surroundings():
        held = [1]

        def cell(x):
            return [held, x]

        return remote(cell), held

    cell, held = surroundings()
    mutable = [2]

    @remote
    def default(x, found=mutable, *, named=mutable):
        return found, named

    def main():
        found, named = default(1)
        return cell(1)[0] is held, found is mutable, named is mutable

    assert both(main) == (True, True, True)


def test_arguments_are_keys_and_members():
    weights = remote(lambda nodes: {n: len(n.name) for n in nodes})
    chosen = remote(lambda nodes: ({nodes[0]}, frozenset(nodes[1:]), {(nodes[0], 1): nodes[1]}))

    def main():
        a, b = Node("a"), Node("bb")
        w = weights([a, b])
        some, others, pairs = chosen([a, b])
        return w[a], w[b], a in some, b in others, pairs[a, 1] is b

    assert both(main) == (1, 2, True, True, True)


def test_arguments_that_are_keys_and_members_come_back():
    first = remote(lambda table, some: (next(iter(table)), list(some)))

    def main():
        a, b = Node("a"), Node("b")
        key, members = first({a: 1}, {b})
        return key is a, members[0] is b

    assert both(main) == (True, True)


def holding(o):
    node = Node("n")
    node.others.append(o)
    slotted = Slotted(o)
    objects = numpy.empty(2, dtype=object)
    objects[1] = o
    return {
        "instance": node,
        "pair": Pair(o, 1),
        "closure": lambda: o,
        "exception": ValueError(o),
        "iterator": iter([o]),
        "method": slotted.method,
        "slotted": slotted,
        "deque": collections.deque([o]),
        "ordered": collections.OrderedDict(k=o),
        "objects": objects,
        "partial": functools.partial(max, o),
        "built-in method": [o].copy,
    }


KINDS = {
    "instance": lambda r: r.others[0],
    "pair": lambda r: r.left,
    "closure": lambda r: r(),
    "exception": lambda r: r.args[0],
    "iterator": next,
    "method": lambda r: r(),
    "slotted": lambda r: r.value,
    "deque": lambda r: r[0],
    "ordered": lambda r: r["k"],
    "objects": lambda r: r[1],
    "partial": lambda r: r.args[0],
    "built-in method": lambda r: r()[0],
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_argument_inside_something_is_itself(kind):
    make = remote(lambda o, kind: holding(o)[kind])

    def main():
        o = Node("o")
        return KINDS[kind](make(o, kind)) is o, KINDS[kind](make(kind=kind, o=o)) is o

    assert both(main) == (True, True)


def test_an_argument_in_what_is_raised_is_itself():
    @remote
    def fails(o):
        raise Carrier(o)

    def main():
        o = Node("o")
        try:
            fails(o)
        except Carrier as error:
            return error.args[0] is o

    assert both(main) is True


VIEWS = {
    "row": lambda a: a[0],
    "transposed": lambda a: a.T,
    "memory": memoryview,
    "listed": lambda a: [1, a[:, 1:]],
    "real": lambda a: a.real,
}


@pytest.mark.parametrize("kind", VIEWS)
def test_a_view_of_an_argument_is_one(kind):
    view = remote(VIEWS[kind])

    def main():
        a = numpy.ones((3, 4))
        r = view(a)
        a[:] = 7
        return numpy.asarray(r[1] if kind == "listed" else r).tolist()

    assert both(main)


def test_a_view_of_a_global_is_one():
    view = remote(lambda x: GRID[x:])

    def main():
        return numpy.shares_memory(view(2), GRID)

    assert both(main) is True


def test_results_that_overlap_do_so():
    windows = remote(lambda n: (lambda a: (a[:-1], a[1:]))(numpy.arange(n)))
    whole = remote(lambda n: (lambda a: {"all": a, "first": a[:1]})(numpy.zeros(n)))

    def main():
        left, right = windows(5)
        left[1] = 100
        found = whole(3)
        found["first"][0] = 5
        return right.tolist(), found["all"].tolist()

    assert both(main) == ([100, 2, 3, 4], [5.0, 0.0, 0.0])


@ahead
def test_what_is_new_is_made_by_workers():
    """Nothing of this has to be made by the caller."""

    @remote
    def make(n, o):
        a = numpy.arange(12)
        left, right = numpy.split(a, 2)
        node = Node("new")
        node.others.append(o)
        return os.getpid(), left, right, a.reshape(3, 4).T.copy(), node, {o: [1.5, "x"]}, node, MISSING, TABLE["a"]

    @schedule
    def main():
        o = Node("o")
        return o, [make(i, o) for i in range(4)]

    o, made = main()
    for pid, left, right, _, node, table, again, missing, inside in made:
        assert pid != os.getpid()
        assert left.tolist() + right.tolist() == list(range(12))
        assert node is again and node.others[0] is o and o in table
        assert missing is MISSING and inside is TABLE["a"]


@ahead
def test_results_kept_in_a_global_are_what_the_worker_had():
    """Such a functional has an effect: there is nothing at the caller that could stand for its result."""

    @remote
    def kept(x):
        global LAST
        if x not in KEPT:
            KEPT[x] = [x, os.getpid()]
        LAST = [x]
        return KEPT[x], LAST

    @schedule
    def main():
        return [kept(i) for i in range(3)]

    for i, (found, last) in enumerate(main()):
        assert found[0] == i and found[1] != os.getpid() and last == [i]
    assert KEPT == {}


def test_the_attributes_of_an_argument_are_themselves():
    attributes = remote(vars)
    inside = remote(lambda o: [vars(o), o])

    def main():
        o = Node("o")
        attributes(o)["name"] = "p"
        found, again = inside(o)
        found["more"] = 1
        return o.name, o.more, again is o

    assert both(main) == ("p", 1, True)


def test_deep_and_cyclic_results():
    @remote
    def deep(o):
        nested = o
        for _ in range(400):
            nested = [nested]
        ring = [o]
        ring.append(ring)
        return nested, ring

    def main():
        o = Node("o")
        nested, ring = deep(o)
        while type(nested) is list:
            nested = nested[0]
        return nested is o, ring[0] is o, ring[1] is ring

    assert both(main) == (True, True, True)


def test_references_are_counted_as_this_interpreter_counts_them():
    value = [[1], {"a": (2, [3])}]
    nodes, times, _ = _identity._graph(value)
    assert _identity._shared(nodes, times, True) == []
    kept = value[1]
    assert _identity._shared(nodes, times, True) == [kept, *kept.values(), kept["a"][1]]


def grown(rng, made, depth=0):
    """Something random, of parts that may be there several times."""
    if made and rng.random() < 0.15:
        return rng.choice(made)
    kind = rng.randrange(9) if depth < 4 else 8
    parts = [grown(rng, made, depth + 1) for _ in range(rng.randrange(4))] if kind < 7 else []
    if kind == 0:
        new = parts
    elif kind == 1:
        new = tuple(parts)
    elif kind == 2:
        new = dict(enumerate(parts))
    elif kind == 3:
        new = Node(parts)
    elif kind == 4:
        new = Slotted(parts)
    elif kind == 5:
        new = collections.deque(parts)
    elif kind == 6:
        new = {Node("member"), frozenset({Slotted(1)})}
    elif kind == 7:
        new = numpy.ones(3)[: rng.choice((2, None))]
    else:
        return rng.choice((1, 2.5, "text", None, (), 3 + 4j, list, math_module))
    made.append(new)
    return new


math_module = sys.modules["math"]


@pytest.mark.parametrize("seed", range(8))
def test_what_is_new_is_told_in_c_as_in_python(seed):
    """With something kept, and without."""
    rng, fresh = random.Random(seed), 0
    for _ in range(200):
        made = []
        box = [[grown(rng, made)]]
        kept = rng.choice(made) if made and rng.random() < 0.4 else None
        made.clear()
        told = _core._fresh(box)
        nodes, times, standing = _identity._graph(box[0])
        seen = not _identity._shared(nodes, times, True) and not _identity._overlap(nodes, times, standing)
        # A view on an array of which nothing else is left is looked at in Python, and so is an empty tuple.
        views = any(type(node) is numpy.ndarray and node.base is not None for node in nodes)
        empty = any(type(node) is tuple and not node for node in nodes)
        assert told == seen or (seen and views and not told) or (empty and told), (nodes, kept)
        shared = _core._shared(box[0])  # without those inside them
        if shared is not None:
            seen = {id(node) for node in _identity._shared(nodes, times, True) if node != ()}
            assert {id(node) for node in _identity._and_inside(shared) if node != ()} == seen
        fresh += told
        del kept, nodes, times, shared
    assert 50 < fresh < 190


def test_what_cannot_be_told_is_not_new():
    whole = numpy.arange(4)
    for box in ([lambda: 1], [memoryview(b"abc")], [whole[1:]], [numpy.array([[]], dtype=object)], [[len, Node]]):
        assert _core._fresh(box) is (type(box[0]) is list)
    ring = [1]
    ring.append(ring)
    assert not _core._fresh([ring])
    with pytest.raises(TypeError):
        _core._fresh((1,))
