"""A scheduled function calls another scheduled one; the inner one mutates the shared list."""

import time

SCHEDULED = ["main", "fill"]
FUNCTIONAL = ["f"]
ARGS = (4,)
CALLS, IDEAL = 8, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


def fill(out, n, k):
    for x in range(n):
        out.append(f(x * k))
    return len(out)


def main(n):
    out = []
    a = fill(out, n, 1)
    b = fill(out, n, 2)
    return out, a, b
