"""Boolean mask from results chooses rows for second calls."""

import time

import numpy as np

FUNCTIONAL = ["score", "work"]
ARGS = ()
CALLS, IDEAL = 10, 2
REQUIRES = ["numpy"]


def score(r):
    time.sleep(0.02)
    return float(r.sum())


def work(r):
    time.sleep(0.02)
    return r * 2


def main():
    a = np.arange(24.0).reshape(6, 4)
    s = np.array([score(r) for r in a])
    return [work(r) for r in a[s > 30]]
