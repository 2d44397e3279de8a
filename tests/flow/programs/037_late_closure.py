"""Lambdas capture the variable, not the value: all see the last i."""

import time

FUNCTIONAL = ["f"]
ARGS = (4,)
CALLS, IDEAL = 8, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main(n):
    late, early = [], []
    for i in range(n):
        late.append(lambda: f(i))
        early.append(lambda i=i: f(i))
    return [fn() for fn in late], [fn() for fn in early]
