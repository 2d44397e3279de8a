"""Local functions that return early on results; a search in each of several lists."""

import time

FUNCTIONAL = ["ok", "use"]
ARGS = ([[1, 2, 3], [3, 1], [2, 2, 2], [5, 3]],)
CALLS, IDEAL = 12, 4


def ok(x):
    time.sleep(0.02)
    return x == 3


def use(x):
    time.sleep(0.02)
    return x


def main(lists):
    def first(xs):
        for x in xs:
            if ok(x):
                return use(x)
        return None

    return [first(xs) for xs in lists]
