"""Independent calls, `out = out + [f(x)]`: the Pydron manual's own example."""

import time

FUNCTIONAL = ["f"]
ARGS = (16,)
CALLS, IDEAL = 16, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main(n):
    out = []
    for x in range(n):
        out = out + [f(x)]
    return out
