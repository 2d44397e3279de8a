"""What the benchmarks run: a module workers can import, as users' functions live in modules."""

import functools
import os
import time


def noop(x):
    return x


def nothing():
    return None


def spin(seconds: float, *predecessors: object) -> None:
    """Keeps a processor busy for that long; the predecessors are only waited for."""
    end = time.perf_counter_ns() + int(seconds * 1e9)
    while time.perf_counter_ns() < end:
        pass


def total(array):
    return float(array.sum())


def ones(n: int):
    import numpy

    return numpy.ones(n)


def nap(x):
    time.sleep(0.001)
    return x


@functools.cache
def noise(size: int):
    """Bytes that no compression makes smaller, always the same object."""
    import numpy

    return numpy.frombuffer(os.urandom(1 << 20) * (size >> 20), "u1")


def first(x, *rest):
    return x
