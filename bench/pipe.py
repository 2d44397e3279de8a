"""One call to a worker and its result, one after another: what a round trip costs."""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import contextlib
import statistics
import time

from bench import harness, pools, tasks

CALLS = 2000


def spread():
    """Puts the caller on one processor and its workers on the others, where a machine with other work to do might
    put them side by side."""
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        raise RuntimeError("there is only one processor")
    os.sched_setaffinity(0, processors[:1])
    for pid in harness.descendants(os.getpid()):
        if pid != os.getpid():
            os.sched_setaffinity(pid, processors[1:])


def contender(open_pool, call, prepare=lambda: None):
    """call(pool, i) is one round trip."""

    @contextlib.contextmanager
    def enter():
        with open_pool() as pool:
            call(pool, 0)
            prepare()

            def run():
                took = []
                for i in range(CALLS):
                    start = time.perf_counter_ns()
                    call(pool, i)
                    took.append(time.perf_counter_ns() - start)
                return statistics.median(took) / 1e9

            yield run

    return enter


def ours(pool, i):
    return pool.pipe(tasks.noop, i)


def multiprocessing(pool, i):
    return pool.apply(tasks.noop, (i,))


def submitted(pool, i):
    return pool.submit(tasks.noop, i).result()


QUESTIONS = [
    harness.Question(
        key="pipe",
        what="`pipe`, one call and its result, median",
        unit="µs",
        peer="multiprocessing.Pool",
        target=25,
        aim="3 µs",
        floor="spin_round_trip",
        contenders={
            "ergon": contender(pools.ergon, ours),
            "multiprocessing.Pool": contender(pools.multiprocessing, multiprocessing),
            "concurrent.futures": contender(pools.futures, submitted),
            "pathos": contender(pools.pathos, ours),
            "loky": contender(pools.loky, submitted),
        },
    ),
    harness.Question(
        key="pipe_spread",
        what="the same, caller and workers on processors of their own",
        unit="µs",
        peer="multiprocessing.Pool",
        target=25,
        aim="3 µs",
        floor="spin_round_trip",
        contenders={
            "ergon": contender(pools.ergon, ours, spread),
            "multiprocessing.Pool": contender(pools.multiprocessing, multiprocessing, spread),
        },
    ),
]

if __name__ == "__main__":
    harness.main(__file__, QUESTIONS, __doc__)
