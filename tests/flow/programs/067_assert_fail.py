"""Failing `assert` on a result with a message built from the result."""

import time

FUNCTIONAL = ["f"]
ARGS = ([],)
CALLS, IDEAL = 4, 1
EXPECT_EXC = "AssertionError"


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main(log):
    for x in range(10):
        v = f(x)
        assert v < 10, "too big: %d" % v
        log.append(v)
    return log
