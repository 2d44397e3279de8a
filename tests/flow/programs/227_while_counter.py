"""while loop with a known counter and index stores into a list."""

import time

FUNCTIONAL = ["f"]
ARGS = (10,)
CALLS, IDEAL = 10, 1


def f(i):
    time.sleep(0.02)
    return i * 2


def main(n):
    out = [None] * n
    i = 0
    while i < n:
        out[i] = f(i)
        i += 1
    return out
