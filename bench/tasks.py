"""What the benchmarks run: a module workers can import, as users' functions live in modules."""

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
