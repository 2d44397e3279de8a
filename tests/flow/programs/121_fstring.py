"""f-strings, format specs, %-formatting, str methods on results."""

import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL = 5, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main():
    w = f(2)
    s = f"{f(1):03d}|{f(3)!r:>5}|{w:{w}d}|{w=}"
    t = "%d-%s" % (f(4), f(5))
    u = "{:>4}/{x}".format(w, x=t)
    return s, t, u, s.split("|")[0] + str(w)
