"""Breadth-first levels: frontier computed from results."""

import time

FUNCTIONAL = ["neighbours"]
ARGS = (1, 31)
CALLS, IDEAL = 31, 5


def neighbours(v, n):
    time.sleep(0.02)
    return [w for w in (2 * v, 2 * v + 1) if w <= n]


def main(start, n):
    seen, frontier, levels = {start}, [start], []
    while frontier:
        levels.append(len(frontier))
        nxt = []
        for v in frontier:
            for w in neighbours(v, n):
                if w not in seen:
                    seen.add(w)
                    nxt.append(w)
        frontier = nxt
    return levels, sorted(seen)
