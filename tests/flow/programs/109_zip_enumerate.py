"""zip/enumerate/reversed over lists of pending values."""

import time

FUNCTIONAL = ["f", "g"]
ARGS = (4,)
CALLS, IDEAL = 12, 2


def f(x):
    time.sleep(0.02)
    return x * x + 1


def g(a, b):
    time.sleep(0.02)
    return a * 2 + b


def main(n):
    xs = [f(i) for i in range(n)]
    ys = [f(i + 10) for i in range(n)]
    out = []
    for i, (a, b) in enumerate(zip(xs, reversed(ys))):
        out.append((i, g(a, b)))
    return out
