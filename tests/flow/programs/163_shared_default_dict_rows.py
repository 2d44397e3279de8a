"""dict of lists filled from two loops, then a functional over each row."""

import time
from collections import defaultdict

FUNCTIONAL = ["f", "total"]
ARGS = (9,)
CALLS, IDEAL = 12, 2


def f(x):
    time.sleep(0.02)
    return x * x + 1


def total(xs):
    time.sleep(0.02)
    return sum(xs)


def main(n):
    rows = defaultdict(list)
    for x in range(n):
        rows[x % 3].append(f(x))
    sums = {}
    for k, row in rows.items():
        sums[k] = total(row)
    return sums
