"""Methods of result objects: str, list, dict, user object; chained calls."""

import time

FUNCTIONAL = ["thing", "f"]
ARGS = ()
CALLS, IDEAL = 6, 2


def f(x):
    time.sleep(0.02)
    return x * x + 1


class P:
    def __init__(self, v):
        self.v = v

    def doubled(self):
        return P(self.v * 2)

    @property
    def neg(self):
        return -self.v


def thing(k):
    time.sleep(0.02)
    return ["a,b", [3, 1, 2], {"x": 1}, P(5)][k]


def main():
    parts = thing(0).upper().split(",")
    lst = thing(1)
    lst.sort()
    lst.extend([9])
    d = thing(2)
    d.update(y=2)
    p = thing(3)
    p.v += 1
    return parts, lst, d.items() >= {("x", 1)}, sorted(d), f(p.doubled().v), f(p.neg)
