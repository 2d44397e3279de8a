"""Rows of an array filled by calls, then column means."""

import time

import numpy as np

REQUIRES = ["numpy"]
FUNCTIONAL = ["row", "norm"]
ARGS = (6, 4)
CALLS, IDEAL = 10, 2


def row(i, m):
    time.sleep(0.02)
    return np.arange(m) * i


def norm(c):
    time.sleep(0.02)
    return float(np.sqrt((c * c).sum()))


def main(n, m):
    a = np.zeros((n, m))
    for i in range(n):
        a[i, :] = row(i, m)
    a += 1
    return [norm(a[:, j]) for j in range(m)]
