"""Pure chain: no parallelism exists, must not be slower than sequential."""

import time

FUNCTIONAL = ["f"]
ARGS = (3,)
CALLS, IDEAL = 8, 8


def f(x):
    time.sleep(0.02)
    return (x * 7 + 3) % 101


def main(x):
    for _ in range(8):
        x = f(x)
    return x
