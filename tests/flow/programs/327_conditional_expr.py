"""Ternary and boolean operators on results with calls."""

import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL = 10, 2


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main():
    out = []
    for i in range(6):
        v = f(i)
        w = f(v) if v > 4 else 0
        out.append(v and w)
    return out
