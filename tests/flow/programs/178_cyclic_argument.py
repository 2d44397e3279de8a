"""Self-referential containers as argument and as result."""

import time

FUNCTIONAL = ["f", "depth"]
ARGS = ()
CALLS, IDEAL = 3, 2


def f(x):
    time.sleep(0.02)
    return x * x + 1


def depth(a):
    time.sleep(0.02)
    return a[1] is a, a[0], len(a)


def main():
    a = [f(1)]
    a.append(a)
    r = depth(a)
    a.append(f(2))
    return r, a, a[1] is a
