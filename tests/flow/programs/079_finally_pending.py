"""finally must run after the body's calls are decided, and the error goes on."""

import time

FUNCTIONAL = ["f"]
ARGS = ([],)
CALLS, IDEAL = 2, 1
EXPECT_EXC = "ValueError"


def f(x):
    time.sleep(0.02)
    if x < 0:
        raise ValueError("neg %d" % x)
    return x * x + 1


def main(log):
    try:
        a = f(1)
        b = f(-5)
        log.append((a, b))
    finally:
        log.append("cleanup")
    log.append("not reached")
