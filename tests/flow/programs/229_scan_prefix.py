"""Prefix chain plus independent work at each step."""

import time

FUNCTIONAL = ["work", "combine"]
ARGS = (6,)
CALLS, IDEAL = 12, 7


def work(i):
    time.sleep(0.02)
    return i


def combine(a, b):
    time.sleep(0.02)
    return a + b


def main(n):
    acc, out = 0, []
    for i in range(n):
        acc = combine(acc, work(i))
        out.append(acc)
    return out
