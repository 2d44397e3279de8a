"""Every kind of object that dill or cloudpickle can serialize, and those beyond: how one is made, and what must hold of
the one that arrives. Run as __main__ by test_table.py, so that all that is defined here travels by value:

    table_entries.py dump FOLDER      pickles each, checks a copy made in this process
    table_entries.py load FOLDER      checks what another process gets, and sends it back
    table_entries.py home FOLDER      checks what comes home

make() gives the object, check(back) raises when it is not what was sent. In the loading process this file is
imported under another name, so that nothing of __main__ is there.
"""

from __future__ import annotations

import abc
import collections
import contextvars
import dataclasses
import enum
import functools
import json
import operator
import pathlib
import pickle
import sys
import traceback
import types
import typing
import weakref

import ergon.pickle as ep

ENTRIES: dict[str, type] = {}
FOLDER = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else ".")


def entry(name):
    def add(cls):
        ENTRIES[name] = cls
        return cls

    return add


CONST = {"k": [1, 2]}
LIMIT = 7
VARIABLE = contextvars.ContextVar("VARIABLE", default="nothing")
T = typing.TypeVar("T", bound=int)
P = typing.ParamSpec("P")
Ts = typing.TypeVarTuple("Ts")
UserId = typing.NewType("UserId", int)


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


# --- what pickle knows ------------------------------------------------------------------------------------------


@entry("None, bool, int, float, str, bytes")
class _:
    def make():
        return [
            None,
            True,
            False,
            0,
            -1,
            2**31,
            -(2**63),
            2**200,
            0.5,
            float("inf"),
            "",
            "é\U0001f40d",
            "\ud800",
            b"\0",
        ]

    def check(back):
        assert back == [
            None,
            True,
            False,
            0,
            -1,
            2**31,
            -(2**63),
            2**200,
            0.5,
            float("inf"),
            "",
            "é\U0001f40d",
            "\ud800",
            b"\0",
        ]
        assert back[1] is True and type(back[3]) is int


@entry("tuple, list, dict, set, frozenset, bytearray: nested, shared, recursive")
class _:
    def make():
        loop, shared = [1], {"s": {1, 2}}
        loop += [loop, (loop, frozenset({"f"})), shared, shared, bytearray(b"b")]
        return loop

    def check(back):
        assert back[1] is back and back[2][0] is back and back[3] is back[4] == {"s": {1, 2}}
        assert back[2][1] == frozenset({"f"}) and back[5] == bytearray(b"b")


@entry("PickleBuffer")
class _:
    def make():
        return pickle.PickleBuffer(bytearray(b"xyz"))

    def check(back):
        assert back == b"xyz"


@entry("numpy arrays, scalars, dtypes, ufuncs")
class _:
    def make():
        import numpy

        return [numpy.arange(5.0), numpy.float32(2), numpy.dtype("i4"), numpy.sin, numpy.array([{1}], object)]

    def check(back):
        assert back[0].tolist() == [0, 1, 2, 3, 4] and back[1] == 2 and back[2].itemsize == 4
        assert back[3](0) == 0 and back[4][0] == {1}


@entry("a subclass of ndarray")
class _:
    def make():
        import numpy

        class Marked(numpy.ndarray):
            def twice(self):
                return self * 2

        made = numpy.arange(3).view(Marked)
        made.mark = "m"
        return made

    def check(back):
        assert back.twice().tolist() == [0, 2, 4] and type(back).__name__ == "Marked"


# --- functions and code ---------------------------------------------------------------------------------------------


@entry("function: defaults, keyword defaults, annotations, attributes, doc")
class _:
    def make():
        def f(a, b=2, *rest, c=LIMIT, **more) -> str:
            "its doc"
            return a, b, rest, c, more, LIMIT

        f.tag = ["t"]
        return f

    def check(back):
        assert back(1, 3, 4, d=5) == (1, 3, (4,), 7, {"d": 5}, 7) and back.__doc__ == "its doc" and back.tag == ["t"]
        assert back.__defaults__ == (2,) and back.__kwdefaults__ == {"c": 7} and back.__annotations__["return"] == "str"
        assert back.__module__ == "__main__" and back.__qualname__ == "_.make.<locals>.f"


