"""List inside a list passed to a functional: pending contents resolved, later mutation unseen."""

import time

FUNCTIONAL = ["f", "total"]
ARGS = ()
CALLS, IDEAL = 4, 2


def f(x):
    time.sleep(0.02)
    return x * x + 1


def total(nested):
    time.sleep(0.02)
    return sum(v for row in nested for v in row)


def main():
    inner = [f(1)]
    outer = [inner, [f(2)]]
    r1 = total(outer)
    inner.append(1000)
    outer.append([5])
    r2 = total(outer)
    return r1, r2, outer
