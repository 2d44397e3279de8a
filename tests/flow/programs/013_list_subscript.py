"""`out[i] = f(i)` into a preallocated list, last write wins."""

import time

FUNCTIONAL = ["f"]
ARGS = (12,)
CALLS, IDEAL = 12, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main(n):
    out = [None] * 10
    for i in range(n):
        out[i % 10] = f(i)
    return out
