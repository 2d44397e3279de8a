"""Second loop uses the first's aggregate."""

import time

FUNCTIONAL = ["f", "g"]
ARGS = ()
CALLS, IDEAL = 12, 2


def f(x):
    time.sleep(0.02)
    return x * x + 1


def g(x, m):
    time.sleep(0.02)
    return x - m


def main():
    xs = [f(i) for i in range(6)]
    m = sum(xs) / len(xs)
    return [round(g(x, m), 3) for x in xs]
