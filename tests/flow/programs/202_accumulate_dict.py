"""Counting into a dict with get, then second round over items."""

import time

FUNCTIONAL = ["key", "weigh"]
ARGS = (8,)
CALLS, IDEAL = 11, 2


def key(i):
    time.sleep(0.02)
    return "abc"[i % 3]


def weigh(k, n):
    time.sleep(0.02)
    return len(k) * n


def main(n):
    counts = {}
    for i in range(n):
        k = key(i)
        counts[k] = counts.get(k, 0) + 1
    return {k: weigh(k, v) for k, v in sorted(counts.items())}
