"""The later call fails first in time; the earlier statement's exception must surface."""

import time

FUNCTIONAL = ["slow_fail", "fast_fail"]
ARGS = ()
SLEEP = 0.06
CALLS, IDEAL = 1, 1
EXPECT_EXC = "KeyError"


def slow_fail(x):
    time.sleep(0.06)
    raise KeyError(x)


def fast_fail(x):
    time.sleep(0.005)
    raise IndexError(x)


def main():
    a = slow_fail(1)
    b = fast_fail(2)
    return a, b
