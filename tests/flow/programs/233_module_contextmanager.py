"""A module-level context manager that times a section."""

import contextlib
import time

FUNCTIONAL = ["f"]
ARGS = (6,)
CALLS, IDEAL = 6, 1


@contextlib.contextmanager
def timed(name):
    start = time.perf_counter()
    yield name
    took = time.perf_counter() - start
    if took > 1000:
        print("slow", name)


def f(i):
    time.sleep(0.02)
    return i


def main(n):
    out = []
    for i in range(n):
        with timed("s%d" % i) as s:
            out.append((s, f(i)))
    return out
