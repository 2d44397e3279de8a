"""sort by key of results and take the first k for a second stage."""

import time

FUNCTIONAL = ["score", "refine"]
ARGS = (12, 3)
CALLS, IDEAL = 15, 2


def score(i):
    time.sleep(0.02)
    return (i * 37) % 11


def refine(i):
    time.sleep(0.02)
    return i + 0.5


def main(n, k):
    scored = []
    for i in range(n):
        scored.append((score(i), i))
    scored.sort(reverse=True)
    return [refine(i) for s, i in scored[:k]]
