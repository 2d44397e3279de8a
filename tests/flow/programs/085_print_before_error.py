"""Only what sequential Python prints before the error may appear."""

import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL = 2, 1
EXPECT_EXC = "ValueError"


def f(x):
    time.sleep(0.02)
    if x < 0:
        raise ValueError("neg %d" % x)
    return x * x + 1


def main():
    print("start")
    a = f(1)
    print("first", a)
    b = f(-1)
    print("must not appear", b)
