"""`o.total += f(x)` on a local object."""

import time
from types import SimpleNamespace

FUNCTIONAL = ["f"]
ARGS = (10,)
CALLS, IDEAL = 10, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main(n):
    o = SimpleNamespace(total=0, n=0)
    for x in range(n):
        o.total += f(x)
        o.n += 1
    return o
