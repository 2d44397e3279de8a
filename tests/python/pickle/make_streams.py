"""Writes the streams that test_versions.py loads: make_streams.py FOLDER, with each version of Python.

Once there they stay: what the helpers in them take must not change, so streams that exist still load.
"""

import collections
import dataclasses
import decimal
import enum
import functools
import pathlib
import sys
import typing

import ergon.pickle as ep


class Point(typing.NamedTuple):
    x: int
    y: int


class Color(enum.Enum):
    RED = 1


class Bare:
    limit = 3


T = typing.TypeVar("T")


@dataclasses.dataclass
class Record:
    name: str


def neutral(function):
    """The function without the path it was compiled from: streams in the repository name no machine's folders."""
    function.__code__ = function.__code__.replace(co_filename="make_streams.py")
    return function


@neutral
def add(x, y=Bare.limit):
    return x + y


neutral(Record.__repr__)  # a wrapper of the standard library's, made for this class


def streams():
    loop = [1]
    loop.append(loop)
    yield (
        "plain",
        [
            None,
            True,
            1,
            2**70,
            1.5,
            "é",
            b"b",
            bytearray(b"c"),
            (1,),
            [2],
            {"k": {3}},
            frozenset({4}),
            1 + 2j,
            range(3),
            slice(1, 2),
        ],
    )
    yield "library", [collections.OrderedDict(a=1), collections.deque([1], 3), decimal.Decimal("1.5"), functools.partial(int, base=2), pathlib.PurePosixPath("a/b"), len, type(None), type({}.keys())]  # fmt: skip
    yield "recursive", loop
    yield "class", [Bare, Bare(), Color.RED, T]
    yield "function", {"add": add}
    yield "method", [Record("r")]


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    for name, value in streams():
        (folder / f"python{sys.version_info[0]}.{sys.version_info[1]}-{name}.pickle").write_bytes(ep.dumps(value))
