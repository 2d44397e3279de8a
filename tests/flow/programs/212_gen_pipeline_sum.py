"""sum(f(x) for x in ...), max(..., key=...), any over generator."""

import time

FUNCTIONAL = ["f"]
ARGS = (10,)
CALLS, IDEAL = 20, 2


def f(i):
    time.sleep(0.02)
    return (i * 7) % 10


def main(n):
    total = sum(f(i) for i in range(n))
    best = max(range(n), key=lambda i: f(i))
    return total, best
