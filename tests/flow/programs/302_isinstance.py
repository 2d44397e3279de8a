"""Type checks on results choose what to do."""

import time

FUNCTIONAL = ["f", "g"]
ARGS = ()
CALLS, IDEAL = 10, 2


def f(x):
    time.sleep(0.02)
    return [x, str(x), None, (x,)][x % 4]


def g(x):
    time.sleep(0.02)
    return x


def main():
    out = []
    for i in range(8):
        r = f(i)
        if isinstance(r, int):
            out.append(g(r))
        elif isinstance(r, str):
            out.append(r.upper())
        elif r is None:
            out.append("none")
        else:
            out.append(len(r))
    return out
