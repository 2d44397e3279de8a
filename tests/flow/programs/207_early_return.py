"""Early return on a result inside a loop; independent work before."""

import time

FUNCTIONAL = ["probe", "warm"]
ARGS = (6,)
CALLS, IDEAL = 10, 5


def probe(i):
    time.sleep(0.02)
    return i == 4


def warm(i):
    time.sleep(0.02)
    return i


def search(n):
    for i in range(n):
        if probe(i):
            return i
    return None


SCHEDULED = ["main", "search"]


def main(n):
    base = [warm(i) for i in range(5)]
    return search(n), base
