"""with blocks of a local context manager, log of events."""

import time

FUNCTIONAL = ["f"]
ARGS = (7,)
CALLS, IDEAL = 7, 1


def f(i):
    time.sleep(0.02)
    return i


def main(n):
    log = []

    class Step:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            log.append("enter " + self.name)
            return self

        def __exit__(self, *exc):
            log.append("exit " + self.name)
            return False

    out = []
    for i in range(n):
        with Step(str(i)) as s:
            out.append((s.name, f(i)))
    return out, log
