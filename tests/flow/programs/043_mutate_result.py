"""Mutating an object that is itself still a pending result, between two uses of it."""

import time

FUNCTIONAL = ["make", "total"]
ARGS = (3,)
CALLS, IDEAL = 4, 2


def make(n):
    time.sleep(0.02)
    return list(range(n))


def total(xs):
    time.sleep(0.02)
    return sum(xs), len(xs)


def main(n):
    r = make(n)
    a = total(r)
    r.append(100)
    b = total(r)
    r.append(1000)
    c = total(r)
    return a, b, c, r
