"""An undecorated helper mutates a list whose elements are pending; later calls see it."""

import time

FUNCTIONAL = ["f", "total"]
ARGS = ()
CALLS, IDEAL = 6, 3


def f(x):
    time.sleep(0.02)
    return x * x + 1


def total(xs):
    time.sleep(0.02)
    return sum(xs)


def drop_odd(xs):
    xs[:] = [v for v in xs if v % 2 == 0]


def main():
    xs = [f(i) for i in range(4)]
    t1 = total(xs)
    drop_odd(xs)
    t2 = total(xs)
    return t1, t2, xs
