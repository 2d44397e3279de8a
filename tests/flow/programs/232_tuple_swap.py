"""Pairs swapped and unpacked; multiple assignment; starred."""

import time

FUNCTIONAL = ["two", "f"]
ARGS = (6,)
CALLS, IDEAL = 12, 2


def two(i):
    time.sleep(0.02)
    return i, i + 1, i + 2


def f(x):
    time.sleep(0.02)
    return x


def main(n):
    out = []
    for i in range(n):
        a, *b = two(i)
        a, b = b, a
        out.append((f(b), a))
    return out
