"""A functional that calls another functional inside."""

import time

FUNCTIONAL = ["f", "twice"]
ARGS = (6,)
CALLS, IDEAL = 18, 3


def f(x):
    time.sleep(0.02)
    return x + 1


def twice(x):
    time.sleep(0.02)
    return f(f(x))


def main(n):
    return [twice(x) for x in range(n)]
