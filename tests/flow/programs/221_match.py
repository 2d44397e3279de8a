"""match on results with calls in the arms."""

import time

FUNCTIONAL = ["kind", "a", "b"]
ARGS = (8,)
CALLS, IDEAL = 14, 2


def kind(i):
    time.sleep(0.02)
    return [("a", i), ("b", i), None, {"k": i}][i % 4]


def a(i):
    time.sleep(0.02)
    return i


def b(i):
    time.sleep(0.02)
    return -i


def main(n):
    out = []
    for i in range(n):
        match kind(i):
            case ("a", x):
                out.append(a(x))
            case ("b", x):
                out.append(b(x))
            case None:
                out.append(None)
            case {"k": v}:
                out.append(a(v) + 1)
    return out