@entry("functions that call one another share their globals")
class _:
    def make():
        return [even, odd, lambda: CONST, lambda: CONST]

    def check(back):
        assert back[0](10) and back[1](7) and back[0].__globals__ is back[1].__globals__
        assert back[0].__globals__["odd"] is back[1] and back[2]() is back[3]()


@entry("lambda, in itself")
class _:
    def make():
        f = lambda n: 1 if n < 2 else n * f(n - 1)  # noqa: E731
        return f

    def check(back):
        assert back(5) == 120 and back.__closure__[0].cell_contents is back


@entry("closure: shared cells, nonlocal")
class _:
    def make():
        n = 0

        def up():
            nonlocal n
            n += 1
            return n

        def get():
            return n

        return up, get

    def check(back):
        before = back[1]()
        assert back[0]() == before + 1 == back[1]()


@entry("cell, full, empty, and in itself")
class _:
    def make():
        full, loop = types.CellType([1]), types.CellType()
        loop.cell_contents = [loop]
        return full, types.CellType(), loop, full

    def check(back):
        assert back[0].cell_contents == [1] and back[0] is back[3] and back[2].cell_contents[0] is back[2]
        try:
            raise AssertionError(back[1].cell_contents)
        except ValueError:
            pass


@entry("a function with an empty cell")
class _:
    def make():
        def f():
            return later

        if LIMIT == 0:
            later = 1
        return f

    def check(back):
        try:
            raise AssertionError(back())
        except NameError:
            pass


@entry("code of every shape")
class _:
    def make():
        def f(a, /, b, *c, d=1, **e):
            x = [y for y in range(a) if y]

            def inner():
                return a, x

            return inner

        async def coroutine(a):
            async with a as b:
                return [c async for c in b]

        def generator():
            try:
                yield from (1, 2)
            except* ValueError:
                pass

        return [f.__code__, coroutine.__code__, generator.__code__, compile("x = 1; y: int = 2", "<s>", "exec")]

    def check(back):
        f = types.FunctionType(back[0], {})
        assert (
            f(3, 2, d=1)()[1] == [1, 2]
            and back[1].co_flags & 0x80
            and list(types.FunctionType(back[2], {})()) == [1, 2]
        )
        space = {}
        exec(back[3], space)
        assert space["x"] == 1 and list(back[0].co_positions())


@entry("staticmethod, classmethod, and their abstract variants")
class _:
    def make():
        return [staticmethod(even), classmethod(even), abc.abstractclassmethod(even), abc.abstractstaticmethod(even)]

    def check(back):
        kinds = [staticmethod, classmethod, abc.abstractclassmethod, abc.abstractstaticmethod]
        assert [type(b) for b in back] == kinds and all(b.__func__ is back[0].__func__ for b in back)
        assert back[2].__isabstractmethod__


@entry("property and abstractproperty")
class _:
    def make():
        return [property(even, odd, None, "doc"), abc.abstractproperty(even)]

    def check(back):
        assert back[0].fget(2) and back[0].fset(3) and back[0].fdel is None and back[0].__doc__ == "doc"
        assert back[1].__isabstractmethod__


@entry("bound methods: of instances, classes, built-ins, and foreign functions")
class _:
    def make():
        class C:
            def me(self):
                return self

            @classmethod
            def cls(cls):
                return cls

        c = C()
        return [c, c.me, C.cls, types.MethodType(even, 4), [1].append, "a".join, dict.fromkeys, c.me.__func__]

    def check(back):
        assert back[1]() is back[0] and back[2]() is type(back[0]) and back[3]() and back[5]("xy") == "xay"
        assert back[6]("a") == {"a": None} and back[7](3) == 3
        back[4](2)
        assert back[4].__self__.pop() == 2


@entry("descriptors of built-in types: five kinds")
class _:
    def make():
        return [
            str.join,
            dict.__dict__["fromkeys"],
            float.real,
            types.FunctionType.__globals__,
            int.__add__,
            (1).__add__,
        ]

    def check(back):
        assert back[:5] == [
            str.join,
            dict.__dict__["fromkeys"],
            float.real,
            types.FunctionType.__globals__,
            int.__add__,
        ]
        assert back[5](2) == 3


