"""Mutates pickles and loads them: nothing may happen but an exception.

    python tests/fuzz/fuzz_unpickler.py [--seconds 60] [--seed 1]

Run it on a build with AddressSanitizer (scripts/sanitized.sh) to see reads and writes outside of memory. What a
stream may call is an allow-list of harmless functions, because calling anything at all is what pickle does.
"""

from __future__ import annotations

import argparse
import collections
import io
import pickle
import random
import sys
import time

import ergon.pickle as ep

ALLOWED = frozenset(
    {
        "builtins.list",
        "builtins.dict",
        "builtins.set",
        "builtins.frozenset",
        "builtins.complex",
        "builtins.object",
        "builtins.getattr",
        "collections.OrderedDict",
        "collections.deque",
        "copyreg.__newobj__",
        "copyreg._reconstructor",
        "ergon._core._pk_cell",
        "ergon._core._pk_cell_set",
        "ergon._core._pk_class",
        "ergon._core._pk_class_set",
        "ergon._core._pk_enum",
        "ergon._core._pk_function",
        "ergon._core._pk_bytes",
        "ergon._core._pk_typevar",
        f"{__name__}.Plain",
        f"{__name__}.Slots",
        f"{__name__}.Stateful",
    }
)


class Plain:
    def __init__(self, **values):
        self.__dict__.update(values)


class Slots:
    __slots__ = ("a", "b")


class Stateful(list):
    def __setstate__(self, state):
        self.state = state


def corpus() -> list[bytes]:
    slots, stateful, loop = Slots(), Stateful([1, 2]), [1]
    slots.a = (1, 2, 3, 4)
    stateful.more = {"x": 1}
    loop.append((loop, {"loop": loop}))

    class Local:
        x = 1

    values = [
        None, True, 1, -(2**70), 1.5, "é" * 300, b"x" * 300, bytearray(b"abc"), [1, [2, [3]]], (1, 2, 3, 4), {"a": {"b": 1}},
        {1, "a"}, frozenset({1, 2}), Plain(a=1, b=[1, 2], c="z"), [Plain(a=i, b=str(i)) for i in range(5)], slots, stateful, loop,
        collections.OrderedDict(a=1, b=2), collections.deque([1, 2], 5), complex(1, 2), Local, list(range(300)),
        {str(i): i for i in range(300)},
    ]  # fmt: skip
    made = []
    for value in values:
        made.append(ep.dumps(value))
        for protocol in range(6):
            try:
                made.append(pickle.dumps(value, protocol))
            except (pickle.PicklingError, AttributeError, TypeError):
                pass
    buffers: list[pickle.PickleBuffer] = []
    made.append(
        ep.dumps([pickle.PickleBuffer(b"abc"), pickle.PickleBuffer(bytearray(9))], buffer_callback=buffers.append)
    )
    made += [b"(lp0\nI1\naF1.5\naS'x'\naVy\na.", b"(icollections\nOrderedDict\n.", b"(cbuiltins\nlist\no.", b"P1\n."]
    return made


OPCODES = bytes(ord(op.code) for op in __import__("pickletools").opcodes)


def mutate(rng: random.Random, seeds: list[bytes]) -> bytes:
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 3, 5, 10))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(7)
        if kind == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind == 1 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data[at:at] = bytes((rng.choice(OPCODES),))
        elif kind == 3 and at < len(data):
            data[at] = rng.choice(OPCODES)
        elif kind == 4:
            del data[at : at + rng.randrange(8)]
        elif kind == 5:
            other = rng.choice(seeds)
            start = rng.randrange(len(other) + 1)
            data[at:at] = other[start : start + rng.randrange(40)]
        else:
            start = rng.randrange(len(data) + 1)
            data[at:at] = data[start : start + rng.randrange(20)]
        if not data:
            data = bytearray(b".")
    return bytes(data)


class Reader(io.BytesIO):
    """A file that cannot seek and hands out little at a time."""

    def seekable(self):
        return False


def one(data: bytes, rng: random.Random) -> bool:
    buffers = [bytearray(b"12345"), b"678"]
    try:
        if rng.random() < 0.8:
            made = ep.loads(data, restrict=ALLOWED, buffers=buffers)
        else:
            file = Reader(data) if rng.random() < 0.5 else io.BytesIO(data)
            made = ep.load(file, restrict=ALLOWED, buffers=buffers)
        ep.dumps(made)
    except Exception:  # noqa: BLE001  any exception will do; a crash is what is looked for
        return False
    return True


def run(seconds: float, seed: int) -> tuple[int, int]:
    rng, seeds = random.Random(seed), corpus()
    until, count, loaded = time.monotonic() + seconds, 0, 0
    while time.monotonic() < until:
        for _ in range(200):
            count += 1
            loaded += one(mutate(rng, seeds), rng)
    return count, loaded


if __name__ == "__main__":
    sys.modules["fuzz_unpickler"] = sys.modules["__main__"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print("%d streams, %d of them loaded" % run(options.seconds, options.seed))
