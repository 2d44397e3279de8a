"""300 results of 200 kB each, reduced at once: memory must stay bounded."""

import time

FUNCTIONAL = ["blob"]
ARGS = (300,)
SLEEP = 0.002
CALLS, IDEAL = 300, 1


def blob(i):
    time.sleep(0.002)
    return bytes([i % 256]) * 200_000


def main(n):
    total = 0
    for i in range(n):
        total += len(blob(i))
    return total
