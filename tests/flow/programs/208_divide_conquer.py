"""Recursive sum by halves, combining by a functional."""

import time

FUNCTIONAL = ["leaf", "merge"]
SCHEDULED = ["main", "solve"]
ARGS = (list(range(16)),)
CALLS, IDEAL = 15, 4


def leaf(v):
    time.sleep(0.02)
    return sum(v)


def merge(a, b):
    time.sleep(0.02)
    return a + b


def solve(v):
    if len(v) <= 2:
        return leaf(v)
    h = len(v) // 2
    left, right = solve(v[:h]), solve(v[h:])
    return merge(left, right)


def main(v):
    return solve(v)
