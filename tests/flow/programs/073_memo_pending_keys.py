"""Membership test on results: `if k not in seen` where k is pending."""

import time

FUNCTIONAL = ["key", "f"]
ARGS = (8,)
CALLS, IDEAL = 11, 2


def f(x):
    time.sleep(0.02)
    return x * x + 1


def key(x):
    time.sleep(0.02)
    return x % 3


def main(n):
    seen = {}
    for x in range(n):
        k = key(x)
        if k not in seen:
            seen[k] = f(x)
    return seen
