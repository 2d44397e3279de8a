"""Pairs of generators zipped together."""

import time

FUNCTIONAL = ["f", "g"]
ARGS = ()
CALLS, IDEAL = 10, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


def g(x):
    time.sleep(0.02)
    return x + 2


def main():
    a = (f(i) for i in range(5))
    b = (g(i) for i in range(5))
    return [x * y for x, y in zip(a, b)]
