"""Known and unknown conditions mixed; continue on known ones."""

import time

FUNCTIONAL = ["f", "g"]
ARGS = (12,)
CALLS, IDEAL = 11, 2


def f(i):
    time.sleep(0.02)
    return i % 4


def g(i):
    time.sleep(0.02)
    return -i


def main(n):
    out = []
    for i in range(n):
        if i % 3 == 0:
            out.append(i)
            continue
        v = f(i)
        if v == 1 and i < 100:
            v = g(i)
        elif v > 1:
            v += g(i) if i == 11 else 5
        out.append(v)
    return out
