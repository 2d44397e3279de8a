"""A hierarchy of maps: hosts, their workers, and threads in each. nested.py HOST...

The outer map gives each worker a region of the plane; there, threads share its rows. What the threads run here is too
small to gain from them: the pattern is for work that waits, or that leaves the interpreter.
"""

import os
import platform
import sys

import ergon


def escapes(c, most=60):
    z = 0
    for n in range(most):
        z = z * z + c
        if abs(z) > 2:
            return n
    return most


def row(y, left, width, columns):
    return sum(escapes(complex(left + width * x / columns, y)) for x in range(columns))


def region(left, bottom, size=1.0, steps=24):
    with ergon.ThreadPool(2) as threads:
        heights = [bottom + size * i / steps for i in range(steps)]
        rows = threads.map(row, heights, [left] * steps, [size] * steps, [steps] * steps)
    return f"{platform.node()}/{os.getpid()}", sum(rows)


def main(hosts):
    corners = [(x / 2, y / 2) for x in range(-4, 2) for y in range(-3, 3)]
    with ergon.RemotePool(*hosts, require="all") as pool:
        results = pool.map(region, *zip(*corners, strict=True), [0.5] * len(corners))
    print("sum", sum(total for _, total in results))
    print("regions", len(results), "by", len({name for name, _ in results}), "workers")


if __name__ == "__main__":
    main(sys.argv[1:] or sys.exit(__doc__))
