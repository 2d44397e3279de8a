"""Walrus in a while condition and in a comprehension filter."""

import time

FUNCTIONAL = ["f", "dbl"]
ARGS = (6,)
CALLS, IDEAL = 13, 7


def f(x):
    time.sleep(0.02)
    return x * x + 1


def dbl(x):
    time.sleep(0.02)
    return x * 2


def main(n):
    v, steps = 1, 0
    while (v := dbl(v)) < 100:
        steps += 1
    ys = [y for x in range(n) if (y := f(x)) > 5]
    return v, steps, ys, y
