"""A functional that is a method result; object mutated between."""

import time

FUNCTIONAL = ["area"]
ARGS = ()
CALLS, IDEAL = 6, 1


def area(s):
    time.sleep(0.02)
    return s["w"] * s["h"]


def main():
    s = {"w": 1, "h": 2}
    out = []
    for i in range(6):
        s["w"] = i
        out.append(area(s))
    return out, s
