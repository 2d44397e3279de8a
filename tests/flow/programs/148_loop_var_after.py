"""Loop variables and last values after the loop; empty loop leaves old value."""

import time

FUNCTIONAL = ["f"]
ARGS = (5,)
CALLS, IDEAL = 5, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main(n):
    x = v = "unset"
    for x in range(0):
        v = f(x)
    keep = (x, v)
    for x in range(n):
        v = f(x)
    return keep, x, v
