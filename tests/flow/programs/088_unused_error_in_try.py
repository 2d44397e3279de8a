"""An unused failing call inside try: the handler must catch it, later statements are skipped."""

import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL = 3, 1


def f(x):
    time.sleep(0.02)
    if x < 0:
        raise ValueError("neg %d" % x)
    return x * x + 1


def main():
    log = []
    try:
        f(-1)
        log.append("skipped")
    except ValueError:
        log.append("caught")
    log.append(f(2))
    try:
        x = f(-7)
    except ValueError:
        x = None
    log.append(x)
    return log
