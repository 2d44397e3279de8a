"""Mutates pickles and loads them: nothing may happen but an exception.

    python tests/fuzz/fuzz_unpickler.py [--seconds 60] [--seed 1] [--keep FILE]

`make fuzz-pickle MINUTES=10` runs it on a build with AddressSanitizer, which sees reads and writes outside of memory. Streams
are changed byte by byte, opcode by opcode (arguments to extremes, pieces of other streams, in frames that fit), or made
up from nothing by a walk over opcodes that keeps the stack plausible. What one may call is an allow-list of
harmless functions, because calling anything at all is what pickle does. FILE holds the last stream, for when one
of them ends the process.
"""

from __future__ import annotations

import argparse
import collections
import functools
import io
import mmap
import pickle
import pickletools
import random
import struct
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
        "builtins.bytearray",
        "builtins.slice",
        "builtins.range",
        "array._array_reconstructor",
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
        f"{__name__}.Mapping",
        f"{__name__}.Pair",
        f"{__name__}.Made",
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


class Mapping(dict):
    def __setitem__(self, key, value):
        if key == "pop":
            self.clear()
        super().__setitem__(key, value)


class Pair(tuple):
    __slots__ = ()


class Made:
    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        self.args = args, kwargs
        return self

    def __getnewargs_ex__(self):
        return self.args


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
        Mapping(a=1, pop=[2]), Pair((1, 2)), Made(1, b=[2]), [Pair((i, [i])) for i in range(5)], slice(1, 2), range(5), [bytearray(40)],
        [(1,), (1, 2), (1, 2, 3), ()], "\ud800", [[]] * 5, {(i, str(i)) for i in range(5)}, {"k" * 300: "v" * 70000},
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


OPCODES = bytes(ord(op.code) for op in pickletools.opcodes)
EXTREMES = (0, 1, 2, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)


# --- byte by byte ----------------------------------------------------------------------------------------------


def mutate_bytes(rng: random.Random, seeds: list[bytes]) -> bytes:
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


# --- opcode by opcode --------------------------------------------------------------------------------------------


@functools.cache
def split(data: bytes) -> tuple[bytes, ...]:
    """The opcodes of a stream with their arguments; without FRAME, which would have to fit."""
    found = list(pickletools.genops(data))
    ends = [position for _, _, position in found[1:]] + [len(data)]
    pieces = [(op.name, data[start:end]) for (op, _, start), end in zip(found, ends, strict=True)]
    return tuple(piece for name, piece in pieces if name != "FRAME")


def extreme(rng: random.Random, piece: bytes) -> bytes:
    """The opcode with another argument."""
    width = len(piece) - 1
    if width in (1, 2, 4, 8) and rng.random() < 0.8:
        value = rng.choice(EXTREMES) & ((1 << 8 * width) - 1)
        return piece[:1] + value.to_bytes(width, "little")
    if width > 4 and rng.random() < 0.5:  # a counted string: a length that is not its own
        size = 1 if piece[:1] in b"\x8cUC\x8a" else 4
        value = rng.choice(EXTREMES) & ((1 << 8 * size) - 1)
        return piece[:1] + value.to_bytes(size, "little") + piece[1 + size :]
    return piece[:1] + bytes(rng.randrange(256) for _ in range(width))


def mutate_opcodes(rng: random.Random, seeds: list[bytes]) -> bytes:
    pieces = list(split(rng.choice(seeds)))
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        at, kind = rng.randrange(len(pieces) + 1), rng.randrange(7)
        if kind == 0 and at < len(pieces):
            del pieces[at : at + rng.choice((1, 1, 1, 3))]
        elif kind == 1 and at < len(pieces):
            pieces[at:at] = pieces[at : at + rng.choice((1, 1, 2, 4))] * rng.choice((1, 1, 2, 50))
        elif kind == 2 and pieces:
            other = rng.randrange(len(pieces))
            at = min(at, len(pieces) - 1)
            pieces[at], pieces[other] = pieces[other], pieces[at]
        elif kind == 3:
            other = split(rng.choice(seeds))
            start = rng.randrange(len(other))
            pieces[at:at] = other[start : start + rng.choice((1, 2, 5, 20))]
        elif kind == 4 and at < len(pieces):
            pieces[at] = extreme(rng, pieces[at])
        elif kind == 5:
            pieces.insert(at, rng.choice(SIMPLE))
        elif at < len(pieces):
            pieces[at] = rng.choice(SIMPLE)
    return framed(rng, b"".join(pieces))


