"""Scheduled recursion: merge sort with functional leaves and merges."""

import time

SCHEDULED = ["main", "msort"]
FUNCTIONAL = ["leaf", "merge"]
ARGS = ([(i * 37) % 32 for i in range(32)],)
CALLS, IDEAL = 15, 4


def leaf(xs):
    time.sleep(0.02)
    return sorted(xs)


def merge(a, b):
    time.sleep(0.02)
    out = []
    a, b = list(a), list(b)
    while a and b:
        out.append(a.pop(0) if a[0] <= b[0] else b.pop(0))
    return out + a + b


def msort(xs):
    if len(xs) <= 4:
        return leaf(xs)
    m = len(xs) // 2
    left = msort(xs[:m])
    right = msort(xs[m:])
    return merge(left, right)


def main(xs):
    return msort(xs)
