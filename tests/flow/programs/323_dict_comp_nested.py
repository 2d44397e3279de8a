"""Dict of dicts by nested comprehension with a condition."""

import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL = 12, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main():
    return {i: {j: f(i * j) for j in range(4) if j != i} for i in range(4)}
