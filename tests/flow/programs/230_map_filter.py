"""map with a functional, filter with a lambda calling one, functools.reduce."""

import functools
import time

FUNCTIONAL = ["f", "keep"]
ARGS = (8,)
CALLS, IDEAL = 16, 2


def f(i):
    time.sleep(0.02)
    return i + 1


def keep(i):
    time.sleep(0.02)
    return i % 2 == 0


def main(n):
    values = list(map(f, range(n)))
    even = list(filter(lambda v: keep(v), values))
    return even, functools.reduce(lambda a, b: a + b, even, 0)
