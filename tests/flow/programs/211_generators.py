"""Generator functions inside, chained generators, sum over a generator expression."""

import time

FUNCTIONAL = ["f", "g"]
ARGS = (6,)
CALLS, IDEAL = 12, 2


def f(i):
    time.sleep(0.02)
    return i + 1


def g(i):
    time.sleep(0.02)
    return i * 2


def main(n):
    def produce():
        for i in range(n):
            yield f(i)

    def double(src):
        for v in src:
            yield g(v)

    return list(double(produce()))
