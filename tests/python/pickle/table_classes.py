"""The second part of table_entries.py, which runs it as if it stood there: classes, and what makes them."""
# ruff: noqa: F821, E402

from __future__ import annotations

import abc
import collections
import dataclasses
import enum
import types
import typing
import weakref

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
