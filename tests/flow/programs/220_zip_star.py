"""zip(*...), sorted by key, enumerate, reversed over results."""

import time

FUNCTIONAL = ["pair", "use"]
ARGS = (6,)
CALLS, IDEAL = 12, 2


def pair(i):
    time.sleep(0.02)
    return (-i, str(i))


def use(a, b):
    time.sleep(0.02)
    return "%d%s" % (a, b)


def main(n):
    pairs = [pair(i) for i in range(n)]
    nums, names = zip(*pairs)
    out = []
    for k, (a, b) in enumerate(sorted(zip(nums, names))):
        out.append((k, use(a, b)))
    return out
