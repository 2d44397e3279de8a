"""Sum of arrays from calls, then mean and argmax."""

import time

import numpy as np

FUNCTIONAL = ["arr"]
ARGS = ()
CALLS, IDEAL = 6, 1
REQUIRES = ["numpy"]


def arr(i):
    time.sleep(0.02)
    return np.full(4, i) + np.arange(4)


def main():
    total = np.zeros(4)
    for i in range(6):
        total += arr(i)
    return total, float(total.mean()), int(np.argmax(total))