@entry("super")
class _:
    def make():
        class A:
            def f(self):
                return "A"

        class B(A):
            def f(self):
                return "B" + super().f()

            def up(self):
                return super()

        b = B()
        return [b, b.up(), super(B, B)]

    def check(back):
        assert back[0].f() == "BA" and back[1].f() == "A" and back[1].__self__ is back[0] and back[2].f(0) == "A"


@entry("partial, chained, in itself, partialmethod, singledispatch, wraps, reduce, cmp_to_key")
class _:
    def make():
        def f(*a, **k):
            return a, k

        chain = functools.partial(functools.partial(f, 1, a=2), 3, b=4)
        chain.note = chain

        class C:
            g = functools.partialmethod(f, 5)

        @functools.singledispatch
        def kind(x):
            return "any"

        kind.register(int, lambda x: "int")

        @functools.wraps(f)
        def wrapped(x):
            return x

        return [chain, C(), kind, wrapped, functools.cmp_to_key(lambda a, b: a - b)]

    def check(back):
        assert back[0]() == ((1, 3), {"a": 2, "b": 4}) and back[0].note is back[0]
        assert back[1].g()[0] == (back[1], 5) and back[2](1) == "int" and back[2]("") == "any"
        assert back[3].__wrapped__(1) == ((1,), {}) and sorted([2, 1], key=back[4]) == [1, 2]


@entry("lru_cache wrappers, cached_property")
class _:
    def make():
        @functools.lru_cache(maxsize=3, typed=True)
        def f(x):
            return x if x < 2 else f(x - 1) + f(x - 2)

        class C:
            @functools.cached_property
            def p(self):
                return [1]

        return f, C(), functools.cache(even)

    def check(back):
        assert back[0](10) == 55 and back[0].cache_parameters() == {"maxsize": 3, "typed": True}
        assert back[1].p is back[1].p and back[2](4)


@entry("operator objects")
class _:
    def make():
        return [
            operator.itemgetter(1, 0),
            operator.attrgetter("a.b"),
            operator.methodcaller("get", "x", default=1),
            operator.add,
        ]

    def check(back):
        assert back[0]("ab") == ("b", "a") and back[3](1, 2) == 3


@entry("a function made by exec, without a module")
class _:
    def make():
        space = {"base": 10}
        exec("def f(x): return base + x", space)
        return space["f"]

    def check(back):
        assert back(1) == 11


@entry("a decorated class with a cell of itself (__class__)")
class _:
    def make():
        class C:
            def who(self):
                return __class__

        return C

    def check(back):
        assert back().who() is back


# --- classes ------------------------------------------------------------------------------------------------------------


@entry("class: attributes, doc, nested, in itself, annotations")
class _:
    def make():
        class C:
            "doc"

            x: int = LIMIT

            class Inner:
                def outer(self):
                    return C

        C.me = C
        C.instance = C()
        return [C, C, C()]

    def check(back):
        cls = back[0]
        assert cls is back[1] is type(back[2]) is cls.me and cls.__doc__ == "doc" and cls.x == 7
        assert cls.Inner().outer() is cls and type(cls.instance) is cls and cls.__annotations__ == {"x": "int"}


@entry("a class that arrives twice is one class")
class _:
    def make():
        class Once:
            pass

        first, second = ep.dumps(Once()), ep.dumps([Once, Once()])
        return [first, second]

    def check(back):
        one, many = ep.loads(back[0]), ep.loads(back[1])
        assert type(one) is many[0] is type(many[1])


@entry("__slots__: with and without dict, inherited, mangled, unset")
class _:
    def make():
        class Base:
            __slots__ = ("a", "__private", "__weakref__")

        class Sub(Base):
            __slots__ = ("b", "c")

        class Open(Sub):
            pass

        sub, open_ = Sub(), Open()
        sub.a, sub.b, sub._Base__private = 1, [sub], "p"
        open_.a, open_.other = 2, 3
        return sub, open_

    def check(back):
        sub, open_ = back
        assert sub.a == 1 and sub.b[0] is sub and sub._Base__private == "p" and not hasattr(sub, "c")
        assert not hasattr(sub, "__dict__") and (open_.a, open_.other) == (2, 3) and weakref.ref(sub)() is sub


