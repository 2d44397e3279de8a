"""Two calls with equal arguments give distinct objects; one result keeps its identity."""

import time

FUNCTIONAL = ["make"]
ARGS = ()
CALLS, IDEAL = 3, 1


def make(n):
    time.sleep(0.02)
    return [n]


def main():
    a = make(1)
    b = a
    c = make(1)
    pair = [make(2)] * 3
    pair[0].append(9)
    d = {"x": a, "y": b}
    d["x"].append(0)
    return a is b, a is c, a == c, pair, pair[1] is pair[2], d
