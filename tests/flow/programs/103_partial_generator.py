"""A generator with effects may only run as far as it is asked."""

import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL, IDEAL_SPEC = 5, 5, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main():
    log = []

    def gen():
        for x in range(100):
            log.append(x)
            yield f(x)

    it = gen()
    a = next(it)
    b = next(it)
    before = list(log)
    rest = [v for v, _ in zip(it, "ab")]
    it.close()
    return a, b, before, rest, log
