"""Instance of a module class as argument, changed after the call was issued."""

import time
from dataclasses import dataclass, field

FUNCTIONAL = ["area", "f"]
ARGS = (4,)
CALLS, IDEAL = 8, 2


@dataclass
class Box:
    w: int
    h: int = 1
    tags: list = field(default_factory=list)


def f(x):
    time.sleep(0.02)
    return x * x + 1


def area(b):
    time.sleep(0.02)
    return b.w * b.h + len(b.tags)


def main(n):
    b = Box(2)
    out = []
    for i in range(n):
        b.h = f(i)
        b.tags.append(i)
        out.append(area(b))
    return out, b
