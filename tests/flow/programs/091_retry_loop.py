"""Retry until success: break inside try, continue inside except."""

import time

FUNCTIONAL = ["flaky"]
ARGS = (3,)
CALLS, IDEAL, IDEAL_SPEC = 4, 4, 1


def flaky(attempt, need):
    time.sleep(0.02)
    if attempt < need:
        raise OSError("attempt %d" % attempt)
    return "ok%d" % attempt


def main(need):
    errors = []
    for attempt in range(10):
        try:
            v = flaky(attempt, need)
            break
        except OSError as e:
            errors.append(str(e))
            continue
    else:
        v = "gave up"
    return v, errors
