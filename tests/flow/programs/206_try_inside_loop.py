"""try/except inside a loop around each call, errors collected."""

import time

FUNCTIONAL = ["risky"]
ARGS = (9,)
CALLS, IDEAL = 9, 1


def risky(i):
    time.sleep(0.02)
    if i % 4 == 3:
        raise ValueError("bad %d" % i)
    return i


def main(n):
    good, bad = [], []
    for i in range(n):
        try:
            v = risky(i)
        except ValueError as e:
            bad.append(str(e))
        else:
            good.append(v)
        finally:
            good.append(-i)
    return good, bad
