"""Starred assignment from lists of pending values and from a result of unknown length."""

import time

FUNCTIONAL = ["f", "many"]
ARGS = (5,)
CALLS, IDEAL = 8, 2


def f(x):
    time.sleep(0.02)
    return x * x + 1


def many(n):
    time.sleep(0.02)
    return tuple(range(n))


def main(n):
    a, *b, c = [f(i) for i in range(n)]
    head, *tail = many(4)
    return a, b, c, head, tail, f(head), f(tail[-1])
