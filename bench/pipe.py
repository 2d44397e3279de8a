"""One call to a worker and its result, one after another: what a round trip costs."""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import contextlib
import statistics
import time

from bench import harness, pools, tasks

CALLS = 2000


def contender(open_pool, call):
    """call(pool, i) is one round trip."""

    @contextlib.contextmanager
    def enter():
        with open_pool() as pool:

            def run():
                took = []
                for i in range(CALLS):
                    start = time.perf_counter_ns()
                    call(pool, i)
                    took.append(time.perf_counter_ns() - start)
                return statistics.median(took) / 1e9

            yield run

    return enter


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
            "ergon": contender(pools.ergon, lambda pool, i: pool.pipe(tasks.noop, i)),
            "multiprocessing.Pool": contender(pools.multiprocessing, lambda pool, i: pool.apply(tasks.noop, (i,))),
            "concurrent.futures": contender(pools.futures, lambda pool, i: pool.submit(tasks.noop, i).result()),
            "pathos": contender(pools.pathos, lambda pool, i: pool.pipe(tasks.noop, i)),
            "loky": contender(pools.loky, lambda pool, i: pool.submit(tasks.noop, i).result()),
        },
    )
]

if __name__ == "__main__":
    harness.main(__file__, QUESTIONS, __doc__)
