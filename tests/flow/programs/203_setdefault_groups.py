"""Groups by setdefault().append with result keys."""

import time

FUNCTIONAL = ["group", "size"]
ARGS = (list("abcdefgh"),)
CALLS, IDEAL = 11, 2


def group(x):
    time.sleep(0.02)
    return ord(x) % 3


def size(members):
    time.sleep(0.02)
    return len(members)


def main(items):
    groups = {}
    for x in items:
        groups.setdefault(group(x), []).append(x)
    return [(g, size(groups[g])) for g in sorted(groups)]
