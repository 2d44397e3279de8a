"""Local helper functions called with results; two independent halves."""

import time

FUNCTIONAL = ["f"]
ARGS = (5,)
CALLS, IDEAL = 20, 2


def f(i):
    time.sleep(0.02)
    return i + 1


def main(n):
    def twice(i):
        return f(f(i))

    def both(i):
        a = twice(i)
        b = twice(-i)
        return a, b

    return [both(i) for i in range(n)]
