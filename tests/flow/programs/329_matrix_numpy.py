"""Blocks of a matrix product with NumPy, assembled."""

import time

import numpy as np

FUNCTIONAL = ["block"]
ARGS = ()
CALLS, IDEAL = 9, 1
REQUIRES = ["numpy"]


def block(a, b):
    time.sleep(0.02)
    return a @ b


def main():
    a = np.arange(36.0).reshape(6, 6)
    b = np.eye(6) * 2
    c = np.zeros((6, 6))
    for i in range(0, 6, 2):
        for j in range(0, 6, 2):
            c[i : i + 2, j : j + 2] = block(a[i : i + 2, :], b[:, j : j + 2])
    return c
