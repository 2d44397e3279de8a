"""`g(a, a)`: inside the functional both parameters are the same object."""

import time

FUNCTIONAL = ["same", "f"]
ARGS = ()
CALLS, IDEAL = 4, 2


def f(x):
    time.sleep(0.02)
    return x * x + 1


def same(x, y):
    time.sleep(0.02)
    return x is y, len(x), x == y


def main():
    a = [f(1), 2]
    b = [f(1), 2]
    return same(a, a), same(a, b)
