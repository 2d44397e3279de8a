"""Recursive walk over a nested structure, local function."""

import time

FUNCTIONAL = ["f"]
ARGS = ()
CALLS, IDEAL = 6, 1


def f(x):
    time.sleep(0.02)
    return x * x + 1


def main():
    tree = (1, [(2, []), (3, [(4, []), (5, [])]), (6, [])])

    def walk(node):
        v, kids = node
        return f(v) + sum(walk(k) for k in kids)

    return walk(tree)
