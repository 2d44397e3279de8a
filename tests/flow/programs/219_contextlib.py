"""contextlib.contextmanager and suppress around calls."""

import contextlib
import time

FUNCTIONAL = ["f"]
ARGS = (6,)
CALLS, IDEAL = 6, 1


def f(i):
    time.sleep(0.02)
    return i


def main(n):
    log = []

    @contextlib.contextmanager
    def section(name):
        log.append(name)
        yield name
        log.append("end")

    out = []
    for i in range(n):
        with section("s%d" % i) as s:
            out.append((s, f(i)))
    return out, log
