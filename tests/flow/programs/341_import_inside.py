"""An import statement inside the loop."""

import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL = 5, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main():
    out = []
    for i in range(5):
        import math

        out.append(math.sqrt(f(i)))
    return out
