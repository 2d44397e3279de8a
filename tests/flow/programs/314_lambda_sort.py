"""Sort by a lambda over results, then calls in that order."""

import time

FUNCTIONAL = ["f", "g"]
ARGS = ()
CALLS, IDEAL = 14, 2


def f(x):
    time.sleep(0.02)
    return x * x + 1


def g(x):
    time.sleep(0.02)
    return -x


def main():
    items = [(f((i * 5) % 7), i) for i in range(7)]
    items.sort(key=lambda t: t[0])
    return [g(i) for _, i in items]
