"""Many single tasks submitted, then all results: what a task costs that is not part of a map."""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import contextlib
import time

from bench import harness, pools, tasks

TASKS = 20_000


def contender(open_pool, submit, result, count=TASKS):
    @contextlib.contextmanager
    def enter():
        with open_pool() as pool:

            def run():
                start = time.perf_counter()
                futures = [submit(pool, i) for i in range(count)]
                results = [result(future) for future in futures]
                took = time.perf_counter() - start
                if results != list(range(count)):
                    raise AssertionError("wrong results")
                return took / count

            yield run

    return enter


def get(future):
    return future.get()


def result(future):
    return future.result()


PEERS = {
    "multiprocessing.Pool": contender(pools.multiprocessing, lambda pool, i: pool.apply_async(tasks.noop, (i,)), get),
    "concurrent.futures": contender(pools.futures, lambda pool, i: pool.submit(tasks.noop, i), result),
    "pathos": contender(pools.pathos, lambda pool, i: pool.apipe(tasks.noop, i), get),
    "loky": contender(pools.loky, lambda pool, i: pool.submit(tasks.noop, i), result, 5000),
    "dask": contender(pools.dask, lambda pool, i: pool.submit(tasks.noop, i, pure=False), result, 1000),
}

QUESTIONS = [
    harness.Question(
        key="submit",
        what="`submit`, 20,000 tasks, then all results",
        unit="µs",
        peer="multiprocessing.Pool",
        target=10,
        aim="1.2 µs",
        floor="python_task",
        slow=("loky", "dask", "pathos"),
        contenders={
            "ergon": contender(pools.ergon, lambda pool, i: pool.submit(tasks.noop, i), result),
            "ergon.apipe": contender(pools.ergon, lambda pool, i: pool.apipe(tasks.noop, i), result),
            **PEERS,
        },
    )
]

if __name__ == "__main__":
    harness.main(__file__, QUESTIONS, __doc__)
