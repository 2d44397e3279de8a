"""Variable bound only if a result allows it; reading it raises."""

import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL = 2, 1
EXPECT_EXC = "UnboundLocalError"


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main():
    if f(1) > 0:
        x = 1
    if f(2) > 100:
        y = 2
    return x, y
