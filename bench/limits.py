"""The physical limits of this machine: what the figures of the other benchmarks are compared with."""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import collections
import itertools
import pickle
import subprocess
import tempfile
import time

from bench import harness, pools, tasks

TELL = {
    "spin_round_trip": ("two processes, a word in shared memory each way, both spinning", "µs"),
    "futex_round_trip": ("the same, both sleeping on a futex", "µs"),
    "pipe_round_trip": ("a byte through a pipe each way", "µs"),
    "system_call": ("a system call", "µs"),
    "fork": ("fork of a small process, and its end", "ms"),
    "memcpy_200mb_cached": ("memcpy of 200 MB, in the cache", "ms"),
    "memcpy_200mb": ("memcpy of 200 MB, in memory", "ms"),
    "touch_200mb_private": ("first touch of 200 MB of private memory", "ms"),
    "touch_200mb_shared": ("first touch of 200 MB of shared memory", "ms"),
    "python_call": ("a call of a Python function from C", "µs"),
    "python_task": ("pickle.dumps of an argument and loads of a result: the caller's share of a task", "µs"),
    "python_million": (
        "a million calls by two workers, or their pickled arguments and results, whichever is longer",
        "s",
    ),
    "python_start": ("python -I -S, from nothing to its end", "ms"),
    "sum_200mb": ("numpy's sum of 200 MB, in process", "ms"),
    "ones_200mb": ("numpy.ones of 200 MB, in process", "ms"),
}


def compiled() -> dict[str, float]:
    """What bench/limits.c measures."""
    source = os.path.join(harness.ROOT, "bench", "limits.c")
    with tempfile.TemporaryDirectory(prefix="ergon-bench-") as folder:
        program = os.path.join(folder, "limits")
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-o", program, source], check=True)
        lines = subprocess.run([program], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return {name: float(seconds) for name, seconds in (line.split() for line in lines)}


def best(run, repetitions=7):
    took = []
    for _ in range(repetitions):
        start = time.perf_counter()
        run()
        took.append(time.perf_counter() - start)
    return min(took)


def interpreted() -> dict[str, float]:
    """The same for what Python costs."""
    import numpy

    n = 200_000
    many = list(range(1_000_000))
    many_bytes = pickle.dumps(many, 5)
    array = numpy.ones(25_000_000)

    def calls():
        collections.deque(map(tasks.noop, itertools.repeat(1, n)), maxlen=0)

    def one_task():
        dumps, loads, data = pickle.dumps, pickle.loads, pickle.dumps(1000, 5)
        for i in range(n):
            dumps(i, 5)
            loads(data)

    call = best(calls) / n
    return {
        "python_call": call,
        "python_task": best(one_task) / n,
        "python_million": max(
            call * 1e6 / pools.WORKERS, best(lambda: (pickle.dumps(many, 5), pickle.loads(many_bytes)))
        ),
        "python_start": best(lambda: subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)),
        "sum_200mb": best(array.sum),
        "ones_200mb": best(lambda: numpy.ones(25_000_000)),
    }


def measure() -> dict[str, float]:
    return {**compiled(), **interpreted()}


def print_limits(limits: dict[str, float]) -> None:
    harness.print_table(
        ["physical limit", "figure"],
        [[TELL[name][0], harness.figure(seconds, TELL[name][1])] for name, seconds in limits.items()],
    )


def main() -> None:
    options = harness.arguments(__doc__).parse_args()
    limits = measure()
    if options.json:
        harness.write_json(limits, options.json)
    if options.json != "-":
        print_limits(limits)


if __name__ == "__main__":
    main()
