"""collections: defaultdict, Counter, deque, namedtuple with results."""

import collections
import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL = 8, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


Point = collections.namedtuple("Point", "x y")


def main():
    d = collections.defaultdict(list)
    q = collections.deque(maxlen=3)
    c = collections.Counter()
    pts = []
    for i in range(8):
        v = f(i)
        d[i % 3].append(v)
        q.append(v)
        c[i % 2] += 1
        pts.append(Point(i, v))
    return dict(d), list(q), dict(c), [p.y for p in pts], sum(p.x for p in pts)
