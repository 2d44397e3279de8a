"""A global counter incremented in the loop."""

import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL = 7, 1
GLOBALS = ["count"]


def f(x):
    time.sleep(0.02)
    return x * x + 1


count = 0


def main():
    global count
    out = []
    for i in range(7):
        count += 1
        out.append((count, f(i)))
    return out
