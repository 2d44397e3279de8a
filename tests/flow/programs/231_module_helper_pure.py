"""A plain module-level helper (no effects) applied to results between calls."""

import time

FUNCTIONAL = ["f", "g"]
ARGS = (8,)
CALLS, IDEAL = 16, 2


def scale(v, k):
    return [x * k for x in v]


def f(i):
    time.sleep(0.02)
    return [i, i + 1]


def g(v):
    time.sleep(0.02)
    return sum(v)


def main(n):
    parts = [f(i) for i in range(n)]
    return [g([x * 2 for x in p]) for p in parts]
