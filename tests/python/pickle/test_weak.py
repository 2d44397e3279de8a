"""What weak references refer to comes along, and lives as long as somebody has it: they themselves, if nobody else does."""

import gc
import pickle
import weakref

import ergon
import ergon.pickle as ep
import pytest


class Node:
    def __init__(self, name="node"):
        self.name = name

    def get(self):
        return self.name


def functions(node):
    """What refers to the node weakly, as globals and closures of functions do, and how to ask whether it is there."""
    ref, proxy, method = weakref.ref(node), weakref.proxy(node), weakref.WeakMethod(node.get)
    items, keys, values = (
        weakref.WeakSet([node]),
        weakref.WeakKeyDictionary({node: 5}),
        weakref.WeakValueDictionary(k=node),
    )
    return {
        "ref": lambda: ref() and ref().name,
        "proxy": lambda: proxy.name,
        "method": lambda: method() and method()(),
        "set": lambda: [one.name for one in items],
        "keys": lambda: [(one.name, value) for one, value in keys.items()],
        "values": lambda: [(key, one.name) for key, one in values.items()],
    }


KINDS = list(functions(Node()))


@pytest.mark.parametrize("loads", [ep.loads, pickle.loads])
@pytest.mark.parametrize("kind", KINDS)
def test_what_nobody_else_has_stays(kind, loads):
    node, ring = Node(), Node("ring")
    ring.own = ring
    for one in (node, ring):
        there = functions(one)[kind]
        back = loads(ep.dumps(there))
        gc.collect()
        assert back() == there()
        assert repr(one.name) in repr(back())


@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_with_them(kind):
    node = Node("to go")
    back = ep.copy(functions(node)[kind])
    left = [
        weakref.ref(obj) for obj in gc.get_objects() if type(obj) is Node and obj.name == "to go" and obj is not node
    ]
    assert any(ref() is not None for ref in left)
    del back
    gc.collect()
    assert not any(ref() is not None for ref in left)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_what_somebody_has_lives_as_long_as_that(kind, first):
    node, others = Node(), [Node(str(i)) for i in range(100)]
    holder = {"deep": [(others, node)]}
    there = functions(node)[kind]
    if kind == "proxy" and first:
        return  # it arrives as the object
    pair = ep.copy((there, holder) if first else (holder, there))
    back, holder = pair if first else pair[::-1]
    del pair
    gc.collect()
    assert back() == there()
    holder.clear()
    gc.collect()
    if kind == "proxy":
        pytest.raises(ReferenceError, back)
    else:
        assert not back()


def test_sharing_holds():
    node = Node()
    refs = [weakref.ref(node), weakref.WeakSet([node]), weakref.WeakValueDictionary(k=node), weakref.ref(node)]
    ref, items, values, again = ep.copy(refs)
    assert ref() is again() is values["k"] is next(iter(items)) and ref is again
    node.peers = weakref.WeakSet([node])
    back = ep.copy(node.peers)
    assert next(iter(back)).peers is back


def test_an_entry_that_goes_takes_its_object_along():
    nodes = [Node(str(i)) for i in range(3)]
    items, values, keys = ep.copy(
        (weakref.WeakSet(nodes[:1]), weakref.WeakValueDictionary(k=nodes[1]), weakref.WeakKeyDictionary({nodes[2]: 1}))
    )
    seen = [weakref.ref(one) for one in (*items, *values.values(), *keys)]
    items.discard(seen[0]())
    del keys[seen[2]()], values["k"]
    gc.collect()
    assert [ref() for ref in seen] == [None, None, None] and not items and not values and not keys


def test_values_that_hold_their_keys():
    node = Node()
    cache = weakref.WeakKeyDictionary({node: [node]})
    back = ep.copy(cache)
    assert [(key.name, value[0] is key) for key, value in back.items()] == [("node", True)]


class Loading:
    """Loads another stream while it is loaded."""

    def __init__(self):
        self.data = ep.dumps([weakref.ref(NODE), 1])

    def __setstate__(self, state):
        self.ref = ep.loads(state["data"])[0]


NODE = Node("global")


def test_loads_inside_of_loads():
    node = Node()
    ref, inner, holder = ep.copy([weakref.ref(node), Loading(), [node]])
    gc.collect()
    assert ref() is holder[0] and inner.ref().name == "global"
    holder.clear()
    gc.collect()
    assert ref() is None and inner.ref().name == "global"


def test_tasks_find_them():
    with ergon.ProcessPool(1) as pool:
        for node in (Node(), ring := Node()):
            ring.own = ring
            for kind, there in functions(node).items():
                assert (kind, pool.pipe(there)) == (kind, there())
        assert pool.map(lambda ref: ref().name, [weakref.ref(NODE)] * 3) == ["global"] * 3
