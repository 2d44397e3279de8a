"""imap: results one after another, in order, while the rest is still running."""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import contextlib
import time

from bench import harness, pools, tasks

ITEMS = 20_000


def contender(open_pool, lazily, count=ITEMS):
    @contextlib.contextmanager
    def enter():
        with open_pool() as pool:

            def run():
                seen = 0
                start = time.perf_counter()
                for value in lazily(pool, range(count)):
                    if value != seen:
                        raise AssertionError("wrong results")
                    seen += 1
                took = time.perf_counter() - start
                if seen != count:
                    raise AssertionError("results are missing")
                return took / count

            yield run

    return enter


def imap(pool, items):
    return pool.imap(tasks.noop, items)


QUESTIONS = [
    harness.Question(
        key="imap",
        what="`imap`",
        unit="µs",
        peer="pathos",
        target=150,
        floor="python_task",
        contenders={
            "ergon": contender(pools.ergon, imap),
            "multiprocessing.Pool": contender(pools.multiprocessing, imap),
            "pathos": contender(pools.pathos, imap, 2000),
        },
    )
]

if __name__ == "__main__":
    harness.main(__file__, QUESTIONS, __doc__)
