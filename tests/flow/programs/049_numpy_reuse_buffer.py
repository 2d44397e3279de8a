"""One numpy buffer reused per call: snapshot at call time."""

import time

import numpy as np

REQUIRES = ["numpy"]
FUNCTIONAL = ["total"]
ARGS = (6,)
CALLS, IDEAL = 6, 1


def total(a):
    time.sleep(0.02)
    return float(a.sum())


def main(n):
    buf = np.zeros(4)
    out = []
    for i in range(n):
        buf[:] = i
        buf[0] += 1
        out.append(total(buf))
    return out, buf
