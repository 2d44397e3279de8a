"""Inner `while` on results, outer loop independent: the chains must run side by side."""

import time

FUNCTIONAL = ["step"]
ARGS = ((6, 3, 5, 10, 8, 16, 2, 4),)
CALLS, IDEAL = 36, 8


def step(x):
    time.sleep(0.02)
    return x // 2 if x % 2 == 0 else 3 * x + 1


def main(starts):
    lengths = []
    for s in starts:
        x, n = s, 0
        while x != 1:
            x = step(x)
            n += 1
        lengths.append(n)
    return lengths
