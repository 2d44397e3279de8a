"""`out.sort(key=...)`, `reverse`, `index`, `count` on a list of results."""

import time

FUNCTIONAL = ["f"]
ARGS = (8,)
CALLS, IDEAL = 8, 1


def f(x):
    time.sleep(0.02)
    return (x * 5) % 8


def main(n):
    out = []
    for x in range(n):
        out.append((f(x), x))
    out.sort(key=lambda p: p[0])
    order = [x for _, x in out]
    out.reverse()
    return order, out, out.index((5, 1)), order.count(3)