@entry("metaclasses: methods, __call__, __prepare__, attributes")
class _:
    def make():
        class Meta(type):
            def __prepare__(name, bases, **kw):
                return collections.OrderedDict()

            def __call__(cls, *args):
                made = super().__call__()
                made.args = args
                return made

            def ask(cls):
                return cls.x

        class C(metaclass=Meta):
            x = 5

        return C, C(1)

    def check(back):
        assert back[0].ask() == 5 and back[0](2).args == (2,) and back[1].args == (1,) and type(back[1]) is back[0]


@entry("a metaclass and an __init_subclass__ that want keywords")
class _:
    def make():
        class Meta(type):
            def __new__(mcs, name, bases, space, *, size):
                cls = super().__new__(mcs, name, bases, space)
                cls.size = size
                return cls

            def __init__(cls, name, bases, space, *, size):
                super().__init__(name, bases, space)

        class C(metaclass=Meta, size=3):
            pass

        class Base:
            known = []  # noqa: RUF012

            def __init_subclass__(cls, *, tag, **more):
                super().__init_subclass__(**more)
                cls.tag = tag
                Base.known.append(cls)

        class Sub(Base, tag="t"):
            def up(self):
                return super().__init__

        return C, Sub

    def check(back):
        assert back[0].size == 3 and type(back[0]).__name__ == "Meta" and back[1].tag == "t"
        assert back[1].__mro__[1].known == [back[1]] and isinstance(back[1](), back[1].__bases__[0])


@entry("abstract base classes and what was registered with them")
class _:
    def make():
        class Shape(abc.ABC):
            @abc.abstractmethod
            def area(self): ...

            @property
            @abc.abstractmethod
            def name(self): ...

        @Shape.register
        class Round:
            pass

        class Square(Shape):
            name = "square"

            def area(self):
                return 1

        return Shape, Round, Square

    def check(back):
        shape, round_, square = back
        assert (
            isinstance(round_(), shape)
            and isinstance(square(), shape)
            and shape.__abstractmethods__ == {"area", "name"}
        )
        try:
            raise AssertionError(shape())
        except TypeError:
            pass


@entry("abstract classes of collections.abc by inheritance")
class _:
    def make():
        class Words(collections.abc.Mapping):
            def __getitem__(self, key):
                return key * 2

            def __iter__(self):
                return iter("ab")

            def __len__(self):
                return 2

        return Words()

    def check(back):
        assert dict(back) == {"a": "aa", "b": "bb"} and isinstance(back, collections.abc.Mapping)


@entry("generic classes, __orig_bases__, and what they are subscripted with")
class _:
    def make():
        class Box(typing.Generic[T]):
            def get(self) -> T: ...

        class Ints(Box[int]):
            pass

        return Box, Box[int], Ints, Box[int](), Box[T]

    def check(back):
        box, of_int, ints, instance, of_t = back
        assert (
            box[int] == of_int and ints.__orig_bases__ == (of_int,) and type(instance) is box and issubclass(ints, box)
        )
        assert instance.__orig_class__ == of_int and of_t.__args__ == box.__parameters__


@entry("TypeVar, ParamSpec, TypeVarTuple, NewType")
class _:
    def make():
        def twice(x: T) -> T: ...

        return T, P, Ts, UserId, typing.Callable[P, T], ep.dumps([T, P, Ts, UserId])

    def check(back):
        t, p, ts, user, call, again = back
        assert t.__bound__ is int and t.__name__ == "T" and p.__name__ == "P" and ts.__name__ == "Ts" and user(3) == 3
        assert call.__args__ == (p, t) and user.__supertype__ is int and user.__module__ == "__main__"
        for one, other in zip((t, p, ts, user), ep.loads(again), strict=True):
            assert one is other


