"""for/else whose break never fires, and while/else."""

import time

FUNCTIONAL = ["f"]
ARGS = (6,)
CALLS, IDEAL, IDEAL_SPEC = 9, 6, 3


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main(n):
    log = []
    for x in range(n):
        if f(x) < 0:
            break
    else:
        log.append("else1")
    v = 0
    while v < 20:
        v = f(v + 1) + v
        if v == 3:
            continue
    else:
        log.append("else2")
    return log, v
