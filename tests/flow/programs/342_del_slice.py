"""del of items and slices, insert, reverse on lists of results."""

import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL = 10, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main():
    xs = [f(i) for i in range(6)]
    del xs[1]
    xs[1:3] = [f(10), f(11), f(12)]
    xs.insert(0, f(13))
    xs.reverse()
    return xs
