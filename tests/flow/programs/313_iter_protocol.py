"""A local iterator class with __iter__ and __next__."""

import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL = 7, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main():
    class Count:
        def __init__(self, n):
            self.n, self.i = n, 0

        def __iter__(self):
            return self

        def __next__(self):
            if self.i >= self.n:
                raise StopIteration
            self.i += 1
            return self.i

    return [f(i) for i in Count(7)]
