"""itertools over results: accumulate, chain, groupby, product."""

import itertools
import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL = 8, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main():
    a = [f(i) for i in range(5)]
    b = [f(x) for x in itertools.chain([7], [8, 9])]
    acc = list(itertools.accumulate(a))
    pairs = [(x, y) for x, y in itertools.product(a[:2], b[:2])]
    g = {k: list(v) for k, v in itertools.groupby(a, key=lambda x: x % 2)}
    return acc, pairs, g
