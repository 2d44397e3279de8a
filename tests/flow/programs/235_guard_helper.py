"""A local helper with guard clauses on results."""

import time

FUNCTIONAL = ["check", "use"]
ARGS = (8,)
CALLS, IDEAL = 12, 2


def check(x):
    time.sleep(0.02)
    return x % 2


def use(x):
    time.sleep(0.02)
    return x + 0.5


def main(n):
    out = []

    def handle(i):
        if not check(i):
            return
        out.append(use(i))

    for i in range(n):
        handle(i)
    return out
