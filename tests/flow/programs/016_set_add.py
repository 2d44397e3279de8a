"""`s.add(f(x))`, then membership and length."""

import time

FUNCTIONAL = ["f"]
ARGS = (10,)
CALLS, IDEAL = 10, 1


def f(x):
    time.sleep(0.02)
    return x % 4


def main(n):
    s = set()
    for x in range(n):
        s.add(f(x))
    return sorted(s), len(s), 3 in s
