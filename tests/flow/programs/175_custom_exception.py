"""Exception class whose __init__ does not match its args (plain pickle breaks on it)."""

import time

FUNCTIONAL = ["f"]
ARGS = (3,)
CALLS, IDEAL = 3, 1


class Failure(Exception):
    def __init__(self, code, *, detail):
        super().__init__("failure %d" % code)
        self.code, self.detail = code, detail


def f(x):
    time.sleep(0.02)
    if x % 2:
        raise Failure(x, detail=[x, "d"])
    return x


def main(n):
    out = []
    for x in range(n):
        try:
            out.append(f(x))
        except Failure as e:
            out.append((e.code, e.detail, str(e), e.args))
    return out
