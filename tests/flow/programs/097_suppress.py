"""contextlib.suppress and contextlib.contextmanager around functional calls."""

import time
from contextlib import contextmanager, suppress

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL, IDEAL_SPEC = 4, 3, 1


def f(x):
    time.sleep(0.02)
    if x < 0:
        raise ValueError("neg %d" % x)
    return x * x + 1


def main():
    log = []

    @contextmanager
    def section(name):
        log.append("begin " + name)
        try:
            yield name
        finally:
            log.append("end " + name)

    with suppress(ValueError):
        log.append(f(1))
        log.append(f(-1))
        log.append("no")
    with section("s") as s:
        log.append((s, f(2)))
    log.append(f(3))
    return log
