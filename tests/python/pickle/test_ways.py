"""Instances of classes that say this or that about how they are written: the same comes back as from pickle."""

import collections
import copyreg
import enum
import pickle

import ergon.pickle as ep
import pytest


class Items(list):
    pass


class Reversed(list):
    def __iter__(self):
        return reversed(list(super().__iter__()))


class Mapping(dict):
    pass


class Doubled(dict):
    def items(self):
        return [(key, 2 * value) for key, value in super().items()]


class SlottedItems(list):
    __slots__ = ("more",)


class Numbers(set):
    pass


class Pair(tuple):
    pass


class SlottedPair(tuple):
    __slots__ = ()


class Size(int):
    pass


class Text(str):
    pass


class Data(bytes):
    pass


class Ratio(float):
    pass


class Open:
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class Watched:
    def __getattribute__(self, name):
        return super().__getattribute__(name)


class State:
    def __getstate__(self):
        return {"seen": 1, **self.__dict__}

    def __setstate__(self, state):
        self.__dict__.update(state, set=True)


class NoState(Items):
    def __getstate__(self):
        return None


class OddState(dict):
    def __getstate__(self):
        return [1, self]

    def __setstate__(self, state):
        self.state = state


class NewArgs:
    def __new__(cls, number, more=()):
        self = super().__new__(cls)
        self.number, self.more = number, more
        return self

    def __getnewargs__(self):
        return self.number, self.more


class NewKwargs:
    def __new__(cls, *, number):
        self = super().__new__(cls)
        self.number = number
        return self

    def __getnewargs_ex__(self):
        return (), {"number": self.number}


class Reduced:
    def __init__(self, *args):
        self.args = args

    def __reduce__(self):
        return Reduced, self.args


class Slots:
    __slots__ = ("__dict__", "a", "b")


class Odd(enum.Enum):
    A = [1]
    B = 2


Point = collections.namedtuple("Point", "x y")


def filled(made, **attributes):
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def moved():
    made = collections.OrderedDict(a=1, b=2, c=3)
    made.move_to_end("a")
    return filled(made, attribute=[1])


MAKES = {
    "list": lambda: filled(Items([1, [2]]), attribute="x"),
    "list of one": lambda: Items([1]),
    "empty list": lambda: filled(Items(), attribute="x"),
    "list with its own order": lambda: Reversed([1, 2, 3]),
    "dict": lambda: filled(Mapping(a=1, b=[2]), attribute="x"),
    "empty dict": Mapping,
    "dict with its own items": lambda: Doubled(a=1, b=2),
    "slots": lambda: filled(SlottedItems([1]), more=2),
    "empty slots": lambda: SlottedItems([1]),
    "set": lambda: filled(Numbers([1, 2]), attribute="x"),
    "tuple": lambda: filled(Pair((1, [2])), attribute="x"),
    "tuple of atoms": lambda: SlottedPair((1, "2", 3.0, None)),
    "named tuple": lambda: Point(1, [2]),
    "int": lambda: filled(Size(5), attribute="x"),
    "large int": lambda: Size(2**100),
    "str": lambda: filled(Text("é"), attribute="x"),
    "bytes": lambda: Data(b"ab"),
    "float": lambda: Ratio(1.5),
    "__getattr__": lambda: filled(Open(), attribute="x"),
    "__getattribute__": lambda: filled(Watched(), attribute="x"),
    "__getstate__": lambda: filled(State(), attribute="x"),
    "no state": lambda: filled(NoState([1]), attribute="x"),
    "odd state": lambda: OddState(a=1),
    "__getnewargs__": lambda: filled(NewArgs(1, [2]), attribute="x"),
    "__getnewargs__ of atoms": lambda: NewArgs(1, "more"),
    "__getnewargs_ex__": lambda: NewKwargs(number=3),
    "__reduce__": lambda: Reduced(1, (2, [3])),
    "__reduce__ without arguments": Reduced,
    "slots and dict": lambda: filled(Slots(), a=1, other=2),
    "enum": lambda: [Odd.A, Odd.B, Odd.A],
    "deque": lambda: collections.deque([1, [2]]),
    "bound deque": lambda: collections.deque([1, 2], 2),
    "empty deque": lambda: collections.deque(maxlen=0),
    "ordered dict": moved,
    "default dict": lambda: collections.defaultdict(list, a=[1]),
    "counter": lambda: collections.Counter("hello"),
    "complex": lambda: complex(float(1), 2),
    "exception": lambda: filled(ValueError("a", 1), attribute="x"),
}