def framed(rng: random.Random, data: bytes) -> bytes:
    """Mostly as it is; sometimes with a frame that fits, or does not."""
    if data[:1] != b"\x80" or rng.random() < 0.6:
        return data
    length = len(data) - 2 if rng.random() < 0.7 else rng.choice(EXTREMES)
    return data[:2] + b"\x95" + struct.pack("<Q", length) + data[2:]


# --- from nothing ---------------------------------------------------------------------------------------------------

SIMPLE = (
    b"(", b")", b"]", b"}", b"\x8f", b"N", b"\x88", b"\x89", b"0", b"1", b"2", b"t", b"\x85", b"\x86", b"\x87", b"l", b"d", b"e", b"a",
    b"u", b"s", b"\x90", b"\x91", b"R", b"b", b"\x81", b"\x92", b"\x93", b"\x94", b"o", b"h\0", b"h\1", b"q\1", b"j\2\0\0\0", b"K\1", b"\x97",
    b"\x98", b"\x8c\1a", b"C\1b", b"\x96\1\0\0\0\0\0\0\0x", b"G?\xf0\0\0\0\0\0\0", b"Q", b".", b"\x82\1",
)  # fmt: skip


def named(rng: random.Random) -> bytes:
    module, _, name = rng.choice(sorted(ALLOWED)).rpartition(".")
    if rng.random() < 0.3:
        return f"c{module}\n{name}\n".encode()
    return b"".join(b"\x8c" + bytes((len(word),)) + word.encode() for word in (module, name)) + b"\x93"


def invent(rng: random.Random, seeds: list[bytes]) -> bytes:
    """Mostly what the stack allows: values, calls of what is allowed, items for what is there."""
    made, depth = [bytes((0x80, rng.choice((0, 2, 4, 5))))], 0
    for _ in range(rng.randrange(4, 60)):
        kind = rng.randrange(10)
        if kind < 3 or depth < 2:
            made.append(
                rng.choice((b"K\1", b"\x8c\1a", b"]", b"}", b"\x8f", b")", b"N", b"C\1b", b"h\0", b"h\1", named(rng)))
            )
            depth += 1
        elif kind == 3:
            made.append(
                named(rng)
                + rng.choice((b")", b"K\1\x85", b"]\x85", b"h\0\x85", b"]K\1\x86"))
                + rng.choice((b"R", b"\x81"))
            )
            depth += 1
        elif kind == 4:
            made.append(b"\x94" if rng.random() < 0.7 else b"q" + bytes((rng.randrange(6),)))
        elif kind == 5:
            items = rng.randrange(4)
            made.append(
                b"(" + b"K\1\x8c\1a" * items + rng.choice((b"u", b"e", b"\x90", b"t", b"l", b"d", b"\x91", b"1"))
            )
            depth += 1
        elif kind == 6:
            made.append(rng.choice((b"a", b"b", b"R", b"\x81", b"\x86", b"0")))
            depth -= 1
        elif kind == 7:
            made.append(rng.choice((b"s", b"\x87", b"\x92")))
            depth -= 2
        elif kind == 8:
            made.append(b"}" + named(rng) + b"\x94" + b"b")
        else:
            made.append(rng.choice(SIMPLE))
    return framed(rng, b"".join(made) + b".")


def mutate(rng: random.Random, seeds: list[bytes]) -> bytes:
    chance = rng.random()
    if chance < 0.35:
        return mutate_bytes(rng, seeds)
    return mutate_opcodes(rng, seeds) if chance < 0.75 else invent(rng, seeds)


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


class Kept:
    """The stream being loaded, in a file that survives the process."""

    def __init__(self, path: str | None):
        self.size = 1 << 20
        self.map = None
        if path:
            with open(path, "w+b") as file:
                file.truncate(self.size)
                self.map = mmap.mmap(file.fileno(), self.size)

    def put(self, data: bytes) -> None:
        if self.map is not None and len(data) + 8 <= self.size:
            self.map[: len(data) + 8] = struct.pack("<Q", len(data)) + data


def run(seconds: float, seed: int, keep: str | None = None) -> tuple[int, int]:
    rng, seeds, kept = random.Random(seed), corpus(), Kept(keep)
    until, count, loaded = time.process_time() + seconds, 0, 0
    while time.process_time() < until:
        for _ in range(200):
            count += 1
            data = mutate(rng, seeds)
            kept.put(data)
            loaded += one(data, rng)
    return count, loaded


if __name__ == "__main__":
    sys.modules["fuzz_unpickler"] = sys.modules["__main__"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of processor time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", metavar="FILE")
    options = parser.parse_args()
    print("%d streams, %d of them loaded" % run(options.seconds, options.seed, options.keep))
