"""try/finally with a log, raising at the end."""

import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL = 6, 1
EXPECT_EXC = "ValueError"


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main():
    log = []
    for i in range(6):
        try:
            v = f(i)
            log.append(v)
        finally:
            log.append("done %d" % i)
    if len(log) == 12:
        raise ValueError(log)
    return log
