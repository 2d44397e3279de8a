"""`raise X from e` inside a handler for a functional's error."""

import time

FUNCTIONAL = ["f"]
ARGS = ([],)
CALLS, IDEAL = 1, 1
EXPECT_EXC = "RuntimeError"


def f(x):
    time.sleep(0.02)
    if x < 0:
        raise ValueError("neg %d" % x)
    return x * x + 1


def main(log):
    try:
        v = f(-9)
    except ValueError as e:
        log.append("handled")
        raise RuntimeError("wrapped " + str(e)) from e
    return v
