"""`0 < f(x) < g(x)`: middle evaluated once, right side only if the left part holds."""

import time

FUNCTIONAL = ["f", "g"]
ARGS = (6,)
CALLS, IDEAL = 10, 2


def f(x):
    time.sleep(0.02)
    return x - 2


def g(x):
    time.sleep(0.02)
    return (x * 3) % 5


def main(n):
    return [0 <= f(x) < g(x) < 100 for x in range(n)]