@entry("typing constructs")
class _:
    def make():
        Td = typing.TypedDict("Td", {"a": int}, total=False)
        Nt = typing.NamedTuple("Nt", [("x", int)])

        class Proto(typing.Protocol):
            def run(self) -> int: ...

        @typing.runtime_checkable
        class Checkable(typing.Protocol):
            def run(self) -> int: ...

        class Runs:
            def run(self):
                return 1

        return [
            typing.List[int], list[int], typing.Optional[str], int | None, typing.Callable[[int], str], typing.Any, typing.Literal[1, "a"],
            typing.Annotated[int, "meta"], typing.ClassVar[int], typing.Union[int, str], typing.Tuple[int, ...], typing.Type[int],
            typing.Concatenate[int, P], typing.Unpack[Ts], typing.ForwardRef("X"), Td, Nt, Nt(1), Proto, Checkable, Runs(), typing.Self,
        ]  # fmt: skip

    def check(back):
        assert back[:12] == [
            typing.List[int], list[int], typing.Optional[str], int | None, typing.Callable[[int], str], typing.Any, typing.Literal[1, "a"],
            typing.Annotated[int, "meta"], typing.ClassVar[int], typing.Union[int, str], typing.Tuple[int, ...], typing.Type[int],
        ]  # fmt: skip
        assert back[14] == typing.ForwardRef("X") and back[15](a=1) == {"a": 1} and not back[15].__total__
        assert back[15].__optional_keys__ == {"a"} and type(back[17]) is back[16] and back[17].x == 1
        assert isinstance(back[20], back[19]) and back[18]._is_protocol and back[21] is typing.Self


@entry("enums: plain, with methods and __init__, aliases, flags, of str, auto, functional, empty base")
class _:
    def make():
        class Base(enum.Enum):
            def hello(self):
                return self.name.lower()

        class Color(Base):
            RED = 1
            GREEN = "g"
            ALIAS = 1

        class Planet(enum.Enum):
            EARTH = (1, 2)

            def __init__(self, a, b):
                self.sum = a + b

        class Bits(enum.Flag):
            A = enum.auto()
            B = enum.auto()

        class Text(str, enum.Enum):
            X = "x"

        class Level(enum.IntEnum):
            LOW = 3

        return [
            Color,
            Color.RED,
            Planet.EARTH,
            Bits.A | Bits.B,
            Bits,
            Text.X,
            Level.LOW,
            enum.Enum("Made", "p q"),
            Base,
        ]

    def check(back):
        color, red, earth, both, bits, text, low, made, base = back
        assert color.RED is red is color.ALIAS is color(1) and color.GREEN.hello() == "green" and earth.sum == 3
        assert both == bits.A | bits.B and both.value == 3 and text == "x" and text.upper() == "X" and low < 4
        assert made.p.value == 1 and list(color) == [red, color.GREEN] and issubclass(color, base)


@entry("dataclasses: fields, factories, frozen, slots, KW_ONLY, and the four sentinels")
class _:
    def make():
        @dataclasses.dataclass
        class D:
            x: int
            y: list = dataclasses.field(default_factory=list, metadata={"m": 1})
            _: dataclasses.KW_ONLY
            z: int = 3

        @dataclasses.dataclass(frozen=True, slots=True, order=True)
        class F:
            a: int

        sentinels = [dataclasses.MISSING, dataclasses.KW_ONLY, dataclasses._HAS_DEFAULT_FACTORY, dataclasses._FIELD]
        return [D, D(1), F, F(2), dataclasses.fields(D)[1], *sentinels, dataclasses.InitVar[int]]

    def check(back):
        d, one, f, two, field, missing, kw, has, kind, init = back
        assert one == d(1) and one.y == [] and repr(one).endswith("D(x=1, y=[], z=3)") and f(1) < two and hash(two)
        assert field.metadata["m"] == 1 and missing is dataclasses.MISSING and kw is dataclasses.KW_ONLY
        assert has is dataclasses._HAS_DEFAULT_FACTORY and kind is dataclasses._FIELD and init.type is int
        try:
            two.a = 1
        except dataclasses.FrozenInstanceError:
            pass
        else:
            raise AssertionError


@entry("namedtuples: both ways, with methods and defaults")
class _:
    def make():
        Point = collections.namedtuple("Point", "x y", defaults=[5])

        class Named(typing.NamedTuple):
            a: int
            b: str = "b"

            def both(self):
                return self.a, self.b

        class Sub(Point):
            __slots__ = ()

            def total(self):
                return self.x + self.y

        return Point(1), Named(2), Sub(1, 2)

    def check(back):
        assert (
            back[0] == (1, 5) and back[0]._fields == ("x", "y") and back[1].both() == (2, "b") and back[2].total() == 3
        )


