"""Retries per item: loop with try and break inside a loop."""

import time

FUNCTIONAL = ["attempt"]
ARGS = (6,)
CALLS, IDEAL = 9, 2


def attempt(i, k):
    time.sleep(0.02)
    if i % 2 and k == 0:
        raise OSError("again")
    return i * 10 + k


def main(n):
    out = []
    for i in range(n):
        for k in range(3):
            try:
                v = attempt(i, k)
                break
            except OSError:
                continue
        out.append(v)
    return out
