"""continue on a result, then more calls."""

import time

FUNCTIONAL = ["f", "g"]
ARGS = ()
CALLS, IDEAL = 12, 2


def f(x):
    time.sleep(0.02)
    return x * x + 1


def g(x):
    time.sleep(0.02)
    return x


def main():
    out = []
    for i in range(8):
        v = f(i)
        if v % 2:
            continue
        out.append(g(v))
    return out
