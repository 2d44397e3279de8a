"""functools.partial and operator functions over results."""

import functools
import operator
import time

FUNCTIONAL = ["h"]
ARGS = ()
CALLS, IDEAL = 5, 1


def h(k, x):
    time.sleep(0.02)
    return k * x


def main():
    t = functools.partial(h, 3)
    vals = [t(i) for i in range(5)]
    return (
        functools.reduce(operator.add, vals),
        sorted(vals, key=operator.neg),
        list(map(operator.itemgetter(0), zip(vals, vals))),
    )
