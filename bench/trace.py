"""What recording a trace costs a task: the same tasks submitted while a trace is recorded, and while none is."""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import contextlib

from bench import harness, pools, submit, tasks

plain = submit.contender(pools.ergon, lambda pool, i: pool.submit(tasks.noop, i), submit.result)


@contextlib.contextmanager
def recording():
    from ergon import trace

    with plain() as run:
        trace.start()
        try:
            yield lambda: (run(), trace.clear())[0]
        finally:
            trace.stop()
            trace.clear()


QUESTIONS = [
    harness.Question(
        key="trace",
        what="`submit` of 20,000 tasks while a trace is recorded",
        unit="µs",
        peer="not recording",
        target=0.7,
        contenders={"ergon": recording, "not recording": plain},
    )
]

if __name__ == "__main__":
    harness.main(__file__, QUESTIONS, __doc__)
