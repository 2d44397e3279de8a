"""Comprehension of comprehensions, calls of calls."""

import time

FUNCTIONAL = ["f", "g"]
ARGS = (4,)
CALLS, IDEAL = 20, 2


def f(x, y):
    time.sleep(0.02)
    return x + y


def g(v):
    time.sleep(0.02)
    return sum(v)


def main(n):
    return [g([f(x, y) for y in range(n)]) for x in range(n)]
