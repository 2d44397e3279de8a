"""Large arrays: to a worker, back from one, and many of them through a map."""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import contextlib
import time

from bench import harness, pools, tasks

BIG = 25_000_000  # float64: 200 MB
SMALL, SMALL_COUNT = 250_000, 100  # 2 MB each


def send(open_pool, call, prepare=lambda pool, array: array):
    @contextlib.contextmanager
    def enter():
        import numpy

        with open_pool() as pool:
            array = numpy.ones(BIG)
            argument = prepare(pool, array)

            def run():
                start = time.perf_counter()
                value = call(pool, argument)
                took = time.perf_counter() - start
                if value != BIG:
                    raise AssertionError("wrong sum")
                return took

            yield run

    return enter


def fetch(open_pool, call):
    @contextlib.contextmanager
    def enter():
        with open_pool() as pool:

            def run():
                start = time.perf_counter()
                array = call(pool)
                took = time.perf_counter() - start
                if array.shape != (BIG,) or array[-1] != 1 or not array.flags.writeable:
                    raise AssertionError("wrong array")
                return took

            yield run

    return enter


def mapped(open_pool, call):
    @contextlib.contextmanager
    def enter():
        import numpy

        with open_pool() as pool:
            arrays = [numpy.full(SMALL, float(i)) for i in range(SMALL_COUNT)]

            def run():
                start = time.perf_counter()
                sums = call(pool, arrays)
                took = time.perf_counter() - start
                if sums != [float(i) * SMALL for i in range(SMALL_COUNT)]:
                    raise AssertionError("wrong sums")
                return took

            yield run

    return enter


def ours(pool, array):
    return pool.pipe(tasks.total, array)


def ours_readonly(pool, array):
    return pool.options(readonly=True).pipe(tasks.total, array)


def multiprocessing(pool, array):
    return pool.apply(tasks.total, (array,))


MULTIPROCESSING_SEND = send(pools.multiprocessing, multiprocessing)
LOKY_SEND = send(pools.loky, lambda pool, array: pool.submit(tasks.total, array).result())


def sending(key, what, target, aim, ours_contender):
    return harness.Question(
        key=key,
        what=what,
        unit="ms",
        peer="multiprocessing.Pool",
        target=target,
        aim=aim,
        floor="sum_200mb",
        reps=5,
        slow=("loky",),
        contenders={"ergon": ours_contender, "multiprocessing.Pool": MULTIPROCESSING_SEND, "loky": LOKY_SEND},
    )


def back_and_forth(open_pool, call, size):
    """Arrays of one size, each sent and returned: seconds for one."""
    count = max(20, (8 << 20) // size)

    @contextlib.contextmanager
    def enter():
        import numpy

        with open_pool() as pool:
            array = numpy.ones(size // 8)

            def run():
                start = time.perf_counter()
                for _ in range(count):
                    result = call(pool, array)
                took = time.perf_counter() - start
                if result.nbytes != array.nbytes or not result.flags.writeable:
                    raise AssertionError("wrong array")
                return took / count

            yield run

    return enter


def around(size, words):
    """Sizes on either side of PL_OUT_OF_BAND_MIN and PL_COPY_MAX in core/pool: where the way an array goes changes."""
    return harness.Question(
        key=f"array_{size >> 10}k",
        what=f"{words} array there and back",
        unit="µs",
        peer="multiprocessing.Pool",
        target=1,
        contenders={
            "ergon": back_and_forth(pools.ergon, lambda pool, array: pool.pipe(tasks.noop, array), size),
            "multiprocessing.Pool": back_and_forth(
                pools.multiprocessing, lambda pool, array: pool.apply(tasks.noop, (array,)), size
            ),
        },
    )


QUESTIONS = [
    sending("array_in", "200 MB array to a worker, its sum back", 15, "23 ms", send(pools.ergon, ours)),
    sending("array_readonly", "the same with `readonly=True`", 20, "23 ms", send(pools.ergon, ours_readonly)),
    sending(
        "array_put",
        "the same through a `put` handle",
        20,
        "8 ms",
        send(pools.ergon, ours, lambda pool, array: pool.put(array)),
    ),
    harness.Question(
        key="array_out",
        what="200 MB array made by a worker and returned",
        unit="ms",
        peer="multiprocessing.Pool",
        target=12,
        aim="40 ms",
        floor="ones_200mb",
        reps=5,
        slow=("loky",),
        contenders={
            "ergon": fetch(pools.ergon, lambda pool: pool.pipe(tasks.ones, BIG)),
            "multiprocessing.Pool": fetch(pools.multiprocessing, lambda pool: pool.apply(tasks.ones, (BIG,))),
            "loky": fetch(pools.loky, lambda pool: pool.submit(tasks.ones, BIG).result()),
        },
    ),
    harness.Question(
        key="arrays_map",
        what="100 arrays of 2 MB mapped",
        unit="ms",
        peer="multiprocessing.Pool",
        target=10,
        aim="26 ms",
        floor="sum_200mb",
        reps=5,
        slow=("loky",),
        contenders={
            "ergon": mapped(pools.ergon, lambda pool, arrays: pool.map(tasks.total, arrays)),
            "multiprocessing.Pool": mapped(pools.multiprocessing, lambda pool, arrays: pool.map(tasks.total, arrays)),
            "loky": mapped(pools.loky, lambda pool, arrays: list(pool.map(tasks.total, arrays))),
        },
    ),
    *(
        around(size << 10, words)
        for size, words in (
            (8, "8 KB"),
            (16, "16 KB"),
            (32, "32 KB"),
            (256, "256 KB"),
            (768, "768 KB"),
            (1536, "1.5 MB"),
            (4096, "4 MB"),
        )
    ),
]

if __name__ == "__main__":
    harness.main(__file__, QUESTIONS, __doc__)
