"""A list of 15 pending values handed to one functional."""

import time

FUNCTIONAL = ["f", "total"]
ARGS = (15,)
CALLS, IDEAL = 16, 2


def f(x):
    time.sleep(0.02)
    return x * x + 1


def total(xs):
    time.sleep(0.02)
    return sum(xs), len(xs)


def main(n):
    parts = []
    for x in range(n):
        parts.append(f(x))
    return total(parts)
