"""Coroutine-style generator: send(), return value through `yield from`."""

import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL, IDEAL_SPEC = 4, 4, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main():
    def averager():
        total, n = 0, 0
        while True:
            x = yield total
            if x is None:
                return total, n
            total += f(x)
            n += 1

    def outer(res):
        r = yield from averager()
        res.append(r)
        yield "done"

    res = []
    g = outer(res)
    vals = [next(g), g.send(1), g.send(2), g.send(3), g.send(None)]
    return vals, res, f(res[0][1])
