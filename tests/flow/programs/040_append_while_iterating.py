"""The list grows while it is iterated."""

import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL = 7, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main():
    work = [1]
    out = {}
    for x in work:
        if x < 4:
            work.append(x * 2)
            work.append(x * 2 + 1)
        out[x] = f(x)
    return work, out
