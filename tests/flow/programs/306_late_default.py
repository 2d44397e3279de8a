"""Default arguments and keyword arguments of functionals."""

import time

FUNCTIONAL = ["h"]
ARGS = ()
CALLS, IDEAL = 5, 2


def h(x, *rest, scale=1, **kw):
    time.sleep(0.02)
    return x * scale + sum(rest) + sum(kw.values())


def main():
    opts = {"a": 1}
    out = [h(1), h(2, scale=3), h(3, 4, 5), h(*[1, 2, 3], **opts)]
    opts["b"] = out[0]
    out.append(h(1, **opts))
    return out
