"""Both branches call functionals: depth 2, iterations overlap."""

import time

FUNCTIONAL = ["f", "g", "h"]
ARGS = (8,)
CALLS, IDEAL = 16, 2


def f(x):
    time.sleep(0.02)
    return x * x + 1


def g(x):
    time.sleep(0.02)
    return ("even", x)


def h(x):
    time.sleep(0.02)
    return ("odd", x)


def main(n):
    out = []
    for x in range(n):
        if f(x) % 2:
            y = g(x)
        else:
            y = h(x)
        out.append(y)
    return out