def picture(value):
    """What can be told of a value: its type, content and attributes, all the way down."""
    kind = type(value)
    if kind in (int, float, str, bytes, bool, complex, type(None)) or isinstance(value, enum.Enum):
        return repr(value)
    content = []
    if isinstance(value, (list, tuple, collections.deque)):
        content = [picture(item) for item in tuple.__iter__(value)] if isinstance(value, tuple) else [
            picture(value[i]) for i in range(len(value))]  # fmt: skip
    elif isinstance(value, (set, frozenset)):
        content = sorted(map(picture, value))
    elif isinstance(value, dict):
        order = list(value) if kind is collections.OrderedDict else dict.keys(value)
        content = [(picture(key), picture(dict.__getitem__(value, key))) for key in order]
    elif isinstance(value, (int, float, str, bytes)):
        content = repr(value)
    slots = {name: picture(getattr(value, name)) for name in getattr(kind, "__slots__", ()) if name != "__dict__" and hasattr(value, name)}  # fmt: skip
    more = getattr(value, "maxlen", None), getattr(value, "default_factory", None), getattr(value, "args", None)
    attributes = {key: picture(item) if item is not value else "itself" for key, item in getattr(value, "__dict__", {}).items() if key != "state"}  # fmt: skip
    return kind.__qualname__, content, slots, attributes, repr(more)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", MAKES)
def test_comes_back_as_from_pickle(name, protocol):
    value = [MAKES[name](), MAKES[name]()]
    value.append(value[0])
    data = ep.dumps(value, protocol)
    expected = picture(pickle.loads(pickle.dumps(value, protocol)))
    for back in (ep.loads(data), pickle.loads(data)):
        assert picture(back) == expected
        assert back[2] is back[0] and (back[1] is not back[0] or name == "enum")
    assert ep.loads(pickle.dumps(value, protocol)) is not None
    assert picture(ep.loads(pickle.dumps(value, protocol))) == expected


def test_state_that_leads_back():
    value = OddState(a=1)
    back = ep.copy(value)
    assert back.state[1] is back
    held = []
    pair = Pair((held, 1))
    held.append(pair)
    back = ep.copy(pair)
    assert back[0][0] is back
    items = Items()
    items.append(items)
    items.me = items
    back = ep.copy(items)
    assert back[0] is back and back.me is back


def test_a_class_that_changes_its_mind():
    class Changing(list):
        pass

    value = Changing([1])
    assert ep.copy(value) == [1]
    Changing.__reduce__ = lambda self: (list, ([2],))
    assert ep.copy(value) == [2]
    del Changing.__reduce__
    Changing.__getstate__ = lambda self: {"state": 3}
    assert ep.copy(value).state == 3
    Changing.__reduce_ex__ = lambda self, protocol: (list, ([4],))
    assert ep.copy(value) == [4]


def test_a_reducer_registered_later_is_asked():
    assert ep.copy(Size(3)) == 3
    copyreg.pickle(Size, lambda size: (Size, (7,)))
    try:
        assert ep.copy(Size(3)) == 7
    finally:
        del copyreg.dispatch_table[Size]


def test_errors_say_where():
    class Bad(list):
        def __getstate__(self):
            raise ZeroDivisionError("as it says")

    with pytest.raises(ZeroDivisionError) as caught:
        ep.dumps({"a": [Bad()]})
    assert any("obj['a'][0]" in note for note in caught.value.__notes__)

    class BadArgs(tuple):
        def __getnewargs__(self):
            return [1]

    with pytest.raises(TypeError, match="__getnewargs__ should return a tuple"):
        ep.dumps(BadArgs())
    with pytest.raises(ep.PicklingError, match=r"obj\[0\]\['key'\]\[1\]"):
        ep.dumps([Mapping(key=Items([1, (x for x in [iter([])]).gi_frame]))])


def test_sets_in_sets_in_sets():
    """Each is put into order once, not once for every set around it."""
    deep = frozenset({1, 2})
    for i in range(300):
        deep = frozenset({i, deep, (i, deep)})
    assert ep.dumps(deep) == ep.dumps(deep)

    def nested(order):
        made = frozenset(order)
        for i in range(30):
            made = frozenset({made, f"level {i}"} if order[0] == "a" else {f"level {i}", made})
        return made

    assert ep.dumps(nested(["a", "b", "c"])) == ep.dumps(nested(["c", "b", "a"]))


def test_sets_are_written_in_order_of_their_values():
    def written(items):
        return ep.dumps(set(items)), ep.dumps(frozenset(items))

    cases = [
        [3, -1, 2**40, 7, -(2**40), 0],
        [2**70, -(2**70), 1, 5],
        [f"key {i}" for i in range(100)],
        ["é", "z", "\U00010000", "￿", "a", "", "\ud800"],
        ["common prefix, and more", "common prefix", "common prefix, and less", "common prefix, and mor"],
        [None, 1.5, "a", b"a", 2, ("a", 1), ("a", 0), ((), ()), (("a",), 1)],
        [(i % 3, str(i)) for i in range(60)],
        [("x" * 20 + str(i), i) for i in range(60)],
        [(), (1,), (1, 2), (0, 5)],
        [float("inf"), -0.5, 0.25, float("-inf")],
        [b"a", b"b", b"\xff", b""],
        list(range(1000)),
    ]
    for items in cases:
        assert written(items) == written(items[::-1]), items
        assert ep.copy(set(items)) == set(items)
