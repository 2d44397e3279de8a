"""Run as __main__ by test_by_value.py: everything here must travel by value, there and back."""

import abc
import collections
import dataclasses
import enum
import functools
import os.path
import pathlib
import subprocess
import sys
import typing

import ergon.pickle as ep

CONST = {"k": [1, 2]}


class Meta(type):
    def __call__(cls, *args):
        made = super().__call__(*args)
        made.by_meta = True
        return made


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...


@Shape.register
class Registered:
    pass


class Square(Shape):
    __slots__ = ("side",)

    def __init__(self, side):
        self.side = side

    def area(self):
        return self.side**2

    @property
    def around(self):
        return self.side * 4

    @staticmethod
    def plus(x):
        return x + 1

    @classmethod
    def of(cls, x):
        return cls(x)


class WithMeta(metaclass=Meta):
    "its doc"

    def __init__(self):
        super().__init__()

    def me(self):
        return WithMeta


@dataclasses.dataclass
class Data:
    x: int
    y: list = dataclasses.field(default_factory=list)


class Color(enum.Enum):
    RED = 1
    GREEN = "g"
    ALIAS = 1

    def hello(self):
        return "hi " + self.name


class Planet(enum.Enum):
    EARTH = (1, 2)

    def __init__(self, a, b):
        self.a = a
        self.b = b


class Flags(enum.IntFlag):
    A = 1
    B = 2


Point = collections.namedtuple("Point", "x y")


class Typed(typing.NamedTuple):
    a: int
    b: str = "q"


T = typing.TypeVar("T")


class Box(typing.Generic[T]):
    content: T

    def get(self):
        return CONST


class Lazy:
    @functools.cached_property
    def value(self):
        return 42


@functools.lru_cache(maxsize=7)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


def annotated(a: int, b: "str" = "x", *rest, c: float = 2.5, **more) -> None:
    "doc of annotated"


annotated.tag = [1]


def counter():
    n = 0

    def up():
        nonlocal n
        n += 1
        return n

    return up


def facts():
    assert isinstance(Registered(), Shape)
    assert annotated.__module__ == "__main__" and annotated.__doc__ == "doc of annotated"
    assert annotated.__defaults__ == ("x",) and annotated.__kwdefaults__ == {"c": 2.5}
    assert annotated.__annotations__["b"] == "str" and annotated.tag == [1]
    try:
        Shape()
    except TypeError:
        abstract = True
    return (
        abstract, Square(3).area(), Square.of(2).around, Square.plus(1), WithMeta().me() is WithMeta, WithMeta().by_meta,
        WithMeta.__doc__, Data(1), Data(1) == Data(1), Color.RED.hello(), Color(1), Color.ALIAS is Color.RED, Planet.EARTH.b,
        Flags.A | Flags.B, Point(1, 2), Typed(1), Box().get(), Lazy().value, fib(10), even(10), os.path.join("a", "b"),
    )  # fmt: skip


def everything():
    return {
        "facts": facts, "Square": Square, "WithMeta": WithMeta, "Data": Data, "Color": Color, "Planet": Planet, "Flags": Flags,
        "Point": Point, "Typed": Typed, "Box": Box, "Lazy": Lazy, "fib": fib, "T": T, "data": Data(5, [1]), "red": Color.RED,
        "typed": Typed(4), "point": Point(3, 4), "square": Square(5), "up": counter(),
    }  # fmt: skip


def in_another_process(folder, loads, data):
    (folder / "in").write_bytes(data)
    code = (
        f"import {loads} as p; from ergon.pickle import dumps\n"
        f"got = p.loads(open({str(folder / 'in')!r}, 'rb').read())\n"
        "print(repr(got['facts']()))\n"
        "assert got['up']() == 1 and got['up']() == 2\n"
        f"open({str(folder / 'out')!r}, 'wb').write(dumps(got))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == repr(facts()), done.stdout
    return (folder / "out").read_bytes()


def main(folder):
    first = ep.dumps(everything())
    assert first == ep.dumps(everything())
    (folder / "first").write_bytes(first)
    assert ep.loads(first)["facts"]() == facts()
    for loads in ("pickle", "ergon.pickle"):
        back = ep.loads(in_another_process(folder, loads, first))
        for name in ("Square", "WithMeta", "Data", "Color", "Planet", "Flags", "Point", "Typed", "Box", "Lazy", "T"):
            assert back[name] is globals()[name], name
        assert type(back["data"]) is Data and back["data"] == Data(5, [1])
        assert back["red"] is Color.RED and type(back["typed"]) is Typed and back["square"].side == 5


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
