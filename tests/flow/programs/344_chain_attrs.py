"""Attributes of result objects as arguments."""

import time

FUNCTIONAL = ["make", "use"]
ARGS = ()
CALLS, IDEAL = 10, 2


class R:
    def __init__(self, i):
        self.i = i
        self.inner = {"k": [i, i + 1]}


def make(i):
    time.sleep(0.02)
    return R(i)


def use(v):
    time.sleep(0.02)
    return v * 10


def main():
    rs = [make(i) for i in range(5)]
    return [use(r.inner["k"][1]) for r in rs]
