"""Comprehension filtered by results: order kept, calls overlap."""

import time

FUNCTIONAL = ["f", "g"]
ARGS = (10,)
CALLS, IDEAL = 15, 2


def f(x):
    time.sleep(0.02)
    return x % 2 == 0


def g(x):
    time.sleep(0.02)
    return x * 10


def main(n):
    return [g(x) for x in range(n) if f(x)]
