"""Newton iterations on several seeds: while on results inside a for."""

import time

FUNCTIONAL = ["step"]
ARGS = ([2.0, 9.0, 30.0, 100.0],)
CALLS, IDEAL = 21, 7


def step(x, a):
    time.sleep(0.02)
    return round((x + a / x) / 2, 3)


def main(values):
    out = []
    for a in values:
        x = a
        while True:
            y = step(x, a)
            if abs(y - x) < 0.01:
                break
            x = y
        out.append(y)
    return out
