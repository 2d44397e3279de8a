"""Attribute writes on a local object, then reads that feed further calls."""

import time
from types import SimpleNamespace

FUNCTIONAL = ["f", "g"]
ARGS = (4,)
CALLS, IDEAL = 4, 3


def f(x):
    time.sleep(0.02)
    return x * x + 1


def g(a, b):
    time.sleep(0.02)
    return a * 2 + b


def main(x):
    o = SimpleNamespace()
    o.a = f(x)
    o.b = f(x + 1)
    o.c = g(o.a, o.b)
    o.a = -1
    o.d = g(o.c, o.a)
    return o
