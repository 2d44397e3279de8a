"""Lookup with a result as key fails in the right order and can be handled."""

import time

FUNCTIONAL = ["f"]
ARGS = ((0, 1, 2, 3),)
CALLS, IDEAL = 5, 1
EXPECT_EXC = "KeyError"


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main(xs):
    d = {1: "a", 2: "b", 5: "c"}
    got = []
    for x in xs:
        try:
            got.append(d[f(x)])
        except KeyError as e:
            got.append(e.args[0])
    got.append(d[f(10)])
    return got
