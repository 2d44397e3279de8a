"""Results wrapped in a module class with __add__ and __lt__."""

import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL = 6, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


class V:
    def __init__(self, v):
        self.v = v

    def __add__(self, o):
        return V(self.v + o.v)

    def __lt__(self, o):
        return self.v < o.v

    def __repr__(self):
        return "V(%d)" % self.v


def main():
    vs = [V(f(i)) for i in range(6)]
    total = vs[0]
    for v in vs[1:]:
        total = total + v
    return repr(total), repr(min(vs)), [repr(v) for v in sorted(vs)]
