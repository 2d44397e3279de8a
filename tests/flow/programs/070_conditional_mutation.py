"""Which container is mutated depends on a result; both are read afterwards."""

import time

FUNCTIONAL = ["f", "total"]
ARGS = (10,)
CALLS, IDEAL = 12, 2


def f(x):
    time.sleep(0.02)
    return (x * 7) % 10


def total(xs):
    time.sleep(0.02)
    return sum(xs)


def main(n):
    small, big = [], []
    for x in range(n):
        if f(x) < 5:
            small.append(x)
        else:
            big.append(x)
    return total(small), total(big), small, big
