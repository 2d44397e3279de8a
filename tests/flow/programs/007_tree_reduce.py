"""Tree reduction with functional combine; list length is known while elements are pending."""

import time

FUNCTIONAL = ["f", "g"]
ARGS = (16,)
CALLS, IDEAL = 31, 5


def f(x):
    time.sleep(0.02)
    return x * x + 1


def g(a, b):
    time.sleep(0.02)
    return a + b


def main(n):
    xs = [f(i) for i in range(n)]
    while len(xs) > 1:
        xs = [g(xs[i], xs[i + 1]) for i in range(0, len(xs), 2)]
    return xs[0]
