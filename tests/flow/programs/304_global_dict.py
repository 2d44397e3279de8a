"""Results stored into a global dict."""

import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL = 7, 1
GLOBALS = ["cache"]


def f(x):
    time.sleep(0.02)
    return x * x + 1


cache = {}


def main():
    for i in range(7):
        if i not in cache:
            cache[i] = f(i)
    return sorted(cache.items())
