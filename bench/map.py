"""map: one item a task, one item a task with a lambda, a million items in chunks the pool chooses, and many on threads."""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import contextlib
import time

from bench import harness, pools, tasks

SINGLE = 20_000
MANY = 1_000_000
THREADS = 200_000


def contender(open_pool, mapped, count):
    """mapped(pool, items) gives all results, in order."""

    @contextlib.contextmanager
    def enter():
        with open_pool() as pool:

            def run():
                items = range(count)
                start = time.perf_counter()
                results = mapped(pool, items)
                took = time.perf_counter() - start
                if len(results) != count or results[-1] != count - 1:
                    raise AssertionError("wrong results")
                return took / count

            yield run

    return enter


def whole(open_pool, mapped, count):
    """The same, timed as a whole."""
    each = contender(open_pool, mapped, count)

    @contextlib.contextmanager
    def enter():
        with each() as run:
            yield lambda: run() * count

    return enter


def one_by_one(f):
    def mapped(pool, items):
        return pool.map(f, items, chunksize=1)

    return mapped


def through_executor(f, chunksize):
    def mapped(pool, items):
        return list(pool.map(f, items, chunksize=chunksize))

    return mapped


def the_lambda():
    return lambda x: x


def automatic(pool, items):
    return pool.map(tasks.noop, items)


QUESTIONS = [
    harness.Question(
        key="map_single",
        what="`map(chunksize=1)`",
        unit="µs",
        peer="multiprocessing.Pool",
        target=8,
        aim="12 times, 1 µs",
        floor="python_task",
        slow=("concurrent.futures", "loky"),
        contenders={
            "ergon": contender(pools.ergon, one_by_one(tasks.noop), SINGLE),
            "multiprocessing.Pool": contender(pools.multiprocessing, one_by_one(tasks.noop), SINGLE),
            "concurrent.futures": contender(pools.futures, through_executor(tasks.noop, 1), SINGLE),
            "loky": contender(pools.loky, through_executor(tasks.noop, 1), 5000),
        },
    ),
    harness.Question(
        key="map_lambda",
        what="the same with a lambda",
        unit="µs",
        peer="multiprocess (dill)",
        target=30,
        aim="50 times",
        floor="python_task",
        slow=("loky (cloudpickle)",),
        contenders={
            "ergon": contender(pools.ergon, one_by_one(the_lambda()), SINGLE),
            "multiprocess (dill)": contender(pools.multiprocess, one_by_one(the_lambda()), SINGLE),
            "loky (cloudpickle)": contender(pools.loky, through_executor(the_lambda(), 1), 2000),
        },
    ),
    harness.Question(
        key="map_million",
        what="`map` of a million no-ops, automatic chunks",
        unit="s",
        peer="multiprocessing.Pool",
        target=1,
        aim="2 times",
        floor="python_million",
        slow=("pathos",),
        contenders={
            "ergon": whole(pools.ergon, automatic, MANY),
            "multiprocessing.Pool": whole(pools.multiprocessing, automatic, MANY),
            "pathos": whole(pools.pathos, automatic, MANY),
        },
    ),
    harness.Question(
        key="map_threads",
        what="`map` of 200,000 no-ops on threads, automatic chunks",
        unit="µs",
        peer="multiprocessing.pool.ThreadPool",
        target=1,
        slow=("concurrent.futures",),
        contenders={
            "ergon": contender(pools.ergon_threads, automatic, THREADS),
            "multiprocessing.pool.ThreadPool": contender(pools.multiprocessing_threads, automatic, THREADS),
            "concurrent.futures": contender(pools.futures_threads, through_executor(tasks.noop, 1), 20_000),
        },
    ),
]

if __name__ == "__main__":
    harness.main(__file__, QUESTIONS, __doc__)