@entry("descriptors of one's own, __set_name__, __getattr__, __init_subclass__, operators")
class _:
    def make():
        class Field:
            def __set_name__(self, owner, name):
                self.name = name

            def __get__(self, obj, owner=None):
                return (self.name, obj)

        class C:
            f = Field()

            def __getattr__(self, name):
                return name

            def __add__(self, other):
                return "sum"

        return C()

    def check(back):
        assert back.f == ("f", back) and back.anything == "anything" and back + 1 == "sum"


@entry("exceptions and exception groups of one's own")
class _:
    def make():
        class Bad(ValueError):
            def __init__(self, code, *, note=None):
                super().__init__(code)
                self.note = note

        bad = Bad(3, note="n")
        bad.add_note("added")
        return bad, ExceptionGroup("many", [bad, KeyError("k")]), Bad

    def check(back):
        assert back[0].args == (3,) and back[0].note == "n" and back[0].__notes__ == ["added"]
        assert back[1].exceptions[0] is back[0] and isinstance(back[0], back[2])


@entry("types without names: NoneType, function, generator, mappingproxy, ...")
class _:
    def make():
        return [type(None), type(...), type(NotImplemented), types.FunctionType, types.GeneratorType, types.MappingProxyType,
                type(type.__dict__), types.CellType, type({}.keys()), types.CodeType, type(iter([]))]  # fmt: skip

    def check(back):
        assert back == [type(None), type(...), type(NotImplemented), types.FunctionType, types.GeneratorType, types.MappingProxyType,
                        type(type.__dict__), types.CellType, type({}.keys()), types.CodeType, type(iter([]))]  # fmt: skip


@entry("a class made with type()")
class _:
    def make():
        return type("Made", (int,), {"twice": lambda self: self * 2})(4)

    def check(back):
        assert back.twice() == 8 and type(back).__name__ == "Made"


PART = pathlib.Path(__file__).with_name("table_more.py")
exec(compile(PART.read_text(), str(PART), "exec"))  # a part of this program, not a module

# --- the three programs -------------------------------------------------------------------------------------------------------------------------


def attempt(results, stage, name, step):
    try:
        return step()
    except Exception:
        results.setdefault(name, []).append(f"{stage}:\n{traceback.format_exc()}")
    return None


def dump(results):
    for number, (name, item) in enumerate(ENTRIES.items()):
        options = getattr(item, "options", {})
        made = attempt(results, "make", name, item.make)
        data = attempt(results, "dump", name, lambda: ep.dumps(made, **options))  # noqa: B023
        if data is None:
            continue
        if attempt(results, "dump again", name, lambda: ep.dumps(made, **options)) != data:  # noqa: B023
            results.setdefault(name, []).append("the same object gave other bytes")
        sent = FOLDER / f"{number}.sent"
        if sent.exists() and sent.read_bytes() != data:
            results.setdefault(name, []).append("another process, with another hash seed, gave other bytes")
        sent.write_bytes(data)
        for loads in (ep.loads, pickle.loads):
            attempt(results, f"copy by {loads.__module__}", name, lambda: item.check(loads(data)))  # noqa: B023


def load(results):
    for number, (name, item) in enumerate(ENTRIES.items()):
        if not (FOLDER / f"{number}.sent").exists():
            continue
        data = (FOLDER / f"{number}.sent").read_bytes()
        back = attempt(results, "elsewhere: load", name, lambda: ep.loads(data))  # noqa: B023
        attempt(results, "elsewhere: check", name, lambda: item.check(back))  # noqa: B023
        if getattr(item, "once", False):
            back = ep.loads(data)
        options = getattr(item, "options", {})
        home = attempt(results, "elsewhere: dump", name, lambda: ep.dumps(back, **options))  # noqa: B023
        (FOLDER / f"{number}.home").write_bytes(home or b"N.")


def home(results):
    for number, (name, item) in enumerate(ENTRIES.items()):
        if (FOLDER / f"{number}.home").exists():
            data = (FOLDER / f"{number}.home").read_bytes()
            attempt(results, "at home", name, lambda: item.check(ep.loads(data)))  # noqa: B023


if __name__ == "__main__":
    results: dict[str, list[str]] = {}
    program = sys.argv[1]
    if program == "load":
        import table_entries

        sys.modules["__main__"] = types.ModuleType("__main__")
        table_entries.load(results)
    else:
        {"dump": dump, "home": home}[program](results)
    (FOLDER / f"{program}.json").write_text(json.dumps(results))
