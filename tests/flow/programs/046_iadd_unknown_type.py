"""Type of the accumulator only known at run time: int, str, tuple, list, set, bytearray."""

import time

FUNCTIONAL = ["make"]
ARGS = (("int", "str", "tuple", "list", "bytearray"),)
CALLS, IDEAL = 15, 1


def make(kind, n):
    time.sleep(0.02)
    return {"int": n, "str": "s%d" % n, "tuple": (n,), "list": [n], "bytearray": bytearray([n])}[kind]


def main(kinds):
    out = []
    for kind in kinds:
        acc = make(kind, 0)
        alias = acc
        for i in (1, 2):
            acc += make(kind, i)
        out.append((acc, alias, acc is alias))
    return out
