"""Closure with nonlocal accumulator."""

import time

FUNCTIONAL = ["f"]
ARGS = (8,)
CALLS, IDEAL = 8, 1


def f(i):
    time.sleep(0.02)
    return i


def main(n):
    total, seen = 0, []

    def visit(i):
        nonlocal total
        v = f(i)
        total += v
        seen.append(v)
        return lambda: v + total

    fs = [visit(i) for i in range(n)]
    return [h() for h in fs], total, seen
