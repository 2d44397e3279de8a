"""A class with a property and a classmethod of its own."""

import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL = 6, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


class C:
    made = 0

    def __init__(self, v):
        self._v = v

    @property
    def v(self):
        return self._v * 2

    @classmethod
    def make(cls, i):
        return cls(f(i))


def main():
    cs = [C.make(i) for i in range(6)]
    return [c.v for c in cs]
